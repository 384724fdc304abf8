"""Every operator that has a routine or an instruction, against the reference bit for bit."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from tests.backends.systolic.conftest import KEY, chip
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS, Tensor
from tetrapla.ir.quant.dialect import RANGES
from tetrapla.simulators.systolic.lanes import LANE_CYCLES
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.program import Program

import_module("tetrapla.ir.dialects")  # fills OPS

# indices must lie in what they index, and a shift or divisor must have a sense: 0 or 1 does
_SMALL = frozenset({"i64", "i1"})
_BORDER = ("nn.reshape", "nn.transpose", "qnn.dequantize", "qnn.quantize")
_KINDS = sorted({*LANE_CYCLES, "qnn.conv2d", "qnn.matmul"})


def _array(rng: np.random.Generator, kind: str, tensor: Tensor) -> Array:
    dtype = DTYPES[tensor.dtype]
    if dtype.kind == "f":
        return (rng.random(tensor.shape) + 0.1).astype(dtype)
    if tensor.dtype in _SMALL or (tensor.dtype == "i32" and kind.startswith("nn.")):
        return rng.integers(0, 2, tensor.shape).astype(dtype)
    if tensor.dtype == "i32":
        return rng.integers(1, 40, tensor.shape).astype(dtype)  # shifts of a rescaling
    low, high = RANGES.get(tensor.dtype, (1, 100))
    if kind in ("nn.idiv", "nn.mod", "nn.shift_left", "nn.shift_right"):
        low, high = 1, 7
    return rng.integers(low, high + 1, tensor.shape).astype(dtype)


def _module(
    rng: np.random.Generator, kind: str, inside: bool
) -> tuple[Module, dict[str, Array]]:
    """The operator's example alone, its parameters constants; or between two rectifications."""
    example = OPS[kind].example
    assert example is not None, f"{kind} has an example"
    tensors, attributes = example
    b = ModuleBuilder("one")
    operands, inputs = [], {}
    for number, tensor in enumerate(tensors):
        array = _array(rng, kind, tensor)
        if number and kind.startswith("qnn."):
            operands.append(b.weight(f"w{number}", array))
            continue
        inputs[f"x{number}"] = array[None]
        operands.append(b.input(f"x{number}", tensor.shape, tensor.dtype))
    if inside:
        operands[0] = b.op("nn.relu", operands[:1])
    for number, value in enumerate(b.ops(kind, operands, attributes, "one")):
        b.output(f"y{number}", b.op("nn.relu", [value]) if inside else value)
    return b.finish(), inputs


def exact(module: Module, inputs: dict[str, Array]) -> Program:
    """Compile, run, and hold every bit of every output against the reference."""
    spec = chip(8, 8)
    program = compile_graph(module.graph, spec, "m")
    found = run(program, spec, inputs, KEY).outputs
    for name, wanted in evaluate_many(module, inputs).items():
        assert found[name].dtype == wanted.dtype
        assert found[name].shape == wanted.shape
        np.testing.assert_array_equal(found[name], wanted)
    return program


@pytest.mark.parametrize("kind", _KINDS)
def test_an_operator_is_exact(rng: np.random.Generator, kind: str) -> None:
    """Between two others where the host would do it at the border."""
    program = exact(*_module(rng, kind, kind in _BORDER))
    assert {step.kind for step in program.before} <= {"nn.reshape", "nn.transpose", "nn.slice"}
    assert program.after == ()
