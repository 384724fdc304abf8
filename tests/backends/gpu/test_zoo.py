"""The examples and the zoo's small set on an H100: planned, run as emitted, and compiled."""

from __future__ import annotations

from functools import cache
from pathlib import Path

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


def named(model: str) -> str:
    return Path(model).name


@cache
def lowered(model: str) -> tuple[Lowered[Program], Inputs]:
    """A model's plan in the chip's own format, and inputs for one invocation."""
    module = tetrapla.load(model)
    samples = drawn(module, 0)
    made = compile_for(module, "h100", samples.calibration, Options()).lowered
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


@pytest.mark.parametrize("model", MODELS, ids=named)
def test_every_model_is_planned(model: str) -> None:
    program = lowered(model)[0].program
    found, launched = functions(program)
    assert len(launched) == len(program.kernels)
    assert {*launched} == {function.name for function in found}


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS, ids=named)
def test_every_model_runs_as_emitted(model: str) -> None:
    pytest.importorskip("triton", reason="the emitted kernels run under its interpreter")
    made, inputs = lowered(model)
    if check.iterations(made.program) > RUN:
        pytest.skip(f"more than the {RUN} tile iterations that the interpreter is given here")
    found, said = check.second_check(made, inputs, evaluate_many(made.module, inputs))
    assert found is not None, said
    assert found.passed, found


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_every_kernel_becomes_machine_code(architecture: str) -> None:
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
        if "tl.dot(" in function.text:  # a product's loop keeps everything in registers
            assert code.spill_bytes == 0, code.function
