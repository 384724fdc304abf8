"""Integers made of floats and back, element by element, as the fused steps round them.

What a float sum made may lie on either side of a tie; `bounds.code` says where, so that such
integers are judged by a step there and to the bit elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

from tetrapla.backends.gpu.generated.elementwise import clip, select
from tetrapla.backends.gpu.generated.registers import Register
from tetrapla.backends.gpu.generated.scope import Coordinates, Rule, Scope
from tetrapla.ir.graph import Node
from tetrapla.ir.quant.small import FORMATS
from tetrapla.simulators.gpu.steps import RANGES


def _scale(s: Scope, node: Node, at: Coordinates) -> Register:
    """The scale of an element: one for all, or one per place along the axis."""
    scale = node.operands[1]
    if scale.elements == 1:
        return s.element(scale, [s.code.constant(0)] * len(scale.shape))
    return s.element(scale, [at[node.int("axis") % len(at)]])


def _integers(s: Scope, node: Node, y: Register, low: int, high: int) -> Register:
    """Clamped, a NaN to the lowest, rounded half to even, and the zero point added."""
    zero = node.int("zero_point")
    least = float(low - zero)
    held = clip(s, select(s, y.equal(y), y, least), least, float(high - zero))
    return (s.op("round", held).to("i32") + zero).to(node.result.dtype)


def _quantize(s: Scope, node: Node, at: Coordinates) -> Register:
    y = s.element(node.operands[0], at) / _scale(s, node, at)
    form = FORMATS.get(node.str("dtype"))
    if form is not None:
        return clip(s, y, -form.largest, form.largest).to(node.str("dtype"))
    return _integers(s, node, y, *RANGES[node.str("dtype")])


def _dequantize(s: Scope, node: Node, at: Coordinates) -> Register:
    if node.operands[0].dtype in FORMATS:
        return s.element(node.operands[0], at).to("f32") * _scale(s, node, at)
    # an int32 operand less its zero point can need 33 bits
    steps = s.element(node.operands[0], at).to("i64") - node.int("zero_point")
    return steps.to("f32") * _scale(s, node, at)


def _requantize(s: Scope, node: Node, at: Coordinates) -> Register:
    y = s.element(node.operands[0], at).to("f32") * _scale(s, node, at)
    return _integers(s, node, y, node.int("low"), node.int("high"))


ROUNDINGS: Mapping[str, Rule] = {
    "qnn.quantize": _quantize,
    "qnn.dequantize": _dequantize,
    "qnn.requantize": _requantize,
}
