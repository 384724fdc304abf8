"""Layers of quantised operators as files have them: bit exact, simulated and as emitted."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.gpu.helpers import interpreted
from tetrapla.backends.gpu.bounds.verdict import integer, judged
from tetrapla.backends.gpu.lower import lower
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.values import executed
from tetrapla.simulators.spec_ import load_spec

SCALES: dict[str, Attribute] = {
    "a_scale": 0.031, "a_zero_point": 3, "b_scale": 0.027, "b_zero_point": -9,
    "y_scale": 0.044, "y_zero_point": -4,
}  # fmt: skip
Case = tuple[Module, dict[str, Array]]


def dynamic(rng: np.random.Generator) -> Case:
    """A linear layer that is quantised as it runs, as ONNX Runtime's dynamic quantisation."""
    build = ModuleBuilder("dynamic")
    x = build.input("x", (5, 19))
    w = build.weight("w", rng.integers(-127, 128, (19, 6)).astype(np.int8))
    zeros = build.weight("w0", rng.integers(-3, 4, 6).astype(np.int8))
    scales = build.weight("ws", rng.uniform(0.001, 0.01, 6).astype(np.float32))
    q, scale, zero = build.ops("qnn.dynamic_quantize", [x], {}, "quantised")
    acc = build.op("qnn.matmul_integer", [q, w, zero, zeros], {}, "product")
    real = build.op("nn.cast", [acc], {"dtype": "f32"}, "real")
    by = build.op("nn.mul", [scales, scale], {}, "by")
    build.output("y", build.op("nn.mul", [real, by], {}, "scaled"))
    return build.finish(), {"x": rng.normal(size=(3, 5, 19)).astype(np.float32)}


def joined(rng: np.random.Generator) -> Case:
    """A gate, a table and a concatenation, as a quantised network's SiLU and skip have them."""
    build = ModuleBuilder("joined")
    a, b = (build.input(name, (2, 7, 5, 3), "i8") for name in "ab")
    table = build.weight("table", rng.integers(-128, 128, 256).astype(np.int8))
    gate = build.op("qnn.lookup", [a, table], {}, "sigmoid")
    gated = build.op("qnn.mul", [a, gate], SCALES, "gated")
    build.output("y", build.op("qnn.concat", [gated, b], {**SCALES, "axis": 1}, "both"))
    shape = (2, 2, 7, 5, 3)
    return build.finish(), {
        name: rng.integers(-128, 128, shape).astype(np.int8) for name in "ab"
    }


def rescaled(rng: np.random.Generator) -> Case:
    """An accumulator brought to bytes by integers alone, as TOSA and TensorFlow Lite do."""
    build = ModuleBuilder("rescaled")
    x = build.input("x", (4, 6, 5), "i32")
    many = build.weight("many", rng.integers(2**30, 2**31, 6).astype(np.int32))
    right = build.weight("right", rng.integers(33, 45, 6).astype(np.int32))
    own: dict[str, Attribute] = {
        "x_zero_point": 0, "zero_point": -5, "low": -128, "high": 127, "axis": 1,
        "dtype": "i8",
    }  # fmt: skip
    for rounding in ("single", "double", "tflite_double"):
        y = build.op("qnn.rescale", [x, many, right], {**own, "rounding": rounding}, rounding)
        build.output(rounding, y)
    return build.finish(), {"x": rng.integers(-(2**20), 2**20, (2, 4, 6, 5)).astype(np.int32)}


CASES = {"dynamic": dynamic, "joined": joined, "rescaled": rescaled}


def lowered(module: Module) -> Lowered[Program]:
    return lower(module, load_spec("h100", GpuSpec).spec, None, Options())


@pytest.mark.parametrize("name", ["joined", "rescaled"])
def test_integers_are_bit_exact(name: str, rng: np.random.Generator) -> None:
    module, inputs = CASES[name](rng)
    made, reference = lowered(module), evaluate_many(module, inputs)
    assert integer(made)
    found = judged(made, inputs, executed(made.program, inputs), reference)
    assert (found.kind, found.mismatches) == ("bit_exact", 0)


def test_a_dynamic_layer_has_the_reference_s_bits(rng: np.random.Generator) -> None:
    module, inputs = dynamic(rng)
    made, reference = lowered(module), evaluate_many(module, inputs)
    held = executed(made.program, inputs)
    assert np.array_equal(held.outputs["y"], reference["y"])
    assert judged(made, inputs, held, reference).passed


@pytest.mark.parametrize("name", CASES)
def test_the_emitted_kernels_have_the_same_bits(name: str, rng: np.random.Generator) -> None:
    module, inputs = CASES[name](rng)
    made, reference = lowered(module), evaluate_many(module, inputs)
    held = interpreted(made.program, inputs)
    for key, wanted in reference.items():
        assert np.array_equal(held.outputs[key], wanted), key
    assert judged(made, inputs, held, reference).passed
