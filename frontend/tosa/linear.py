"""TOSA's products, convolutions, pools and rescaling: NHWC becomes NCHW and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tetrapla.frontend.foreign.operation import ForeignOp
from tetrapla.frontend.foreign.scope import Constant, Operand, Refusal, Scope, Settled
from tetrapla.frontend.foreign.walk import Translate
from tetrapla.frontend.tosa.elementwise import keeps_nan, only_zero, zero_point
from tetrapla.ir.graph import DTYPES, Attribute

TO_IMAGE, FROM_IMAGE = (0, 3, 1, 2), (0, 2, 3, 1)
_ROUNDINGS: Mapping[str, str] = {"SINGLE_ROUND": "single", "DOUBLE_ROUND": "double"}


def _conv2d(op: ForeignOp, scope: Scope) -> Operand:
    w = scope.transpose(op.operands[1], TO_IMAGE, f"{op.label}_weight")
    return _convolved(op, scope, w, 1)


def _depthwise(op: ForeignOp, scope: Scope) -> Operand:
    """Weights [kh, kw, C, M] make M results of each channel, one behind the other."""
    w = op.operands[1]
    height, width, channels, each = w.shape
    w = scope.transpose(w, (2, 3, 0, 1), f"{op.label}_weight")
    w = scope.reshape(w, (channels * each, 1, height, width), f"{op.label}_weight")
    return _convolved(op, scope, w, channels)


def _convolved(op: ForeignOp, scope: Scope, w: Operand, groups: int) -> Operand:
    x = scope.transpose(op.operands[0], TO_IMAGE, f"{op.label}_x")
    bias = _bias(op, scope, w.shape[0])
    attributes: dict[str, Attribute] = {
        "strides": op.ints("stride"),
        "pads": _pads(op.ints("pad")),
        "dilations": op.ints("dilation"),
        "groups": groups,
    }
    if x.dtype[0] in "fb":
        only_zero(op, 3, 4)
        attributes["activation"] = "none"
        y = scope.op("nn.conv2d", [x, w, bias], attributes, op.label)
    else:
        attributes["x_zero_point"] = zero_point(op, 3)
        attributes["w_zero_point"] = zero_point(op, 4)
        y = scope.op("qnn.conv2d", [x, w, bias], attributes, op.label)
    return scope.transpose(y, FROM_IMAGE, f"{op.label}_result")


def _bias(op: ForeignOp, scope: Scope, count: int) -> Operand:
    bias = op.operands[2]
    return bias if bias.shape == (count,) else scope.spread(scope.narrow(bias), (count,))


def _pads(pads: tuple[int, ...]) -> tuple[int, ...]:
    """Top, bottom, left, right in the order top, left, bottom, right."""
    top, bottom, left, right = pads
    return top, left, bottom, right


def _transpose_conv2d(op: ForeignOp, scope: Scope) -> Operand:
    x = scope.transpose(op.operands[0], TO_IMAGE, f"{op.label}_x")
    w = scope.transpose(op.operands[1], (3, 0, 1, 2), f"{op.label}_weight")
    only_zero(op, 3, 4)
    added = _pads(op.ints("out_pad"))  # negative where the result is cut
    if max(added[:2]) > 0:
        raise Refusal("only without padding before the result")
    attributes: dict[str, Attribute] = {
        "strides": op.ints("stride"),
        "pads": tuple(max(0, -size) for size in added),
        "dilations": (1, 1),
        "output_padding": tuple(max(0, size) for size in added[2:]),
        "groups": 1,
    }
    operands = [x, w, _bias(op, scope, w.shape[1])]
    y = scope.op("nn.conv_transpose2d", operands, attributes, op.label)
    return scope.transpose(y, FROM_IMAGE, f"{op.label}_result")


def _max_pool(op: ForeignOp, scope: Scope) -> Operand:
    keeps_nan(op)
    attributes = {**_window(op), "dilations": (1, 1)}
    return _pooled(op, scope, "nn.max_pool2d", attributes)


def _avg_pool(op: ForeignOp, scope: Scope) -> Operand:
    if op.operands[0].dtype[0] not in "fb":
        raise Refusal("only of floats")
    only_zero(op, *range(1, len(op.operands)))
    attributes = {**_window(op), "count_include_pad": 0}
    return _pooled(op, scope, "nn.average_pool2d", attributes)


def _window(op: ForeignOp) -> dict[str, Attribute]:
    return {
        "kernel": op.ints("kernel"),
        "strides": op.ints("stride"),
        "pads": _pads(op.ints("pad")),
    }


def _pooled(
    op: ForeignOp, scope: Scope, kind: str, attributes: dict[str, Attribute]
) -> Operand:
    x = scope.transpose(op.operands[0], TO_IMAGE, f"{op.label}_x")
    y = scope.op(kind, [x], attributes, op.label)
    return scope.transpose(y, FROM_IMAGE, f"{op.label}_result")


def _matmul(op: ForeignOp, scope: Scope) -> Operand:
    """A product of matrices, one per batch; a batch of one has none."""
    a, b = op.operands[:2]
    if op.result.shape[0] == 1:
        a = scope.reshape(a, a.shape[1:], f"{op.label}_a")
        b = scope.reshape(b, b.shape[1:], f"{op.label}_weight")
    return scope.reshape(_product(op, scope, a, b), op.result.shape, f"{op.label}_result")


def _product(op: ForeignOp, scope: Scope, a: Operand, b: Operand) -> Settled:
    if a.dtype[0] in "fb":
        only_zero(op, *range(2, len(op.operands)))
        a = scope.cast(a, op.result.dtype, f"{op.label}_a")
        b = scope.cast(b, op.result.dtype, f"{op.label}_b")
        return scope.op("nn.matmul", [a, b], {"activation": "none"}, op.label)
    points: dict[str, Attribute] = {
        "x_zero_point": zero_point(op, 2),
        "w_zero_point": zero_point(op, 3),
    }
    return scope.op("qnn.matmul", [a, b], points, op.label)


def _rescale(op: ForeignOp, scope: Scope) -> Operand:
    """Another scale on integers alone: the numbers and shifts are constants here."""
    if op.integer("input_unsigned") or op.integer("output_unsigned"):
        raise Refusal("only of signed integers")
    mode = op.word("rounding_mode", "SINGLE_ROUND")
    wide = op.integer("scale32", 1)
    rounding = _ROUNDINGS.get(mode) if wide else {"SINGLE_ROUND": "single16"}.get(mode)
    if rounding is None:
        raise Refusal(f"not with the rounding {mode}")
    x, dtype = op.operands[0], op.result.dtype
    limits = np.iinfo(DTYPES[dtype])
    factors = [
        Constant(op.constant(index, what).astype(np.int32))
        for index, what in ((1, "multiplier"), (2, "shift"))
    ]
    attributes: dict[str, Attribute] = {
        "x_zero_point": zero_point(op, 3),
        "zero_point": zero_point(op, 4),
        "low": int(limits.min),
        "high": int(limits.max),
        "axis": len(x.shape) - 1,
        "dtype": dtype,
        "rounding": rounding,
    }
    return scope.op("qnn.rescale", [x, *factors], attributes, op.label)


OPERATORS: Mapping[str, Translate] = {
    "tosa.avg_pool2d": _avg_pool,
    "tosa.conv2d": _conv2d,
    "tosa.depthwise_conv2d": _depthwise,
    "tosa.matmul": _matmul,
    "tosa.max_pool2d": _max_pool,
    "tosa.rescale": _rescale,
    "tosa.transpose_conv2d": _transpose_conv2d,
}
