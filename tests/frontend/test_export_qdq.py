"""Integers that leave as float operators between QDQ pairs mean the same to every reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest

from tetrapla.datasets import load_data
from tetrapla.frontend.onnx import load
from tetrapla.frontend.onnx.export import export
from tetrapla.frontend.onnx.export_scales import weight_scale
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import DTYPES, Array, Attribute
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.passes.context_ import Context
from tetrapla.passes.pass_ import run
from tetrapla.passes.text_ import parse

Runtime = Callable[[bytes], Callable[[Mapping[str, Array]], list[Array]]]

EXAMPLES = Path(__file__).parents[2] / "examples"
IMAGES = 160
U = 2.0**-24
LINES: dict[str, Attribute] = {
    "strides": (2, 1),
    "pads": (1, 0, 1, 1),
    "dilations": (1, 2),
    "groups": 2,
}
BETWEEN = (
    "qnn.add",
    "qnn.average_pool2d",
    "qnn.concat",
    "qnn.global_average_pool",
    "qnn.mul",
    "qnn.softmax",
)
FORMATS = (
    "int8",
    "int4",
    "canonical,quantize{bits=16}",
    "canonical,quantize{weights=i4,group=4}",
    "canonical,quantize{activations=dynamic}",
    "canonical,quantize{weights=bf16,activations=bf16}",
    "canonical,quantize{weights=f16,activations=f16}",
    "canonical,quantize{weights=f8E4M3FN,activations=f8E4M3FN}",
    "canonical,quantize{weights=f8E5M2,activations=f8E5M2}",
)


def network(name: str, pipeline: str) -> tuple[Module, Array]:
    """A quantised example network and images of the test split."""
    data = load_data("digits")
    calibration = data.reshaped((1, 1, 8, 8), data.train[:256])
    module = run(
        load(EXAMPLES / f"{name}.onnx"), parse(pipeline), Context({"image": calibration})
    )
    return module, data.reshaped((1, 1, 8, 8), data.test[:IMAGES])


def read_back(data: bytes, path: Path) -> Module:
    path.write_bytes(data)
    return load(path)


def operators(data: bytes) -> set[str]:
    return {node.op_type for node in onnx.load_from_string(data).graph.node}


@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn"])
@pytest.mark.parametrize("pipeline", ["int8", "int4"])
def test_onnx_runtime_computes_the_integers_of_a_network(
    name: str, pipeline: str, tmp_path: Path, runtime: Runtime
) -> None:
    module, images = network(name, pipeline)
    data = export(module, "qdq")
    assert {"QuantizeLinear", "DequantizeLinear", "Gemm"} <= operators(data)
    assert not any(op.startswith(("QLinear", "QGemm")) for op in operators(data))
    computed, again = runtime(data), read_back(data, tmp_path / "m.qdq.onnx")
    assert [node.kind for node in again.graph.nodes] == [n.kind for n in module.graph.nodes]
    for image in images:
        expected = evaluate(module, {"image": image})["logits"]
        np.testing.assert_array_equal(computed({"image": image})[0], expected)
        np.testing.assert_array_equal(evaluate(again, {"image": image})["logits"], expected)


def test_sixteen_bits_come_back_exactly(tmp_path: Path) -> None:
    module, images = network("digits_cnn", "canonical,quantize{bits=16}")
    again = read_back(export(module, "qdq"), tmp_path / "m.qdq.onnx")
    for image in images[:40]:
        expected = evaluate(module, {"image": image})["logits"]
        np.testing.assert_array_equal(evaluate(again, {"image": image})["logits"], expected)


@pytest.mark.parametrize("kind", ["qnn.conv2d", "qnn.matmul"])
def test_sixteen_bits_in_onnx_runtime_lie_within_float32_rounding(
    kind: str, rng: np.random.Generator, runtime: Runtime
) -> None:
    module, magnitude = layer(kind, "i16", rng)
    data = export(module, "qdq")
    x = rng.normal(size=module.inputs["x"].shape).astype(np.float32)
    (found,) = runtime(data)({"x": x})
    expected = evaluate(module, {"x": x})["y"]
    # in steps of the result: every product and partial sum is rounded once, and so are the
    # three dequantisations and the division (K + 6 roundings in all, of the sum of the
    # magnitudes); the module rounds its own product twice, and both round to a whole step
    terms = prod(module.weights["w"].shape) // 6 + 6
    bound = 1 + 2 * terms * U * magnitude
    assert bound < 2, "the bound tells no step from two"
    assert np.abs(found - expected).max() <= np.floor(bound) * 0.5  # the result's scale


def layer(
    kind: str,
    dtype: str,
    rng: np.random.Generator,
    *,
    bias: bool = True,
    low_steps: int = 0,
    scale: Array | None = None,
) -> tuple[Module, float]:
    """Quantise, one product, dequantise; and how many steps its terms can sum to."""
    conv = kind == "qnn.conv2d"
    b = ModuleBuilder("layer")
    lowest, highest = int(np.iinfo(DTYPES[dtype]).min), int(np.iinfo(DTYPES[dtype]).max)
    shape = {"qnn.conv2d": (1, 4, 6, 5), "qnn.matmul": (4, 8), "batched": (2, 4, 8)}[kind]
    step = 8 / (highest - lowest)
    quantised: dict[str, Attribute] = {"zero_point": lowest + 100, "axis": 0, "dtype": dtype}
    x = b.op(
        "qnn.quantize",
        [b.input("x", shape, "f32"), b.weight("sx", np.array([step], np.float32))],
        quantised,
        name="q",
    )
    w = rng.integers(-127, 128, (6, 2, 3, 2) if conv else (8, 6)).astype(np.int8)
    acc = np.int64 if "16" in dtype else np.int32
    operands = [x, b.weight("w", w)]
    if bias:
        operands.append(b.weight("b", rng.integers(-5000, 5000, 6).astype(acc)))
    points: dict[str, Attribute] = {"x_zero_point": lowest + 100, "w_zero_point": 0}
    held = {**LINES, **points} if conv else points
    sums = b.op("qnn.conv2d" if conv else "qnn.matmul", operands, held, name="layer")
    if scale is None:
        scale = (rng.random(6) / 100 + 1e-4).astype(np.float32) / (
            256 if acc == np.int64 else 1
        )
    limits: dict[str, Attribute] = {
        "zero_point": lowest + 30,
        "low": lowest + low_steps,
        "high": highest,
        "axis": 1 if conv else -1,
        "dtype": dtype,
    }
    y = b.op("qnn.requantize", [sums, b.weight("s", scale)], limits, name="r")
    half = b.weight("sy", np.array([0.5], np.float32))
    b.output("y", b.op("qnn.dequantize", [y, half], {"zero_point": lowest + 30, "axis": 0}))
    sums_of = np.abs(w.astype(np.int64)).sum(axis=(1, 2, 3) if conv else 0)
    largest = float(sums_of.max()) * (highest - lowest) + 5000
    return b.finish(), largest * float(scale.max())


@pytest.mark.parametrize(
    ("kind", "dtype", "bias", "low_steps"),
    list(
        product(
            ("qnn.conv2d", "qnn.matmul", "batched"), ("i8", "ui8"), (False, True), (0, 30, 40)
        )
    ),
)
def test_integer_layers_are_exact_in_every_form(
    kind: str,
    dtype: str,
    bias: bool,
    low_steps: int,
    rng: np.random.Generator,
    runtime: Runtime,
    tmp_path: Path,
) -> None:
    module, _ = layer(kind, dtype, rng, bias=bias, low_steps=low_steps)
    data = export(module, "qdq")
    computed, again = runtime(data), read_back(data, tmp_path / "m.onnx")
    for _ in range(20):
        x = {"x": (2 * rng.normal(size=module.inputs["x"].shape)).astype(np.float32)}
        expected = evaluate(module, x)["y"]
        np.testing.assert_array_equal(computed(x)[0], expected)
        np.testing.assert_array_equal(evaluate(again, x)["y"], expected)


@pytest.mark.parametrize("kind", BETWEEN)
def test_operators_with_scales_are_exact(
    kind: str, rng: np.random.Generator, runtime: Runtime, tmp_path: Path
) -> None:
    operands, attributes = cast(Any, OPS[kind].example)
    b = ModuleBuilder("one")
    values = []
    for i, (tensor, key) in enumerate(
        zip(operands, "ab" if len(operands) == 2 else "x", strict=True)
    ):
        scale = b.weight(f"s{i}", np.array([attributes[f"{key}_scale"]], np.float32))
        point = attributes.get(f"{key}_zero_point", 0)
        real = b.input(f"x{i}", tensor.shape, "f32")
        held: dict[str, Attribute] = {"zero_point": point, "axis": 0, "dtype": tensor.dtype}
        values.append(b.op("qnn.quantize", [real, scale], held, name=f"q{i}"))
    y = b.op(kind, values, attributes, name="layer")
    scale = b.weight("sy", np.array([attributes["y_scale"]], np.float32))
    held = {"zero_point": attributes["y_zero_point"], "axis": 0}
    b.output("y", b.op("qnn.dequantize", [y, scale], held, name="d"))
    module = b.finish()
    data = export(module, "qdq")
    assert not any(op.startswith("QLinear") for op in operators(data))
    computed, again = runtime(data), read_back(data, tmp_path / "m.onnx")
    for _ in range(40):
        x = {
            k: (20 * rng.normal(size=v.shape)).astype(np.float32)
            for k, v in module.inputs.items()
        }
        expected = evaluate(module, x)["y"]
        np.testing.assert_array_equal(evaluate(again, x)["y"], expected)
        np.testing.assert_array_equal(computed(x)[0], expected)


def test_a_multiplier_that_is_no_product_of_scales_stays_a_qlinear_operator(
    rng: np.random.Generator, runtime: Runtime
) -> None:
    # multiplying by 8/255, 1.004 times a power of two, skips one float32 in 256 where the
    # product stays in its octave
    y = np.float32(0.5)
    near = np.float32(0.011) * (1 + np.arange(3000, dtype=np.float32) * np.float32(2**-22))
    skipped = [m for m in near if weight_scale(np.array([m]), np.float32(8 / 255), y) is None]
    module, _ = layer("qnn.conv2d", "i8", rng, scale=np.array(skipped[:1], np.float32))
    data = export(module, "qdq")
    assert "QLinearConv" in operators(data)
    inputs = {"x": rng.normal(size=(1, 4, 6, 5)).astype(np.float32)}
    np.testing.assert_array_equal(runtime(data)(inputs)[0], evaluate(module, inputs)["y"])


def test_the_scale_of_weights_gives_the_multiplier_back(rng: np.random.Generator) -> None:
    x, y = (rng.random(2) + 0.01).astype(np.float32)
    w = (rng.random(5000) + 1e-3).astype(np.float32)
    multiplier = w * x / y
    found = weight_scale(multiplier, x, y)
    assert found is not None
    np.testing.assert_array_equal(found * x / y, multiplier)


@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn"])
@pytest.mark.parametrize("pipeline", FORMATS)
@pytest.mark.parametrize("form", ["qlinear", "qdq"])
def test_every_format_is_a_valid_file_that_comes_back(
    name: str, pipeline: str, form: str, tmp_path: Path
) -> None:
    module, images = network(name, pipeline)
    if form == "qlinear" and "16}" in pipeline and "bits" in pipeline:
        with pytest.raises(UnsupportedError) as caught:
            export(module, form)
        assert str(caught.value).endswith(
            "; write it with QDQ pairs (to a .qdq.onnx), or quantise with bits=8"
        )
        return
    data = export(module, form)
    cast(Any, onnx.checker).check_model(onnx.load_from_string(data), full_check=True)
    again = read_back(data, tmp_path / "m.onnx")
    for image in images[:5]:
        expected = evaluate(module, {"image": image})["logits"]
        np.testing.assert_array_equal(evaluate(again, {"image": image})["logits"], expected)


def test_an_operator_without_bfloat16_is_refused_with_the_way_out() -> None:
    b = ModuleBuilder("one")
    x = b.input("x", (2, 3), "bf16")
    b.output("y", b.op("nn.celu", [x], {"alpha": 1.0}, name="layer"))
    with pytest.raises(UnsupportedError) as caught:
        export(b.finish())
    assert str(caught.value) == (
        "ONNX's Celu must have another element type than bf16 (node 'layer'); "
        "cast to f32 around it"
    )


def test_a_bias_beyond_int32_is_refused(rng: np.random.Generator) -> None:
    module, _ = layer("qnn.matmul", "i16", rng)
    weights = {**module.weights, "b": np.full(6, 2**31)}
    with pytest.raises(UnsupportedError) as caught:
        export(Module(module.mlir, weights, module.name), "qdq")
    assert str(caught.value) == (
        "ONNX dequantises a bias of int32, and that of node 'layer' exceeds it; "
        "quantise with bits=8"
    )


def test_a_form_that_there_is_not_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        export(load(EXAMPLES / "digits_mlp.onnx"), "qdp")
    assert str(caught.value) == (
        "the form of integers must be qlinear or qdq, not 'qdp'; did you mean 'qdq'?"
    )
