"""The quantised operators, and a whole quantised network, against ONNX Runtime's kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tetrapla.frontend.onnx.export import export
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes.pipeline_ import int8
from tetrapla.passes.scales_ import multipliers

# exact powers of two make every odd accumulator a tie; other scales round somewhere in between
TIE_SCALES = (0.5, 0.25, 0.125, 2.0**-9)


def _runtime(kind: str, x: Array, given: Sequence[Any], **attributes: Any) -> Array:
    """One QLinear node on `x` and constants, as ONNX Runtime computes it."""
    constants = [numpy_helper.from_array(np.asarray(c), f"c{i}") for i, c in enumerate(given)]
    names = ["x", *(constant.name for constant in constants)]
    graph = helper.make_graph(
        [helper.make_node(kind, names, ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.INT8, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT8, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = _session(model.SerializeToString())
    return np.asarray(session.run(None, {"x": x})[0])


def _session(model: bytes) -> Any:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def _requantised(
    kind: str,
    x: Array,
    constants: Mapping[str, Array],
    attributes: dict[str, Attribute],
    requantise: dict[str, Attribute],
) -> Module:
    """A module of one integer operator on `x` and its requantisation."""
    build = ModuleBuilder("one")
    first = build.input("x", x.shape, "i8")
    *rest, scale = [build.weight(key, array) for key, array in constants.items()]
    acc = build.op(kind, [first, *rest], attributes, name="layer")
    more: dict[str, Attribute] = {**requantise, "high": 127, "axis": 1, "dtype": "i8"}
    build.output("y", build.op("qnn.requantize", [acc, scale], more))
    return build.finish()


def _scales(
    draw: np.random.Generator, channels: int, tied: bool
) -> tuple[np.float32, Array, np.float32]:
    """The scales of x, of each channel's weights, and of y."""
    if tied:
        one = np.float32(1)
        return one, draw.choice(np.array(TIE_SCALES, np.float32), channels), one
    sx, sy = draw.uniform(0.01, 0.1, 2).astype(np.float32)
    return sx, draw.uniform(1e-4, 1e-2, channels).astype(np.float32), sy


def _integers(draw: np.random.Generator, *shape: int, span: int = 128) -> Array:
    return draw.integers(-span, span, shape).astype(np.int8)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_equals_onnx_runtime_bit_for_bit(
    tied: bool, rectified: bool, groups: int, rng: np.random.Generator
) -> None:
    span = 8 if tied else 127  # small sums, so that ties fall inside -128..127
    x, w = (
        _integers(rng, 2, 4, 12, 11, span=span),
        _integers(rng, 6, 4 // groups, 3, 2, span=span),
    )
    bias = rng.integers(-30 * span, 30 * span, 6).astype(np.int32)
    zx, zy = int(rng.integers(-span, span)), int(rng.integers(-128, 128))
    sx, sw, sy = _scales(rng, 6, tied)
    window: dict[str, Any] = {"strides": (2, 1), "pads": (1, 0, 1, 1), "dilations": (1, 2)}
    scale = multipliers("layer", np.asarray(sx * sw), float(sy))
    module = _requantised(
        "qnn.conv2d",
        x,
        {"w": w, "bias": bias, "scale": scale},
        {**window, "groups": groups, "x_zero_point": zx, "w_zero_point": 0},
        {"zero_point": zy, "low": zy if rectified else -128},
    )
    given = [sx, np.int8(zx), w, sw, np.zeros(6, np.int8), sy, np.int8(zy), bias]
    expected = _runtime("QLinearConv", x, given, group=groups, **window)
    expected = np.maximum(expected, np.int8(zy)) if rectified else expected
    assert np.count_nonzero(evaluate(module, {"x": x})["y"] != expected) == 0


@pytest.mark.parametrize("tied", [False, True])
def test_a_product_equals_onnx_runtime_bit_for_bit(
    tied: bool, rng: np.random.Generator
) -> None:
    span = 2 if tied else 127
    x, w = _integers(rng, 64, 300, span=span), _integers(rng, 300, 40, span=span)
    zx, zy = int(rng.integers(-span, span)), int(rng.integers(-128, 128))
    sx, sw, sy = _scales(rng, 40, tied)
    scale = multipliers("layer", np.asarray(sx * sw), float(sy))
    module = _requantised(
        "qnn.matmul",
        x,
        {"w": w, "scale": scale},
        {"x_zero_point": zx, "w_zero_point": 0},
        {"zero_point": zy, "low": -128},
    )
    given = [sx, np.int8(zx), w, sw, np.zeros(40, np.int8), sy, np.int8(zy)]
    expected = _runtime("QLinearMatMul", x, given)
    assert np.count_nonzero(evaluate(module, {"x": x})["y"] != expected) == 0
    if tied:  # the data does hold ties: half a step left over, inside the range
        steps = ((x.astype(np.int64) - zx) @ w.astype(np.int64)) * scale.astype(np.float64)
        ties = (np.abs(steps % 1) == 0.5) & (np.abs(steps + zy) < 127)
        assert ties.sum() > 100


def test_a_whole_quantised_network_equals_onnx_runtime_bit_for_bit(
    network: Module, images: Callable[[int], dict[str, Array]]
) -> None:
    module = int8(network, images(20))
    session = _session(export(module))
    differing = 0
    for image in images(40)["image"]:
        expected = dict(zip(module.outputs, session.run(None, {"image": image}), strict=True))
        found = evaluate(module, {"image": image})
        differing += sum(int((found[k] != expected[k]).sum()) for k in ("logits", "mean"))
        # the softmax is float32 and may differ in its last bits: 10 classes, some u each
        np.testing.assert_allclose(found["probabilities"], expected["probabilities"], 1e-6)
    assert differing == 0
