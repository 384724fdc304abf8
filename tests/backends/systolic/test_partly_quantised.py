"""Models quantised in part: the rest is quantised too, and the scales that are given stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.backends.systolic.conftest import EXACT, KEY, chip, verdict
from tests.frontend.test_onnx_qdq_moves import model, parsed
from tests.passes.random_graphs import FAMILIES, sampled
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.target_ import Options
from tetrapla.frontend.onnx import load
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array, Attribute, Node
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.passes.calibrate_ import ranges
from tetrapla.passes.context_ import Context
from tetrapla.passes.pass_ import run as run_passes
from tetrapla.passes.pipeline_ import ARRAY
from tetrapla.passes.rebuild_ import Rebuild
from tetrapla.passes.scales_ import affine
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.spec import SystolicSpec

PAIR: dict[str, Attribute] = {"zero_point": -7, "axis": 0}
PLAIN: dict[str, Attribute] = {"activation": "none"}


def between(rng: np.random.Generator, dtype: str = "i8", steps: float = 1.0) -> Module:
    """A float product between a DQ and a Q, whose weights are int8 times one scale."""
    b = ModuleBuilder("between")
    x = b.input("x", (1, 2, 3, 2))
    shift = 128 if dtype == "ui8" else 0
    pair = {**PAIR, "zero_point": -7 + shift}
    own, other = (
        b.weight(name, np.array([scale], np.float32))
        for name, scale in (("s", 0.03 * steps), ("t", 0.11 * steps))
    )
    held = rng.integers(-127, 128, (12, 5))
    held[0] = 127, -60, 60, 40, 30
    held[1:] = np.clip(held[1:], -90, 90)
    w = b.weight("w", held.astype(np.float32) * np.float32(0.013))
    q = b.op("qnn.quantize", [x, own], {**pair, "dtype": dtype}, name="arriving")
    d = b.op("qnn.dequantize", [q, own], pair, name="real")
    flat = b.op("nn.reshape", [d], {"shape": (1, 12)}, name="flat")
    y = b.op("nn.matmul", [flat, w], PLAIN, name="product")
    turned = b.op("nn.reshape", [y], {"shape": (5, 1)}, name="column")
    r = b.op("qnn.quantize", [turned, other], {**pair, "dtype": dtype}, name="leaving")
    b.output("y", b.op("qnn.dequantize", [r, other], pair, name="floats"))
    return b.finish()


def one(module: Module, kind: str, name: str) -> Node:
    (found,) = (n for n in module.graph.nodes if (n.kind, n.name) == (kind, name))
    return found


@pytest.mark.parametrize("steps", [1.0, 1e-3])
def test_the_given_scales_of_a_float_product_stay(
    rng: np.random.Generator, steps: float
) -> None:
    module = between(rng, steps=steps)
    data = sampled(module, 1)
    made = run_passes(module, (ARRAY["int8"],), Context(data))
    kinds = [node.kind for node in made.graph.nodes]
    assert kinds == [
        *("qnn.quantize", "nn.reshape", "qnn.matmul", "qnn.requantize", "nn.reshape"),
        "qnn.dequantize",
    ]
    product = one(made, "qnn.matmul", "product")
    assert product.int("x_zero_point") == -7
    requantize = one(made, "qnn.requantize", "product.requantize")
    assert requantize.int("zero_point") == -7
    # the weights are the integers that they were, under their one scale
    original = module.weights["w"] / np.float32(0.013)
    held = made.graph.weight(product.operands[1])
    np.testing.assert_array_equal(held, np.rint(original).astype(np.int8))
    scale = made.graph.weight(requantize.operands[1])
    # five roundings to float32 on either side
    np.testing.assert_allclose(scale, [0.03 * 0.013 / 0.11], rtol=10 * 2.0**-24)


def near_a_half(module: Module, data: dict[str, Array]) -> Array:
    """Whether a result in steps is so near a half that roundings before it may decide."""
    scales = {name: np.float32(module.weights[name][0]) for name in ("s", "t")}
    weights = np.rint(module.weights["w"] / np.float32(0.013))
    q = np.clip(np.rint(data["x"] / scales["s"]) - 7, -128, 127) + 7
    unit = float(scales["s"]) * 0.013 / float(scales["t"])
    rows = q.reshape(-1, 12)
    steps, most = (rows @ weights) * unit, (np.abs(rows) @ np.abs(weights)) * unit
    # a sum of 12 products: 12 roundings, and 6 of scales, operands and the quotient
    far = np.abs(steps - np.floor(steps) - 0.5) > 18 * 2.0**-24 * most
    return np.asarray(~far)


@pytest.mark.parametrize("dtype", ["i8", "ui8"])
def test_what_is_given_is_computed_as_the_floats_say(
    rng: np.random.Generator, dtype: str
) -> None:
    module, spec = between(rng, dtype), chip(8, 8)
    data = sampled(module, 1, 20)
    lowered = TARGET.lower(module, spec, data, Options(quant="int8"))
    assert verdict(lowered, spec, data, run(lowered.program, spec, data, KEY)) == EXACT
    found, wanted = (evaluate_many(m, data)["y"] for m in (lowered.module, module))
    steps = np.rint((found - wanted) / module.weights["t"]).reshape(-1, 5)
    # nothing is rounded but the result
    assert np.count_nonzero(steps[~near_a_half(module, data)]) == 0
    assert np.abs(steps).max() <= 1
    assert np.unique(wanted).size > 50


def test_without_data_the_way_out_is_named(rng: np.random.Generator) -> None:
    with pytest.raises(ModelError) as refused:
        TARGET.lower(between(rng), chip(8, 8), None, Options())
    assert str(refused.value) == (
        "systolic must have calibration data to quantise 'between', not none; "
        "give --calib, --calib-fraction or --data digits"
    )


def test_a_qdq_file_with_a_flatten_is_computed_on_tpu_v1(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    path = tmp_path / "flat.onnx"
    w = rng.integers(-60, 61, (144, 5)).astype(np.int8)
    nodes = [*parsed("m=Flatten(d)"), *parsed("p=MatMul(m, wd)")]
    path.write_bytes(model(nodes, {"w": w}, np.uint8, 1))
    module, spec = load(path), load_spec("tpu-v1", SystolicSpec).spec
    data = sampled(module, 2, 4)
    lowered = TARGET.lower(module, spec, data, Options())
    result = run(lowered.program, spec, data, KEY)
    assert verdict(lowered, spec, data, result) == EXACT
    np.testing.assert_array_equal(result.outputs["y"], evaluate_many(module, data)["y"])
    assert [layer.op for layer in lowered.program.layers] == ["load", "qnn.matmul", "store"]


def rounded(module: Module, data: dict[str, Array], rng: np.random.Generator) -> Module:
    """The module with a Q and a DQ behind every third result, of either type."""
    found = ranges(module, data)
    new = Rebuild(module)
    for node in new.graph.nodes:
        new.copy(node)
        (result, *more) = node.results
        if more or result.dtype != "f32" or rng.random() > 1 / 3 or node.bodies:
            continue
        low, high = found.node(node.name)
        if not np.isfinite([low, high]).all() or high - low > 1e6:
            continue
        reading = affine(low, high)
        scale = new.builder.weight(f"{node.name}.given", np.array([reading.scale], np.float32))
        dtype = ("i8", "ui8")[int(rng.integers(2))]
        point = reading.zero_point + (128 if dtype == "ui8" else 0)
        pair: dict[str, Attribute] = {"zero_point": point, "axis": 0}
        name = f"{node.name}.{{}}"
        q = new.builder.op(
            "qnn.quantize",
            [new.of(result), scale],
            {**pair, "dtype": dtype},
            name=name.format("q"),
        )
        new.set(result, new.builder.op("qnn.dequantize", [q, scale], pair, name.format("d")))
    return new.finish()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_random_models_quantised_in_part_are_computed_bit_by_bit(
    family: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    build, steps = FAMILIES[family]
    picked = [steps[i] for i in rng.integers(0, len(steps), 8)]
    float_module, spec = build(picked, seed), chip(16, 16)
    data = sampled(float_module, seed)
    module = rounded(float_module, data, rng)
    kinds = {node.kind for node in module.graph.nodes}
    assert kinds >= {"qnn.dequantize", "nn.matmul"}
    lowered = TARGET.lower(module, spec, data, Options())
    found = {n.kind for n in lowered.module.graph.nodes}
    assert found & {"nn.matmul", "nn.conv2d", "nn.lstm", "nn.gru"} == set()
    assert verdict(lowered, spec, data, run(lowered.program, spec, data, KEY)) == EXACT
