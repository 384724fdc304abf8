"""The integer operators equal ONNX Runtime's kernels, ties included.

QLinearConv with u8 weights is left out: without VNNI its x86 kernels may saturate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tetrapla.ir.graph import Array
from tetrapla.ir.op import OPS

MICROSOFT = "com.microsoft"


def _runtime(
    op_type: str,
    feeds: Mapping[str, Array],
    constants: Mapping[str, Any],
    order: list[str],
    domain: str = "",
    **attributes: Any,
) -> Array:
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in feeds.items()
    ]
    initializers = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    kind = {np.dtype(np.int8): TensorProto.INT8, np.dtype(np.uint8): TensorProto.UINT8}
    output = helper.make_tensor_value_info("y", kind[next(iter(feeds.values())).dtype], None)
    node = helper.make_node(op_type, order, ["y"], domain=domain, **attributes)
    graph = helper.make_graph([node], "one", inputs, [output], initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (result,) = session.run(None, dict(feeds))
    return np.asarray(result)


def _integers(rng: np.random.Generator, shape: tuple[int, ...], low: int = -128) -> Array:
    return rng.integers(low, 128, shape).astype(np.int8)


# powers of two and odd zero points make exact ties; the others are ordinary
SCALES = [(0.5, 0.25, 0.5, 3, -5, 7), (0.02, 0.031, 0.057, -17, 4, 9), (2.0, 1.0, 4.0, 1, 1, 1)]


@pytest.mark.parametrize("scales", SCALES)
def test_add(scales: tuple[Any, ...], rng: np.random.Generator) -> None:
    sa, sb, sy, za, zb, zy = scales
    a, b = _integers(rng, (1000, 400)), _integers(rng, (1000, 400))
    ours = OPS["qnn.add"].evaluate(
        a,
        b,
        a_scale=sa,
        a_zero_point=za,
        b_scale=sb,
        b_zero_point=zb,
        y_scale=sy,
        y_zero_point=zy,
    )
    constants = {
        "sa": np.float32(sa),
        "za": np.int8(za),
        "sb": np.float32(sb),
        "zb": np.int8(zb),
        "sy": np.float32(sy),
        "zy": np.int8(zy),
    }
    order = ["a", "sa", "za", "b", "sb", "zb", "sy", "zy"]
    theirs = _runtime("QLinearAdd", {"a": a, "b": b}, constants, order, MICROSOFT)
    assert np.count_nonzero(ours != theirs) == 0


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("count_include_pad", [0, 1])
def test_average_pool(
    scales: tuple[Any, ...], count_include_pad: int, rng: np.random.Generator
) -> None:
    sx, _, sy, zx, _, zy = scales
    x = _integers(rng, (8, 16, 30, 31))
    ours = OPS["qnn.average_pool2d"].evaluate(
        x,
        kernel=(3, 2),
        strides=(1, 2),
        pads=(1, 0, 1, 1),
        count_include_pad=count_include_pad,
        x_scale=sx,
        x_zero_point=zx,
        y_scale=sy,
        y_zero_point=zy,
    )
    constants = {
        "sx": np.float32(sx),
        "zx": np.int8(zx),
        "sy": np.float32(sy),
        "zy": np.int8(zy),
    }
    theirs = _runtime(
        "QLinearAveragePool",
        {"x": x},
        constants,
        ["x", "sx", "zx", "sy", "zy"],
        MICROSOFT,
        kernel_shape=[3, 2],
        strides=[1, 2],
        pads=[1, 0, 1, 1],
        count_include_pad=count_include_pad,
    )
    assert np.count_nonzero(ours != theirs) == 0


@pytest.mark.parametrize("scales", SCALES)
def test_global_average_pool(scales: tuple[Any, ...], rng: np.random.Generator) -> None:
    sx, _, sy, zx, _, zy = scales
    x = _integers(rng, (40, 64, 4, 5))
    ours = OPS["qnn.global_average_pool"].evaluate(
        x, x_scale=sx, x_zero_point=zx, y_scale=sy, y_zero_point=zy
    )
    constants = {
        "sx": np.float32(sx),
        "zx": np.int8(zx),
        "sy": np.float32(sy),
        "zy": np.int8(zy),
    }
    order = ["x", "sx", "zx", "sy", "zy"]
    theirs = _runtime("QLinearGlobalAveragePool", {"x": x}, constants, order, MICROSOFT)
    assert np.count_nonzero(ours != theirs) == 0


@pytest.mark.parametrize("groups", [1, 4])
def test_convolution_and_requantisation(groups: int, rng: np.random.Generator) -> None:
    x, w = _integers(rng, (4, 4, 24, 25)), _integers(rng, (8, 4 // groups, 3, 2), -127)
    bias = rng.integers(-5000, 5000, 8).astype(np.int32)
    # power-of-two scales for half of the filters: exact ties
    sx, sy, zx, zy = np.float32(0.25), np.float32(2.0), -7, 11
    sw = np.where(np.arange(8) % 2, 0.125, rng.uniform(0.05, 0.2, 8)).astype(np.float32)
    window: dict[str, Any] = {"strides": (2, 1), "pads": (1, 0, 1, 1), "dilations": (1, 1)}
    acc = OPS["qnn.conv2d"].evaluate(
        x, w, bias, **window, groups=groups, x_zero_point=zx, w_zero_point=0
    )
    ours = OPS["qnn.requantize"].evaluate(
        acc,
        (sx * sw) / sy,
        zero_point=zy,
        low=-128,
        high=127,
        axis=1,
        dtype="i8",
    )
    constants = {
        "sx": sx,
        "zx": np.int8(zx),
        "w": w,
        "sw": sw,
        "zw": np.zeros(8, np.int8),
        "sy": sy,
        "zy": np.int8(zy),
        "bias": bias,
    }
    order = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy", "bias"]
    theirs = _runtime("QLinearConv", {"x": x}, constants, order, group=groups, **window)
    assert np.count_nonzero(ours != theirs) == 0


def test_quantisation(rng: np.random.Generator) -> None:
    x = np.concatenate(
        [rng.normal(0, 3, 100_000), np.arange(-300, 300) * 0.25, [np.inf, -np.inf]]
    ).astype(np.float32)
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT8, x.shape)],
        [
            numpy_helper.from_array(np.asarray(np.float32(0.5)), "s"),
            numpy_helper.from_array(np.asarray(np.int8(3)), "z"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (theirs,) = session.run(None, {"x": x})
    ours = OPS["qnn.quantize"].evaluate(
        x, np.array([0.5], np.float32), zero_point=3, axis=0, dtype="i8"
    )
    assert np.count_nonzero(ours != theirs) == 0
