"""The same command twice gives the same bytes, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MODEL = str(Path(__file__).resolve().parent.parent / "examples" / "digits_mlp.onnx")


def written(folder: Path, name: str, *words: str) -> bytes:
    """The JSON that a command writes, run with a hash seed of its own."""
    path = folder / name
    subprocess.run(
        [sys.executable, "-m", "tetrapla", *words, "--json", str(path)],
        check=True,
        capture_output=True,
        env={"PYTHONHASHSEED": str(len(name)), "PATH": ""},
    )
    return path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("target", ["tpu-v1", "h100", "loihi", "isaac"])
def test_a_report_is_the_same_bytes_twice(tmp_path: Path, target: str) -> None:
    words = ("simulate", MODEL, "--target", target, "--data", "digits", "--samples", "12")
    first = written(tmp_path, "a.json", *words)
    assert first == written(tmp_path, "another.json", *words)
    assert b"a.json" not in first


@pytest.mark.slow
def test_inputs_that_nobody_gave_are_the_same_bytes_twice(tmp_path: Path) -> None:
    words = ("compare", MODEL, "--targets", "tpu-v1,loihi", "--seed", "3", "--samples", "4")
    first = written(tmp_path, "a.json", *words)
    assert first == written(tmp_path, "another.json", *words)
    assert first != written(tmp_path, "other.json", *words[:-3], "4", "--samples", "4")
