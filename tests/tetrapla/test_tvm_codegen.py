"""Our modules by TVM's code generators, held against the reference."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tetrapla
from tests.tetrapla.with_tvm import needs_tvm
from tetrapla import nn
from tetrapla.ir.errors import UnsupportedError
from tetrapla.tvm import codegen, judge
from tetrapla.tvm.codegen import CPU, generated
from tetrapla.tvm.process import Child

pytestmark = pytest.mark.slow  # TVM takes a second to start

Array = np.ndarray[Any, Any]


@needs_tvm
def test_the_library_that_the_command_writes_gives_what_the_reference_gives(
    cli: Callable[..., Any], cnn: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["--codegen", "tvm", "--target", "cpu", "--data", "digits"]
    made = cli("compile", cnn, *words, "-o", out)
    assert made.status == 0, made.err
    names = {path.name for path in out.iterdir()}
    assert names == {
        *("arrays.py", "manifest.json", "model.ll", "model.onnx", "model.so", "relax.txt"),
        "run.py",
    }
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    check = manifest["cross_check"]
    assert check["passed"]
    assert check["mismatches"] == 0
    assert check["max_rel_error"] <= check["bound"]
    x = np.random.default_rng(0).uniform(0, 1, (3, 1, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    command = [sys.executable, str(out / "run.py"), "--input", str(tmp_path / "x.npz")]
    subprocess.run([*command, "-o", str(tmp_path / "y.npz")], check=True, capture_output=True)
    # what was checked is what run.py runs
    with Child("generator") as child:
        child.ask("compile_for_cpu", data=(out / "model.onnx").read_bytes(), library=None)
        wanted = [row[0] for row in child.ask("run", rows=[[each] for each in x])]
    with np.load(tmp_path / "y.npz") as held:
        np.testing.assert_array_equal(held["logits"], np.stack(wanted))
    # an input of the model's own shape gives outputs of theirs
    np.savez(tmp_path / "x.npz", x=x[0])
    subprocess.run([*command, "-o", str(tmp_path / "y.npz")], check=True, capture_output=True)
    with np.load(tmp_path / "y.npz") as held:
        np.testing.assert_array_equal(held["logits"], wanted[0])
    lost = tmp_path / "none" / "y.npz"
    done = subprocess.run(
        [*command, "-o", str(lost)], capture_output=True, text=True, check=False
    )
    said = f"error: output '{lost}' must lie in a folder that exists; make the folder\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def absent(name: str) -> None:
    """No program is on the path."""


@needs_tvm
def test_cuda_text_is_made_without_a_device(cnn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tetrapla.load(cnn)
    x = np.zeros((1, 1, 1, 8, 8), np.float32)
    monkeypatch.setattr(shutil, "which", absent)
    found = generated(module, "sm_90", {"image": x})
    text = found.files["kernels.cu"]
    assert isinstance(text, str)
    assert text.count('extern "C" __global__') >= 7  # a kernel for each operator at least
    assert "kernels.cubin" not in found.files
    assert found.notes[1:] == (
        "kernels.cu was not compiled: nvcc is not on the path",
        "the CUDA text was not run: its module was checked as TVM's code for the CPU",
    )


@needs_tvm
def test_attention_and_normalisation_keep_their_bounds(rng: np.random.Generator) -> None:
    """The operators of a transformer that TVM computes by formulas of its own."""
    b = tetrapla.Builder("block")
    x = b.input("x", (1, 6, 8))
    w = rng.standard_normal((8, 8)).astype(np.float32)
    scale = rng.standard_normal(8).astype(np.float32)
    y = nn.layer_norm(x, scale, scale)
    y = (y @ w) @ y.transpose((0, 2, 1))
    y = (y.softmax(axis=-1) @ x).gelu()
    b.output("y", (y @ w).tanh())
    inputs = {"x": rng.standard_normal((2, 1, 6, 8)).astype(np.float32)}
    check = generated(b.build(), CPU, inputs).check
    assert check is not None
    assert (check.mismatches, check.passed) == (0, True)


def test_a_wrong_value_is_outside_of_its_bound(rng: np.random.Generator) -> None:
    b = tetrapla.Builder("product")
    x = b.input("x", (4, 16))
    b.output("y", x @ rng.standard_normal((16, 4)).astype(np.float32))
    module = judge.opened(b.build())
    inputs = {"x": rng.standard_normal((1, 4, 16)).astype(np.float32)}
    ((name, value),) = module.outputs.items()
    exact = np.stack([tetrapla.evaluate(module, {"x": inputs["x"][0]})[name]])
    assert judge.judged(module, inputs, {value.index: exact})[0].passed
    exact[0, 1, 2] *= np.float32(1 + 2.0**-10)
    check, where = judge.judged(module, inputs, {value.index: exact})
    assert (check.mismatches, check.passed, where) == (1, False, "matmul")


def test_an_operator_of_several_results_has_no_bound_and_is_named() -> None:
    assert judge.without_bound(tetrapla.load("zoo:elman")) == ["nn.rnn"]


@needs_tvm
def test_what_onnx_cannot_say_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(module: object) -> bytes:
        raise UnsupportedError("the ONNX exporter has no form of nn.a, nn.b (node 'a')")

    monkeypatch.setattr(codegen, "export", refuse)
    with pytest.raises(UnsupportedError, match=r"no form of nn\.a, nn\.b"):
        generated(tetrapla.load("zoo:nettalk"), CPU, {})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--codegen", "tmv", "--target", "cpu"],
            "--codegen must be triton or tvm, not 'tmv'; did you mean 'tvm'?",
        ),
        (
            ["--codegen", "tvm", "--target", "systolic"],
            "--codegen tvm must have cpu or a GPU as its target, not 'systolic'; "
            "leave --codegen out",
        ),
        (
            ["--codegen", "tvm", "--target", "mi300x"],
            "TVM's code must be for cpu or an NVIDIA architecture, not 'gfx942'; "
            "leave --codegen out",
        ),
        (
            ["--codegen", "tvm", "--target", "cpu", "--quant", "int8"],
            "--codegen tvm must come without --quant: it compiles the float model; "
            "drop one of them",
        ),
        (
            ["--codegen", "tvm", "--target", "cpu", "--emit", "onnx"],
            "--codegen tvm must come without --emit: it compiles the float model; "
            "drop one of them",
        ),
    ],
)
def test_what_tvm_does_not_compile_is_refused(
    refused: Callable[..., None], mlp: str, tmp_path: Path, words: list[str], said: str
) -> None:
    refused(said, "compile", mlp, *words, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
