"""Scripts as a compiled folder has them: they run without this package."""

from __future__ import annotations

import re
from pathlib import Path

_PATH = "sys.path.insert(0, str(Path(__file__).resolve().parent))  # also under python -P\n"
_OWN = re.compile(r"^from tetrapla\.[a-z_.]+\.([a-z_]+) import", re.MULTILINE)


def standalone(script: Path) -> dict[str, str]:
    """A script as run.py, and arrays.py, which it imports from the folder that it lies in.

    Args:
        script: whose imports of this package are of files that lie beside it likewise.
    """
    text = script.read_text("utf-8")
    first = _OWN.search(text)
    assert first is not None, "a script imports arrays.py"
    text = text[: first.start()] + _PATH + text[first.start() :]
    arrays = Path(__file__).with_name("arrays.py").read_text("utf-8")
    return {"run.py": beside(text), "arrays.py": arrays}


def beside(text: str) -> str:
    """Imports of this package as those of files in the same folder."""
    return _OWN.sub(r"from \1 import", text)
