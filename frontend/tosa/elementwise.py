"""TOSA's element-wise operators and reductions in the terms of `nn`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tetrapla.frontend.foreign.operation import ForeignOp
from tetrapla.frontend.foreign.scope import Constant, Operand, Refusal, Scope
from tetrapla.frontend.foreign.walk import Translate
from tetrapla.ir.graph import DTYPES, Attribute

SAME: Mapping[str, str] = {  # operators that `nn` has under another name
    "abs": "nn.abs",
    "add": "nn.add",
    "ceil": "nn.ceil",
    "cos": "nn.cos",
    "equal": "nn.equal",
    "erf": "nn.erf",
    "exp": "nn.exp",
    "floor": "nn.floor",
    "greater": "nn.greater",
    "greater_equal": "nn.greater_or_equal",
    "log": "nn.log",
    "logical_and": "nn.and",
    "logical_not": "nn.not",
    "logical_or": "nn.or",
    "logical_xor": "nn.xor",
    "maximum": "nn.maximum",
    "minimum": "nn.minimum",
    "pow": "nn.pow",
    "reciprocal": "nn.reciprocal",
    "select": "nn.where",
    "sigmoid": "nn.sigmoid",
    "sin": "nn.sin",
    "sub": "nn.sub",
    "tanh": "nn.tanh",
}
INTEGER: Mapping[str, str] = {
    "bitwise_and": "nn.bitwise_and",
    "bitwise_not": "nn.bitwise_not",
    "bitwise_or": "nn.bitwise_or",
    "bitwise_xor": "nn.bitwise_xor",
    "intdiv": "nn.idiv",
}
REDUCTIONS: Mapping[str, str] = {
    "reduce_max": "nn.reduce_max",
    "reduce_min": "nn.reduce_min",
    "reduce_product": "nn.reduce_prod",
    "reduce_sum": "nn.reduce_sum",
}
_TRUTHS: Mapping[str, str] = {"reduce_all": "nn.reduce_min", "reduce_any": "nn.reduce_max"}
_SATURATED = ("i8", "i16")  # integer types whose ends are float32 numbers


def keeps_nan(op: ForeignOp) -> None:
    """Refuse an operator that passes NaN over: those of `nn` keep it."""
    if op.word("nan_mode", "PROPAGATE") != "PROPAGATE":
        raise Refusal("only with NaN kept")


def _same(kind: str) -> Translate:
    def translate(op: ForeignOp, scope: Scope) -> Operand:
        keeps_nan(op)
        return scope.elementwise(kind, op.operands, {}, op.label)

    return translate


def zero_point(op: ForeignOp, index: int) -> int:
    """The number that stands for zero, of an operand that holds nothing else.

    Raises:
        Refusal: it is computed, or is not a number for all.
    """
    array = op.constant(index, "zero point").reshape(-1)
    if array.size != 1:
        raise Refusal("only with one zero point")
    return int(array[0])


def only_zero(op: ForeignOp, *indices: int) -> None:
    """Refuse zero points other than 0."""
    if any(zero_point(op, index) for index in indices):
        raise Refusal("only with zero points of 0")


def _mul(op: ForeignOp, scope: Scope) -> Operand:
    a, b = op.operands[:2]
    if len(op.operands) > 2 and zero_point(op, 2) != 0:
        raise Refusal("only without a shift")
    a = scope.cast(a, op.result.dtype, f"{op.label}_a")
    b = scope.cast(b, op.result.dtype, f"{op.label}_b")
    return scope.elementwise("nn.mul", [a, b], {}, op.label)


def _negate(op: ForeignOp, scope: Scope) -> Operand:
    only_zero(op, *range(1, len(op.operands)))
    return scope.elementwise("nn.neg", op.operands[:1], {}, op.label)


def _rsqrt(op: ForeignOp, scope: Scope) -> Operand:
    root = scope.elementwise("nn.sqrt", op.operands, {}, f"{op.label}_sqrt")
    return scope.elementwise("nn.reciprocal", [root], {}, op.label)


def _clamp(op: ForeignOp, scope: Scope) -> Operand:
    keeps_nan(op)
    (x,) = op.operands
    low, high = (op.attribute(key).value for key in ("min_val", "max_val"))
    if x.dtype[0] in "fb":
        largest = float(np.finfo(np.float32).max) if x.dtype == "f32" else np.inf
        if low == 0 and high >= largest:
            return scope.elementwise("nn.relu", [x], {}, op.label)
        bounds: dict[str, Attribute] = {"low": float(low), "high": float(high)}
        return scope.elementwise("nn.clip", [x], bounds, op.label)
    ends = [np.broadcast_to(np.array(end, DTYPES[x.dtype]), x.shape) for end in (low, high)]
    above = scope.elementwise("nn.maximum", [x, Constant(ends[0])], {}, f"{op.label}_low")
    return scope.elementwise("nn.minimum", [above, Constant(ends[1])], {}, op.label)


def _cast(op: ForeignOp, scope: Scope) -> Operand:
    """Floats go to the nearest integer, ties to even, and stay within the ends of i8 and i16.

    What lies beyond the ends of wider integers is left to nn.cast.
    """
    (x,), dtype = op.operands, op.result.dtype
    if x.dtype[0] in "fb" and dtype == "i1":
        zero = Constant(np.broadcast_to(np.zeros((), DTYPES[x.dtype]), x.shape))
        equal = scope.elementwise("nn.equal", [x, zero], {}, f"{op.label}_equal")
        return scope.elementwise("nn.not", [equal], {}, op.label)
    if x.dtype[0] in "fb" and dtype[0] not in "fb":
        x = scope.elementwise("nn.round", [x], {}, f"{op.label}_round")
        if dtype in _SATURATED:
            limits = np.iinfo(DTYPES[dtype])
            ends: dict[str, Attribute] = {"low": float(limits.min), "high": float(limits.max)}
            x = scope.elementwise("nn.clip", [x], ends, f"{op.label}_clip")
    return scope.cast(x, dtype, op.label)


def _shift_right(op: ForeignOp, scope: Scope) -> Operand:
    if op.integer("round"):
        raise Refusal("only without rounding")
    return scope.elementwise("nn.shift_right", op.operands, {}, op.label)


def _reduction(kind: str) -> Translate:
    def translate(op: ForeignOp, scope: Scope) -> Operand:
        keeps_nan(op)
        attributes: dict[str, Attribute] = {"axes": (op.integer("axis"),), "keepdims": 1}
        return scope.op(kind, op.operands, attributes, op.label)

    return translate


def _truths(kind: str) -> Translate:
    def translate(op: ForeignOp, scope: Scope) -> Operand:
        numbers = scope.cast(op.operands[0], "i32", op.label)
        attributes: dict[str, Attribute] = {"axes": (op.integer("axis"),), "keepdims": 1}
        return scope.cast(scope.op(kind, [numbers], attributes, op.label), "i1", op.label)

    return translate


def _argmax(op: ForeignOp, scope: Scope) -> Operand:
    keeps_nan(op)
    attributes: dict[str, Attribute] = {"axis": op.integer("axis"), "keepdims": 0}
    place = scope.op("nn.arg_max", op.operands, attributes, op.label)
    return scope.cast(place, op.result.dtype, op.label)


OPERATORS: Mapping[str, Translate] = {
    **{f"tosa.{name}": _same(kind) for name, kind in {**SAME, **INTEGER}.items()},
    **{f"tosa.{name}": _reduction(kind) for name, kind in REDUCTIONS.items()},
    **{f"tosa.{name}": _truths(kind) for name, kind in _TRUTHS.items()},
    "tosa.argmax": _argmax,
    "tosa.arithmetic_right_shift": _shift_right,
    "tosa.cast": _cast,
    "tosa.clamp": _clamp,
    "tosa.mul": _mul,
    "tosa.negate": _negate,
    "tosa.rsqrt": _rsqrt,
}
