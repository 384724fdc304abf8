"""A place that cannot be written is said before the work, by every command that writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tetrapla.__main__ import app
from tetrapla.files import write_all
from tetrapla.ir.errors import ModelError

Cli = Callable[..., Any]
# what a command needs besides; none of these files exists, so that work would say so first
WORDS: dict[str, list[str]] = {
    "demo": [],
    "run": ["no.onnx", "--input", "no.npz"],
    "compile": ["no.onnx", "-t", "h100"],
    "retrain": ["no.onnx", "-t", "isaac", "--data", "digits"],
    "simulate": ["no.onnx", "-t", "h100"],
    "compare": ["no.onnx", "--targets", "h100"],
    "sweep": ["no.onnx", "-t", "tpu-v1", "--set", "array.rows=8,16", "--trials", "2"],
    "search": ["zoo:none", "-t", "isaac"],
    "plot": ["roofline", "no.json"],
    "validate": [],
    "rtl": ["no.onnx", "-t", "tpu-v1"],
    "targets": [],
    "schema": [],
    "doctor": [],
    "ir": ["no.onnx", "--after", "canonical"],
    "calibrate gpu": ["--measurements", "no.csv"],
}
READ = {"--input", "--calib", "--fix", "--tuning", "--golden", "--measurements", "file"}
SUFFIXES = {
    ("ir", "-o"): ".mlir",
    ("ir", "--reduce"): ".mlir",
    ("run", "-o"): ".npz",
    ("plot", "-o"): ".pdf",
    ("retrain", "-o"): ".onnx",
    ("search", "--output"): ".onnx",
    ("sweep", "--figure"): ".svg",
    ("sweep", "--store"): ".db",
    ("sweep", "--study"): ".db",
    ("search", "--study"): ".db",
}


def outputs(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every command and each of its options that names a file or folder to write."""
    command: Any = group or typer.main.get_command(app)
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from outputs(inner, (*path, name))
        return
    for option in command.params:
        metavar = str(getattr(option, "metavar", ""))
        if metavar in ("FILE", "DIR", "FIG") and option.opts[0] not in READ:
            yield " ".join(path), option.opts[0]


@pytest.mark.parametrize(("command", "option"), sorted(outputs()))
def test_a_missing_folder_is_said_before_the_work(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"none/o{SUFFIXES.get((command, option), '.json')}"
    words = [*command.split(), *WORDS[command], option, name]
    # a command's file that must be named besides
    needed = {"run": "x.npz", "compile": "out", "plot": "x.pdf", "retrain": "x.onnx"}
    if command in needed and option not in ("-o", "--output"):
        words += ["-o", needed[command]]
    if option == "--vcd":
        words += ["--layer", "fc"]
    done = cli(*words)
    assert done.status == 2
    assert done.err == (
        f"error: output '{name}' must lie in a folder that exists, not in 'none'; make the "
        "folder or choose another place\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_superuser")
def test_a_closed_folder_is_said_before_the_work(cli: Cli, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    path = tmp_path / "o.json"
    done = cli("simulate", "no.onnx", "-t", "h100", "--json", path)
    assert done.err == f"error: output '{path}' must be writable; choose another place\n"


def test_a_full_disk_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted fault: the disk is full at the second of three files."""
    old = tmp_path / "a.json"
    old.write_text("before")
    real = os.fdopen
    opened: list[int] = []

    def fdopen(handle: int, mode: str) -> Any:
        opened.append(handle)
        file = real(handle, mode)
        if len(opened) < 2:
            return file

        class Full:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *error: object) -> None:
                file.close()

            def write(self, data: bytes) -> int:
                file.write(data[:1])
                raise OSError(28, "No space left on device")

        return Full()

    monkeypatch.setattr("tetrapla.files.os.fdopen", fdopen)
    wanted = {tmp_path / name: "after" for name in ("a.json", "b.json", "c.json")}
    with pytest.raises(ModelError) as caught:
        write_all(wanted)
    assert str(caught.value) == (
        f"output '{tmp_path / 'b.json'}' must be writable, not refused by the system: No space "
        "left on device; choose another place"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert old.read_text() == "before"
