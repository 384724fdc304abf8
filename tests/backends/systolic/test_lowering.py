"""What lowering refuses before it begins, takes apart, and says about its MACs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.systolic.conftest import KEY, chip, verdict
from tests.backends.systolic.designs import design
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.target_ import Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import DTYPES, Attribute
from tetrapla.ir.module import Module
from tetrapla.ir.op import macs
from tetrapla.simulators.systolic.machine import run


def product(rows: tuple[int, ...], columns: int) -> Module:
    build = ModuleBuilder("net")
    w = build.weight("w", np.ones((rows[-1], columns), np.float32))
    x = build.input("x", rows)
    build.output("y", build.op("nn.matmul", [x, w], {"activation": "none"}, name="fc"))
    return build.finish()


@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [
        ((1, 0, 8), 4, "input 'x' must have positive dimensions, not (1, 0, 8)"),
        ((0, 3, 8), 4, "input 'x' must have positive dimensions, not (0, 3, 8)"),
        ((1, 3, 0), 4, "input 'x' must have positive dimensions, not (1, 3, 0)"),
        ((1, 3, 8), 0, "layer 'fc' must have positive dimensions, not (8, 0)"),
    ],
)
def test_a_dimension_of_zero_is_named(rows: tuple[int, ...], columns: int, said: str) -> None:
    module = product(rows, columns)
    with pytest.raises(UnsupportedError) as refused:
        TARGET.lower(module, chip(8, 8), {"x": np.zeros((1, *rows), np.float32)}, Options())
    assert str(refused.value) == (
        f"systolic: {said}; give every axis, the batch too, at least 1"
    )


def test_the_inner_axis_of_a_product_is_named_where_no_input_shows_it() -> None:
    build = ModuleBuilder("net")
    x = build.input("x", (2, 6))
    empty: dict[str, Attribute] = {"starts": (0, 3), "sizes": (2, 0), "steps": (1, 1)}
    part = build.op("nn.slice", [x], empty, name="part")
    w = build.weight("w", np.ones((0, 5), np.float32))
    build.output("y", build.op("nn.matmul", [part, w], {"activation": "none"}, name="fc"))
    with pytest.raises(UnsupportedError) as refused:
        TARGET.lower(build.finish(), chip(8, 8), {"x": np.zeros((1, 2, 6))}, Options())
    assert str(refused.value) == (
        "systolic: layer 'fc' must have positive dimensions, not (2, 0); "
        "give every axis, the batch too, at least 1"
    )


@pytest.mark.parametrize("activation", ["none", "relu", "relu6", "gelu", "silu", "tanh"])
def test_residuals_and_activations_of_float_products_are_routines(activation: str) -> None:
    build, rng = ModuleBuilder("net"), np.random.default_rng(1)
    x, residual = build.input("x", (5, 12), "i8"), build.input("r", (5, 9), "bf16")
    scale = build.weight("s", np.full(1, 0.05, np.float32))
    real = build.op("qnn.dequantize", [x, scale], {"zero_point": 0, "axis": 0}, name="real")
    narrow = build.op("nn.cast", [real], {"dtype": "bf16"}, name="narrow")
    weights = (rng.standard_normal(shape).astype(DTYPES["bf16"]) for shape in ((12, 9), (9,)))
    w, bias = (build.weight(n, array) for n, array in zip("wb", weights, strict=True))
    held: dict[str, Attribute] = {"activation": activation}
    build.output("y", build.op("nn.matmul", [narrow, w, bias, residual], held, name="fc"))
    spec = design(8, 8)
    lowered = TARGET.lower(build.finish(), spec, None, Options())
    inputs = {
        "x": rng.integers(-128, 128, (2, 5, 12)).astype(np.int8),
        "r": rng.standard_normal((2, 5, 9)).astype(DTYPES["bf16"]),
    }
    found = verdict(lowered, spec, inputs, run(lowered.program, spec, inputs, KEY))
    assert found.kind == "tolerance"
    assert found.passed, found
    kinds = [node.kind for node in lowered.module.graph.nodes]
    assert "nn.add" in kinds
    assert [len(n.operands) for n in lowered.module.graph.nodes if n.name == "fc"] == [3]


def test_what_was_folded_away_is_said() -> None:
    build, (steps, width, units) = ModuleBuilder("net"), (3, 4, 5)
    rng = np.random.default_rng(2)
    operands = [build.input("x", (steps, 1, width))]
    for name, columns in (("w", width), ("r", units)):
        array = rng.standard_normal((1, units, columns)).astype(np.float32)
        operands.append(build.weight(name, array))
    held: dict[str, Attribute] = {"direction": "forward", "activations": "tanh", "clip": 0.0}
    build.output("y", build.ops("nn.rnn", operands, held, "layer")[0])
    module = build.finish()
    data = {"x": rng.standard_normal((2, steps, 1, width)).astype(np.float32)}
    lowered = TARGET.lower(module, chip(8, 8), data, Options())
    whole, first = steps * units * (width + units), units * units  # a state of zero
    assert macs(module.graph.nodes) == whole
    assert macs(lowered.module.graph.nodes) == whole - first
    assert lowered.warnings == (
        "25 of the model's 135 MACs are not done and not counted: their products are known "
        "(first states of zero, constants), unused or repeated, and were folded away",
    )


def test_products_that_are_all_done_are_no_matter() -> None:
    module = product((1, 3, 8), 4)
    data = {"x": np.ones((1, 1, 3, 8), np.float32)}
    assert TARGET.lower(module, chip(8, 8), data, Options()).warnings == ()
