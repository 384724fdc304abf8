"""Quantised operators whose arithmetic is ONNX Runtime's own, rounding for rounding.

Everything is in float32 or in integers, in the operator's own order, so that results agree to
the bit; but for `qnn.softmax`, whose sum the operator defines one by one and a machine makes
in another order: `bounds.code` says where that may move a result by a step.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tetrapla.backends.gpu.generated.elementwise import clip, select
from tetrapla.backends.gpu.generated.registers import Register
from tetrapla.backends.gpu.generated.rowwise import ALONG_AXES, At, Registers, Rowwise
from tetrapla.backends.gpu.generated.scope import Coordinates, Rule, Scope
from tetrapla.ir.graph import Node, Value
from tetrapla.ir.quant.arithmetic import is_single_inside, sum_terms
from tetrapla.ir.quant.softmax import exponentials
from tetrapla.simulators.gpu.steps import RANGES


def saturated(s: Scope, y: Register, dtype: str, zero: int = 0) -> Register:
    """Rounded half to even, moved, clipped; a NaN is the type's least number."""
    low, high = RANGES[dtype]
    y = select(s, y.equal(y), y, float(low - zero))
    # a bound is a whole number, so that it does not matter which comes first
    held = s.op("round", clip(s, y, float(low - zero), float(high - zero)))
    return (held.to("i32") + zero).to(dtype)


def _centred(s: Scope, x: Register, zero: int) -> Register:
    return (x.to("i32") - zero).to("f32")


def _single(value: float) -> float:
    return float(np.float32(value))


def _mul(s: Scope, node: Node, at: Coordinates) -> Register:
    scales = [np.float32(node.float(f"{name}_scale")) for name in "aby"]
    factor = _single(float(scales[0] * scales[1] / scales[2]))
    a, b = (
        _centred(s, s.broadcast(value, at), node.int(f"{name}_zero_point"))
        for name, value in zip("ab", node.operands, strict=True)
    )
    y = a * b * factor + float(node.int("y_zero_point"))
    return saturated(s, y, node.result.dtype)


def _add(s: Scope, node: Node, at: Coordinates) -> Register:
    """``fma(a, rA, fma(b, rB, c))``: the zero points are in c (ONNX Runtime)."""
    a, b = node.operands
    names = "aby"
    if is_single_inside(a.shape, b.shape):
        a, b, names = b, a, "bay"  # as the operator says
    scales = [node.float(f"{name}_scale") for name in names]
    zeros = [node.int(f"{name}_zero_point") for name in names]
    ra, rb, offset = (float(term) for term in sum_terms(scales, zeros))
    inner = s.op("fma", s.broadcast(b, at).to("f32"), rb, offset)
    y = s.op("fma", s.broadcast(a, at).to("f32"), ra, inner)
    return saturated(s, y, node.result.dtype)


def _concat(s: Scope, node: Node, at: Coordinates) -> Register:
    axis, (a, b) = node.int("axis") % len(at), node.operands
    first = at[axis] < a.shape[axis]
    with s.where(first):
        x = _real(s, node, "a", s.element(a, at))
    moved = [c - a.shape[axis] if i == axis else c for i, c in enumerate(at)]
    with s.where(~first):
        y = _real(s, node, "b", s.element(b, moved))
    steps = select(s, first, x, y) / _single(node.float("y_scale"))
    return saturated(s, steps, node.result.dtype, node.int("y_zero_point"))


def _real(s: Scope, node: Node, name: str, x: Register) -> Register:
    scale = _single(node.float(f"{name}_scale"))
    return _centred(s, x, node.int(f"{name}_zero_point")) * scale


def _lookup(s: Scope, node: Node, at: Coordinates) -> Register:
    x, table = node.operands
    low, _ = RANGES[x.dtype]
    return s.element(table, [s.element(x, at).to("i32") - low])


def _rescale(s: Scope, node: Node, at: Coordinates) -> Register:
    x, *parameters = node.operands
    value = s.element(x, at).to("i64") - node.int("x_zero_point")
    factor, right = (_parameter(s, node, each, at).to("i64") for each in parameters)
    if node.str("rounding") == "tflite_double":
        steps = _tflite(s, value, factor, right)
    else:
        steps = _tosa(s, value, factor, right, node.str("rounding"))
    steps = steps + node.int("zero_point")
    steps = s.op("minimum", s.op("maximum", steps, node.int("low")), node.int("high"))
    return steps.to(node.result.dtype)


def _tosa(
    s: Scope, value: Register, factor: Register, right: Register, rounding: str
) -> Register:
    one = s.code.constant(1, "i64")
    half = s.op("shift_left", one, right - 1)
    if rounding == "double":
        nudge = select(s, value >= 0, s.code.constant(1 << 30, "i64"), -(1 << 30))
        half = half + select(s, right > 31, nudge, 0)
    return s.op("shift_right", value * factor + half, right)


def _tflite(s: Scope, value: Register, factor: Register, right: Register) -> Register:
    one, zero = (s.code.constant(n, "i64") for n in (1, 0))
    exponent = 31 - right
    left, down = s.op("maximum", exponent, 0), s.op("maximum", -exponent, 0)
    product = s.op("shift_left", value, left).to("i32").to("i64") * factor
    nudged = product + select(s, product >= 0, s.code.constant(1 << 30, "i64"), 1 - (1 << 30))
    high = select(
        s,
        nudged >= 0,
        s.op("shift_right", nudged, one * 31),
        -s.op("shift_right", -nudged, one * 31),
    )
    mask = s.op("shift_left", one, down) - 1
    threshold = s.op("shift_right", mask, one) + select(s, high < 0, one, zero)
    up = select(s, (high & mask) > threshold, one, zero)
    return s.op("shift_right", high, down) + up


def _parameter(s: Scope, node: Node, value: Value, at: Coordinates) -> Register:
    """One number for all, or one per place along the axis."""
    if value.elements == 1:
        return s.element(value, [s.code.constant(0)] * len(value.shape))
    return s.element(value, [at[node.int("axis") % len(at)]])


def _softmax(s: Scope, node: Node, at: At) -> Register:
    (x,) = node.operands
    length = x.shape[node.int("axis") % len(x.shape)]
    table = exponentials(np.float32(node.float("x_scale")), length)
    steps = s.element(x, at.element).to("i32")
    below = steps - s.op("largest", steps) + 255
    power = s.table(f"{node.name}#exponentials", table, below)
    raised = power * _single(np.floor(np.float32(1) / np.float32(node.float("y_scale"))))
    y = s.op("round", raised / s.op("sum", power)) + float(node.int("y_zero_point"))
    return saturated(s, y, node.result.dtype)


def _accumulated(s: Scope, node: Node, at: At) -> Register:
    """``sum((a[m, k] - a0[m]) (b[k, n] - b0[n]))`` in int32, which wraps."""
    a, b, *zeros = node.operands
    (k,) = at.lane
    x = s.broadcast(a, (*at.row[:-1], k)).to("i32")
    y = s.broadcast(b, (*at.row[:-2], k, at.row[-1])).to("i32")
    if zeros:
        x = x - zero_point(s, zeros[0], at.row, at.row[-2])
    if len(zeros) > 1:
        y = y - zero_point(s, zeros[1], at.row, at.row[-1])
    return s.op("sum", x * y)


def zero_point(s: Scope, value: Value, row: Registers, own: Register) -> Register:
    """A zero point: one, one for every place `own`, or laid against the result."""
    if len(value.shape) == 1:
        at = s.code.constant(0) if value.elements == 1 else own
        return s.element(value, [at]).to("i32")
    return s.broadcast(value, row).to("i32")


def _products(node: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return node.result.shape, node.operands[0].shape[-1:]


QUANTISED: Mapping[str, Rule] = {
    "qnn.add": _add,
    "qnn.mul": _mul,
    "qnn.concat": _concat,
    "qnn.lookup": _lookup,
    "qnn.rescale": _rescale,
}
QUANTISED_ROWS: Mapping[str, Rowwise] = {
    "qnn.softmax": Rowwise(*ALONG_AXES, _softmax, True),
    "qnn.matmul_integer": Rowwise(_products, lambda s, n, row, lane: row, _accumulated, False),
}
