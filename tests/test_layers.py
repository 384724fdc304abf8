"""Who may import whom: the arrows of docs/design.md, held by reading every import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {  # a folder's own files are always allowed
    "ir": set[str](),
    "frontend": {"ir"},
    "passes": {"ir"},
    "simulators": {"ir"},
    "backends": {"simulators", "passes", "ir"},
}
ONLY_IN = {  # third parties that one place alone may import
    "onnx": ("frontend", "tests", "examples"),
    "pydantic": ("simulators",),
    "ruamel": ("simulators",),
    "typer": ("tetrapla",),
    "rich": ("tetrapla",),
    "torch_mlir": ("ir",),
    "mlir": ("ir",),
}


def imported(source: str) -> Iterator[str]:
    """The names of all imported modules, wherever in the file they stand."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            yield module
            if module == "tetrapla":
                yield from (f"tetrapla.{alias.name}" for alias in node.names)


def broken(folder: str, source: str) -> list[str]:
    """The imports of a file in `folder` that no arrow allows."""
    found = []
    for name in imported(source):
        top, _, rest = name.partition(".")
        layer = rest.partition(".")[0]
        if top == "tetrapla" and layer not in {folder, *ALLOWED[folder]}:
            found.append(name)
        if top in ONLY_IN and folder not in ONLY_IN[top]:
            found.append(name)
    return found


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", ALLOWED)
def test_every_import_follows_an_arrow(folder: str) -> None:
    found = {str(path): broken(folder, path.read_text("utf-8")) for path in files(folder)}
    assert found, f"{folder}/ must hold files"
    assert {path: names for path, names in found.items() if names} == {}


def test_the_bindings_have_one_door() -> None:
    # by text, since the door tries several names
    every = [path for folder in (*ALLOWED, "tetrapla") for path in files(folder)]
    users = {path.name for path in every if "torch_mlir" in path.read_text("utf-8")}
    assert users == {"mlir.py"}


def test_the_facade_leaves_files_and_yaml_to_their_layers() -> None:
    own = [p for p in files("tetrapla") if not any(part in ALLOWED for part in p.parts[-2:-1])]
    for path in own:
        names = {name.partition(".")[0] for name in imported(path.read_text("utf-8"))}
        assert not names & {"onnx", "pydantic", "ruamel", "torch_mlir", "mlir"}, path


@pytest.mark.parametrize(
    ("folder", "line"),
    [
        ("simulators", "from tetrapla.backends.target_ import Target"),
        ("simulators", "def f():\n    import tetrapla.passes.quantize"),
        ("simulators", "from tetrapla import backends"),
        ("passes", "from tetrapla.simulators.spec_ import Spec"),
        ("frontend", "from tetrapla.passes import pass_"),
        ("ir", "from tetrapla.run import Executable"),
        ("backends", "from tetrapla.frontend.onnx import load"),
        ("passes", "import onnx"),
        ("backends", "from torch_mlir.ir import Module"),
    ],
)
def test_a_planted_fault_is_caught(folder: str, line: str) -> None:
    assert broken(folder, line)
