"""The same command twice gives the same bytes, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODEL = str(ROOT / "examples" / "digits_mlp.onnx")


def written(folder: Path, name: str, *words: str, cwd: Path | None = None) -> bytes:
    """The JSON that a command writes, run with a hash seed of its own."""
    path = folder / name
    subprocess.run(
        [sys.executable, "-m", "tetrapla", *words, "--json", str(path)],
        check=True,
        capture_output=True,
        cwd=cwd,
        env={"PYTHONHASHSEED": str(len(name)), "PATH": "", "PYTHONPATH": str(ROOT)},
    )
    return path.read_bytes()


@pytest.mark.slow
def test_a_comparison_is_the_same_bytes_twice(tmp_path: Path) -> None:
    targets = "tpu-v1,h100,loihi,isaac"
    words = ("compare", MODEL, "--targets", targets, "--data", "digits", "--samples", "12")
    first = written(tmp_path, "a.json", *words)
    # another output, another folder, other files beside it
    more = ("--csv", "c.csv", "--report", "r.html")
    assert first == written(tmp_path, "another.json", *words, *more, cwd=tmp_path)
    assert b"a.json" not in first
    pages = [(tmp_path / "r.html").read_bytes()]
    written(tmp_path, "third.json", *words, "--report", str(tmp_path / "r.html"))
    assert pages == [(tmp_path / "r.html").read_bytes()]


@pytest.mark.slow
def test_inputs_that_nobody_gave_are_the_same_bytes_twice(tmp_path: Path) -> None:
    words = ("compare", MODEL, "--targets", "tpu-v1,loihi", "--seed", "3", "--samples", "4")
    first = written(tmp_path, "a.json", *words)
    assert first == written(tmp_path, "another.json", *words)
    assert first != written(tmp_path, "other.json", *words[:-3], "4", "--samples", "4")


@pytest.mark.slow
def test_a_compiled_folder_is_the_same_bytes_twice(tmp_path: Path) -> None:
    words = ("compile", MODEL, "--target", "tpu-v1", "--data", "digits", "--emit", "onnx")
    found = []
    for name in ("a", "b"):
        subprocess.run(
            [sys.executable, "-m", "tetrapla", *words, "-o", str(tmp_path / name)],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": str(ord(name)), "PATH": "", "PYTHONPATH": str(ROOT)},
        )
        found.append({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})
    assert found[0] == found[1]
