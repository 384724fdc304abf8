"""What starting costs: which modules come in. Times are in benchmarks/bench_startup.py."""

from __future__ import annotations

import subprocess
import sys

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
    code = "from tetrapla.__main__ import run\nassert run(['--help']) == 0"
    assert not modules_after(code) & {*HEAVY}


def test_every_public_name_can_be_reached() -> None:
    import tetrapla

    for name in tetrapla.__all__:
        assert getattr(tetrapla, name) is not None
        assert name in dir(tetrapla)
