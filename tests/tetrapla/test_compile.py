"""`tetrapla compile`: the folder that it fills."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tetrapla

Cli = Callable[..., Any]


@pytest.mark.parametrize("target", ["tpu-v1", "h100", "loihi", "isaac"])
def test_compile_writes_program_and_module(
    cli: Cli, mlp: str, tmp_path: Path, target: str
) -> None:
    out = tmp_path / "out"
    done = cli("compile", mlp, "--target", target, "--data", "digits", "-o", out)
    assert done.status == 0
    files = {path.name: path.stat().st_size for path in out.iterdir() if path.is_file()}
    assert set(files) >= {"program.txt", "program.json", "module.mlir", "weights.npz"}
    told = [line.split() for line in done.out.splitlines() if line.endswith(" bytes")]
    assert {words[0]: words[1] for words in told if len(words) == 3} == {
        str(out / name): str(size) for name, size in files.items()
    }
    json.loads((out / "program.json").read_text("utf-8"))
    assert ("kernels.py" in files) == (target == "h100")


def test_the_exported_onnx_computes_the_lowered_module(
    cli: Cli, mlp: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["compile", mlp, "--target", "tpu-v1", "--data", "digits", "-o", out]
    assert cli(*words, "--emit", "onnx").status == 0
    x = {"image": np.full((1, 1, 8, 8), 0.25, np.float32)}
    lowered, exported = (
        tetrapla.evaluate(tetrapla.load(out / name), x)["logits"]
        for name in ("module.mlir", "model.onnx")
    )
    assert np.array_equal(lowered, exported)
    done = cli(*words)
    assert f"note: {out} also holds what this command did not write: model.onnx\n" in done.err
