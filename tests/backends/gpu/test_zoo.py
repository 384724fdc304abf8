"""The examples and the zoo's small set on an H100: planned, run as emitted, and compiled."""

from __future__ import annotations

import importlib
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tetrapla
from tetrapla.backends.gpu import check
from tetrapla.backends.gpu.machine_code import judge
from tetrapla.backends.gpu.triton.compiler import compiled
from tetrapla.backends.gpu.triton.functions import Function, functions
from tetrapla.backends.target_ import Inputs, Lowered, Options
from tetrapla.frontend.zoo.network import SMALL, SMALL_MACS, networks
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.op import macs
from tetrapla.run import compile_for
from tetrapla.samples import drawn
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.spec_ import load_spec

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.onnx"))
MODELS = [*(f"zoo:{name}" for name in SMALL), *map(str, EXAMPLES)]
# iterations that the interpreter runs in some seconds
RUN = 700
# a minute of one core, for the sake of a transformer of twelve layers
TINY = "zoo:vit-tiny"
# hundreds of kernels
LONG = ("zoo:ntm-copy", "zoo:boltzmann-machine", "zoo:lif-mlp")
# those of which every product becomes integer
INTEGER = ["zoo:dqn", "zoo:mlp", "zoo:nettalk", *map(str, EXAMPLES)]
# which side of a threshold a sum of floats is on has no bound between no and yes
WIDE = ("zoo:perceptron",)


def named(model: str) -> str:
    return Path(model).name


@cache
def lowered(model: str, quant: str | None = None) -> tuple[Lowered[Program], Inputs]:
    """A model's plan in the chip's own format, and inputs for one invocation."""
    module = tetrapla.load(model)
    samples = drawn(module, 0)
    made = compile_for(module, "h100", samples.calibration, Options(quant)).lowered
    return made, {name: np.asarray(array)[:1] for name, array in samples.inputs.items()}


def test_the_small_set_is_what_it_says() -> None:
    """Up to 25 million multiply-accumulates, and no loop that a value ends."""
    found = set[str]()
    for name, network in networks().items():
        nodes = network.graph().nodes
        count = macs(nodes)
        if (count or 0) <= SMALL_MACS and not any(n.kind == "nn.while" for n in nodes):
            found.add(name)
    assert found == {*SMALL}
    assert sorted(SMALL) == list(SMALL)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, marks=pytest.mark.slow) if model in LONG else model
        for model in MODELS
    ],
    ids=named,
)
def test_every_model_is_planned(model: str) -> None:
    program = lowered(model)[0].program
    found, launched = functions(program)
    assert len(launched) == len(program.kernels)
    assert {*launched} == {function.name for function in found}


@pytest.mark.slow
@pytest.mark.parametrize("model", [*MODELS, TINY], ids=named)
def test_every_model_runs_as_emitted(model: str) -> None:
    pytest.importorskip("triton", reason="the emitted kernels run under its interpreter")
    made, inputs = lowered(model)
    if check.iterations(made.program) > RUN and model != TINY:
        pytest.skip(f"more than the {RUN} tile iterations that the interpreter is given here")
    found, said = check.second_check(made, inputs, evaluate_many(made.module, inputs))
    assert found is not None, said
    assert found.mismatches == 0, found
    assert found.passed or model in WIDE, found


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_every_kernel_becomes_machine_code(architecture: str, tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="the kernels are compiled by Triton")
    chip = {"sm_80": "a100", "sm_90": "h100"}[architecture]
    spec = load_spec(chip, GpuSpec).spec
    distinct: dict[object, Function] = {}
    for model in MODELS:
        for function in functions(lowered(model)[0].program)[0]:
            distinct.setdefault(function.content, function)
    codes = compiled(list(distinct.values()), [architecture])
    for function, code in zip(distinct.values(), codes, strict=True):
        judge(code, function, spec.block)
        assert code.spill_bytes == 0 or not spills_in_a_loop(code.binary, tmp_path), (
            code.function
        )


@pytest.mark.slow
@pytest.mark.parametrize("model", INTEGER, ids=named)
def test_integer_kernels_are_bit_exact(model: str) -> None:
    pytest.importorskip("triton", reason="the emitted kernels run under its interpreter")
    made, inputs = lowered(model, "canonical,quantize{all_operators=true}")
    found, said = check.second_check(made, inputs, evaluate_many(made.module, inputs))
    assert found is not None, said
    assert (found.kind, found.mismatches, found.passed) == ("bit_exact", 0, True)


def spills_in_a_loop(cubin: bytes, folder: Path) -> list[str]:
    """Stores to local memory and loads from it that lie before a jump back over them."""
    triton: Any = importlib.import_module("triton")
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    (folder / "code.cubin").write_bytes(cubin)
    command = [str(tool), "-sass", str(folder / "code.cubin")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"/\*([0-9a-f]{4,})\*/\s+(.*?);", text)
    loops = [
        (int(target, 16), int(place, 16))
        for place, line in lines
        for target in re.findall(r"\bBRA(?:\.\w+)* .*?0x([0-9a-f]+)", line)
        if int(target, 16) < int(place, 16)
    ]
    return [
        line
        for place, line in lines
        if re.search(r"\b(STL|LDL)\b", line)
        and any(first <= int(place, 16) <= last for first, last in loops)
    ]
