"""What starting costs: which modules come in. Times are in benchmarks/bench_startup.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("numpy", "onnx", "scipy", "matplotlib", "pydantic", "pandas", "torch_mlir", "ruamel")
SHOW = "import sys; print('\\n'.join(sys.modules))"


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{SHOW}"], capture_output=True, text=True, check=True
    )
    return {line.partition(".")[0] for line in done.stdout.splitlines()}


def test_import_loads_nothing_heavy() -> None:
    assert not modules_after("import tetrapla") & {*HEAVY, "typer", "rich"}


def test_help_loads_nothing_heavy() -> None:
    code = "from tetrapla.__main__ import run\nassert run({}) == 0"
    assert not modules_after(code.format(["--help"])) & {*HEAVY, "rich"}
    for words in (["--version"], ["simulate", "--help"]):
        # where it reads options, typer may bring pydantic
        assert not modules_after(code.format(words)) & {*HEAVY, "rich"} - {"pydantic"}


def test_every_public_name_can_be_reached() -> None:
    import tetrapla

    for name in tetrapla.__all__:
        assert getattr(tetrapla, name) is not None
        assert name in dir(tetrapla)


def test_no_file_hides_a_public_name() -> None:
    """Importing tetrapla/load.py would put the module in the place of `tetrapla.load`."""
    import tetrapla

    files = {path.stem for path in (ROOT / "tetrapla").iterdir()}
    assert not files & set(tetrapla.__all__)
