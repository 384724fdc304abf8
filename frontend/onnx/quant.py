"""ONNX's quantised operators in the terms of `qnn`, with ONNX Runtime's float32 scales.

`QLinearConv` becomes qnn.conv2d and qnn.requantize with the one scale
``f32(f32(x_scale * w_scale) / y_scale)`` that ONNX Runtime multiplies by.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import TensorProto

from tetrapla.frontend.onnx.node import (
    Constant,
    OnnxNode,
    Operand,
    Refusal,
    Scope,
    array_of,
    normal_axis,
)
from tetrapla.frontend.onnx.table import RUNTIME, translates
from tetrapla.frontend.onnx.window import average_window, convolution
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array, Attribute

# attributes of the operators that ONNX itself does not describe
_POOL = {
    "kernel_shape": "INTS",
    "strides": "INTS",
    "pads": "INTS",
    "auto_pad": "STRING",
    "ceil_mode": "INT",
    "count_include_pad": "INT",
    "channels_last": "INT",
}
RUNTIME_ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "QLinearAdd": {},
    "QLinearAveragePool": _POOL,
    "QLinearGlobalAveragePool": {"channels_last": "INT"},
}
_RANGES = {"i8": (-128, 127), "ui8": (0, 255)}


@translates("QuantizeLinear")
def _quantize_linear(node: OnnxNode, scope: Scope) -> Operand:
    x, scale = node.operand(0), _scales(node, 1)
    if node.int("block_size", 0):
        raise Refusal("only without blocks")
    if node.int("saturate", 1) != 1:
        raise Refusal("only with saturate 1")
    if node.int("precision", 0) not in (0, TensorProto.FLOAT):
        raise Refusal("only with float32 precision")
    dtype = _quantized_dtype(node)
    axis = _axis(node, x, scale)
    if isinstance(x, Constant) and x.known and scale.size == 1 and x.dtype == "f32":
        low, high = _RANGES[dtype]
        with np.errstate(all="ignore"):
            steps = np.nan_to_num(np.rint(x.array / scale[0]), nan=low)
        shifted = np.clip(steps.astype(np.float64) + _zero_point(node, 2), low, high)
        kind = np.int8 if dtype == "i8" else np.uint8
        return x.made(lambda _: shifted.astype(kind), "_quantized")
    attributes: dict[str, Attribute] = {
        "zero_point": _zero_point(node, 2),
        "axis": axis,
        "dtype": dtype,
    }
    return scope.op("qnn.quantize", [x, _weight(node, scale)], attributes, node.label)


def _quantized_dtype(node: OnnxNode) -> str:
    """What QuantizeLinear makes: its zero point's type, `output_dtype`, or uint8."""
    given = node.optional(2)
    held = node.int("output_dtype", 0)
    wanted = {0: None, TensorProto.UINT8: "ui8", TensorProto.INT8: "i8"}.get(held, "other")
    dtype = given.dtype if given is not None else wanted or "ui8"
    if dtype not in _RANGES or wanted == "other":
        raise Refusal("only to int8 or uint8")
    if wanted not in (None, dtype):
        raise ModelError(f"output_dtype must be the zero point's {dtype}, not {wanted}")
    return dtype


@translates("DequantizeLinear")
def _dequantize_linear(node: OnnxNode, scope: Scope) -> Operand:
    q, scale = node.operand(0), _scales(node, 1)
    if node.int("block_size", 0):
        raise Refusal("only without blocks")
    if node.int("output_dtype", 0) not in (0, TensorProto.FLOAT):
        raise Refusal("only to float32")
    if q.dtype not in (*_RANGES, "i32"):
        raise Refusal("only of int8, uint8 or int32")
    axis, zero_point = _axis(node, q, scale), _zero_point(node, 2)
    if isinstance(q, Constant) and q.known:
        shape = [1] * len(q.shape)
        if scale.size > 1:
            shape[axis] = scale.size
        return q.made(
            lambda array: (
                (array.astype(np.int64) - zero_point).astype(np.float32) * scale.reshape(shape)
            ),
            "_dequantized",
        )
    attributes = {"zero_point": zero_point, "axis": axis}
    return scope.op("qnn.dequantize", [q, _weight(node, scale)], attributes, node.label)


@translates("QLinearConv")
def _qlinear_conv(node: OnnxNode, scope: Scope) -> Operand:
    x, w = node.operand(0), node.operand(3)
    attributes: dict[str, Attribute] = {
        **convolution(node, x, w),
        "x_zero_point": _zero_point(node, 2),
        "w_zero_point": _zero_point(node, 5),
    }
    scale = _combined(node, 1, 4, 6, w.shape[0])
    operands = [x, w, node.optional(8)]
    acc = scope.op("qnn.conv2d", operands, attributes, node.label)
    return _requantize(node, scope, acc, scale, 7, axis=1)


@translates("QLinearMatMul")
def _qlinear_matmul(node: OnnxNode, scope: Scope) -> Operand:
    x, w = node.operand(0), node.operand(3)
    if len(x.shape) < 2 or len(w.shape) < 2:
        raise Refusal("only on values of rank 2 or more")
    attributes = {"x_zero_point": _zero_point(node, 2), "w_zero_point": _zero_point(node, 5)}
    scale = _combined(node, 1, 4, 6, w.shape[-1])
    acc = scope.op("qnn.matmul", [x, w], attributes, node.label)
    return _requantize(node, scope, acc, scale, 7, axis=len(acc.shape) - 1)


@translates("QLinearAdd", domain=RUNTIME)
def _qlinear_add(node: OnnxNode, scope: Scope) -> Operand:
    attributes: dict[str, Attribute] = {}
    for name, index in (("a", 1), ("b", 4), ("y", 6)):
        attributes[f"{name}_scale"] = _scale(node, index)
        attributes[f"{name}_zero_point"] = _zero_point(node, index + 1)
    return scope.op("qnn.add", [node.operand(0), node.operand(3)], attributes, node.label)


@translates("QLinearAveragePool", domain=RUNTIME)
def _qlinear_average_pool(node: OnnxNode, scope: Scope) -> Operand:
    x = node.operand(0)
    window = average_window(node, x).attributes()
    if len(x.shape) != 4:
        raise Refusal("only in two dimensions (N, C, H, W)")
    return scope.op("qnn.average_pool2d", [x], {**window, **_between(node)}, node.label)


@translates("QLinearGlobalAveragePool", domain=RUNTIME)
def _qlinear_global_average_pool(node: OnnxNode, scope: Scope) -> Operand:
    x = node.operand(0)
    return scope.op("qnn.global_average_pool", [x], _between(node), node.label)


def _between(node: OnnxNode) -> dict[str, int | float]:
    """Scales and zero points of a pooling operator."""
    if node.int("channels_last", 0):
        raise Refusal("only with channels first")
    return {
        "x_scale": _scale(node, 1),
        "x_zero_point": _zero_point(node, 2),
        "y_scale": _scale(node, 3),
        "y_zero_point": _zero_point(node, 4),
    }


def _requantize(
    node: OnnxNode, scope: Scope, acc: Operand, scale: Array, zero_index: int, axis: int
) -> Operand:
    dtype = node.operand(zero_index).dtype
    if dtype not in _RANGES:
        raise Refusal("only to int8 or uint8")
    low, high = _RANGES[dtype]
    attributes: dict[str, Attribute] = {
        "zero_point": _zero_point(node, zero_index),
        "low": low,
        "high": high,
        "axis": axis,
        "dtype": dtype,
    }
    name = f"{node.label}_requantize"
    return scope.op("qnn.requantize", [acc, _weight(node, scale)], attributes, name)


def _combined(node: OnnxNode, x: int, w: int, y: int, channels: int) -> Array:
    """``f32(f32(x_scale * w_scale) / y_scale)``, one or one per output channel."""
    per_channel = _scales(node, w)
    if per_channel.size not in (1, channels):
        raise ModelError(
            f"the weights' scale must hold 1 or {channels} numbers, not {per_channel.size}"
        )
    product = np.float32(_scale(node, x)) * per_channel
    return np.asarray(product / np.float32(_scale(node, y)), np.float32)


def _scale(node: OnnxNode, index: int) -> float:
    scale = _scales(node, index)
    if scale.size != 1:
        raise Refusal("only with one scale per tensor of activations")
    return float(scale[0])


def _scales(node: OnnxNode, index: int) -> Array:
    """A constant float32 scale as a vector."""
    scale = array_of(node.operand(index), "scale")
    if scale.dtype != np.float32:
        raise Refusal("only with float32 scales")
    if scale.ndim > 1:
        raise ModelError(f"a scale must be a number or a list, not shape {list(scale.shape)}")
    scale = scale.reshape(-1)
    bad = scale[~(np.isfinite(scale) & (scale > 0))]
    if bad.size:
        raise ModelError(f"a scale must be positive and finite, not {bad[0]}")
    return scale


def _zero_point(node: OnnxNode, index: int) -> int:
    """A constant zero point: the same for every channel."""
    given = node.optional(index)
    if given is None:
        return 0
    found = np.unique(array_of(given, "zero point"))
    if found.size != 1 or found.dtype.kind not in "iu":
        raise Refusal("only with one integer zero point")
    return int(found[0])


def _axis(node: OnnxNode, x: Operand, scale: Array) -> int:
    """The axis of a scale per channel; 0 when there is one scale."""
    if scale.size == 1:
        return 0
    axis = normal_axis(node.int("axis", 1), len(x.shape))
    if x.shape[axis] != scale.size:
        raise ModelError(
            f"the scale must hold 1 or {x.shape[axis]} numbers for axis {axis}, "
            f"not {scale.size}"
        )
    return axis


def _weight(node: OnnxNode, scale: Array) -> Constant:
    return Constant(scale, f"{node.label}_scale")
