"""`tetrapla compile`: the folder that it fills."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tetrapla
from tetrapla.run import compile_for
from tetrapla.simulators.gpu.workspace import need

Cli = Callable[..., Any]
Refused = Callable[..., None]


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


def test_machine_code_is_made_for_the_chip_and_for_what_is_named(
    cli: Cli, mlp: str, tmp_path: Path
) -> None:
    pytest.importorskip("triton", reason="the kernels are compiled by Triton")
    out = tmp_path / "out"
    words = ["compile", mlp, "--data", "digits", "-o", out]
    done = cli(*words, "--target", "h100")
    assert done.status == 0
    kernels = [path.stem for path in (out / "code" / "sm_90").glob("*.cubin")]
    table = done.out.partition(f"kernels of {out}\n")[2].splitlines()
    assert table[0].split() == [
        *("kernel", "launches", "architecture", "warps", "registers", "shared", "memory"),
        *("spills", "instructions"),
    ]
    assert sorted(line.split()[0] for line in table[2:] if line) == sorted(kernels)
    assert f"{out / 'code' / 'sm_90'}  {2 * len(kernels)} files, " in done.out
    done = cli(*words, "--target", "a100", "--arch", "gfx942,sm_75")
    assert done.status == 0
    assert {path.name for path in (out / "code").iterdir()} == {"sm_75", "gfx942"}
    said = "note: Triton uses no tensor cores on sm_75 and states no support for them\n"
    assert said in done.err
    removed = f"note: {out}: what an earlier compile wrote is removed: code/sm_90\n"
    assert removed in done.err


def test_an_architecture_is_a_gpu_s(refused: Refused, mlp: str, tmp_path: Path) -> None:
    words = ["compile", mlp, "-o", tmp_path / "out", "--target"]
    message = "--arch must be left out for systolic; it is a GPU's"
    refused(message, *words, "tpu-v1", "--arch", "sm_90")
    message = (
        "--arch must be of sm_70, sm_75, sm_80, sm_86, sm_89, sm_90, sm_100, gfx942, not "
        "'sm_60'; did you mean 'sm_90'?"
    )
    refused(message, *words, "h100", "--arch", "sm_90", "--arch", "sm_60")
    message = "--arch must name an architecture, not none; give sm_70, say"
    refused(message, *words, "h100", "--arch", ",")
    assert not (tmp_path / "out").exists()


def test_a_plan_that_the_chip_cannot_hold_is_refused_with_its_size(
    refused: Refused, cnn: str, tmp_path: Path
) -> None:
    needed = need(compile_for(tetrapla.load(cnn), "h100").lowered.program)
    message = (
        f"h100: digits_cnn must fit 1000 bytes of device memory, not take {needed.total} "
        f"({needed.weights} of weights, {needed.inputs_and_outputs} of inputs and outputs, "
        f"{needed.workspace} of workspace); use a smaller batch"
    )
    words = ["compile", cnn, "-t", "h100", "--set", "dram.capacity=1 kB"]
    refused(message, *words, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
