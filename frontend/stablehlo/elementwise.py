"""StableHLO's element-wise operations in the terms of `nn`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tetrapla.frontend.foreign.operation import ForeignOp
from tetrapla.frontend.foreign.scope import Constant, Later, Operand, Refusal, Scope
from tetrapla.frontend.foreign.walk import Translate
from tetrapla.ir.graph import DTYPES, Attribute

SAME: Mapping[str, str] = {  # operations that `nn` has under another name
    "abs": "nn.abs",
    "add": "nn.add",
    "ceil": "nn.ceil",
    "cosine": "nn.cos",
    "exponential": "nn.exp",
    "floor": "nn.floor",
    "log": "nn.log",
    "logistic": "nn.sigmoid",
    "maximum": "nn.maximum",
    "minimum": "nn.minimum",
    "multiply": "nn.mul",
    "negate": "nn.neg",
    "power": "nn.pow",
    "round_nearest_even": "nn.round",
    "sign": "nn.sign",
    "sine": "nn.sin",
    "sqrt": "nn.sqrt",
    "subtract": "nn.sub",
    "tan": "nn.tan",
    "tanh": "nn.tanh",
}
CHLO = ("acos", "acosh", "asin", "asinh", "atan", "atanh", "cosh", "erf", "sinh", "tan")
_SIGNS: Mapping[str, Mapping[str, Attribute]] = {  # which infinities count
    "chlo.is_inf": {"detect_positive": 1, "detect_negative": 1},
    "chlo.is_neg_inf": {"detect_positive": 0, "detect_negative": 1},
    "chlo.is_pos_inf": {"detect_positive": 1, "detect_negative": 0},
}
LOGICAL: Mapping[str, str] = {  # of i1; integers have nn.bitwise_and and so on
    "and": "nn.and",
    "not": "nn.not",
    "or": "nn.or",
    "xor": "nn.xor",
}
INTEGER: Mapping[str, str] = {
    "shift_left": "nn.shift_left",
    "shift_right_arithmetic": "nn.shift_right",
}
COMPARISONS: Mapping[str, str] = {
    "EQ": "nn.equal",
    "GE": "nn.greater_or_equal",
    "GT": "nn.greater",
    "LE": "nn.less_or_equal",
    "LT": "nn.less",
}


def _same(kind: str) -> Translate:
    return lambda op, scope: scope.elementwise(kind, op.operands, {}, op.label)


def _logical(kind: str) -> Translate:
    def translate(op: ForeignOp, scope: Scope) -> Operand:
        whole = kind if op.result.dtype == "i1" else kind.replace("nn.", "nn.bitwise_")
        return scope.elementwise(whole, op.operands, {}, op.label)

    return translate


def _maximum(op: ForeignOp, scope: Scope) -> Operand:
    """The larger one; with a constant zero a ReLU."""
    for x, other in (op.operands, op.operands[::-1]):
        if isinstance(other, Constant) and not isinstance(x, Constant):
            array = np.asarray(scope.narrow(other).shape)
            zero = array.size == 0 and not np.any(other.array) and op.result.dtype[0] == "f"
            if zero and not np.signbit(other.array.astype(np.float64)).any():
                return scope.elementwise("nn.relu", [x], {}, op.label)
    return scope.elementwise("nn.maximum", op.operands, {}, op.label)


def _divide(op: ForeignOp, scope: Scope) -> Operand:
    a, b = op.operands
    if isinstance(a, Later) and isinstance(b, Constant):
        mean = a.mean(b.array)
        if mean is not None:
            return mean
    kind = "nn.div" if op.result.dtype[0] in "fb" else "nn.idiv"
    return scope.elementwise(kind, [a, b], {}, op.label)


def _remainder(op: ForeignOp, scope: Scope) -> Operand:
    return scope.elementwise("nn.mod", op.operands, {"fmod": 1}, op.label)


def _rsqrt(op: ForeignOp, scope: Scope) -> Operand:
    root = scope.elementwise("nn.sqrt", op.operands, {}, f"{op.label}_sqrt")
    return scope.elementwise("nn.reciprocal", [root], {}, op.label)


def _exponential_minus_one(op: ForeignOp, scope: Scope) -> Operand:
    # below zero this is ELU; above it exp(x) - 1 = -exp(x) (exp(-x) - 1), which cancels nothing
    (x,) = op.operands
    zero = _repeated(0, x)
    below = scope.elementwise("nn.elu", [x], {"alpha": 1.0}, op.label)
    negative = scope.elementwise("nn.neg", [x], {}, f"{op.label}_negated")
    mirrored = scope.elementwise("nn.elu", [negative], {"alpha": 1.0}, f"{op.label}_mirrored")
    power = scope.elementwise("nn.exp", [x], {}, f"{op.label}_exp")
    product = scope.elementwise("nn.mul", [power, mirrored], {}, f"{op.label}_mul")
    above = scope.elementwise("nn.neg", [product], {}, f"{op.label}_above")
    positive = scope.elementwise("nn.greater", [x, zero], {}, f"{op.label}_sign")
    return scope.elementwise("nn.where", [positive, above, below], {}, f"{op.label}_where")


def _log_plus_one(op: ForeignOp, scope: Scope) -> Operand:
    """Of an exponential a softplus; else the logarithm of the rounded 1 + x, corrected.

    With u = 1 + x rounded, log(u) x / (u - 1) loses nothing to the rounding of u (W. Kahan, in
    D. Goldberg, "What every computer scientist should know about floating-point arithmetic",
    ACM Computing Surveys 23(1), 1991, theorem 4).
    """
    (x,) = op.operands
    source = scope.operand_of("nn.exp", x)
    if source is not None:
        return scope.elementwise("nn.softplus", [source], {}, op.label)

    def step(kind: str, *operands: Operand) -> Operand:
        return scope.elementwise(kind, operands, {}, f"{op.label}_{kind[3:]}")

    one, last = (_repeated(number, x) for number in (1, np.inf))
    u = step("nn.add", one, x)
    plain = step("nn.or", step("nn.equal", u, one), step("nn.equal", u, last))
    added = step("nn.where", plain, one, step("nn.sub", u, one))  # never a zero to divide by
    corrected = step("nn.mul", step("nn.log", u), step("nn.div", x, added))
    return step("nn.where", plain, x, corrected)


def _repeated(number: float, like: Operand) -> Constant:
    return Constant(np.broadcast_to(np.array(number, DTYPES[like.dtype]), like.shape))


def _cbrt(op: ForeignOp, scope: Scope) -> Operand:
    (x,) = op.operands
    size = scope.elementwise("nn.abs", [x], {}, f"{op.label}_abs")
    root = scope.elementwise("nn.pow", [size, _repeated(1 / 3, x)], {}, f"{op.label}_pow")
    sign = scope.elementwise("nn.sign", [x], {}, f"{op.label}_sign")
    return scope.elementwise("nn.mul", [sign, root], {}, op.label)


def _atan2(op: ForeignOp, scope: Scope) -> Operand:
    """As JAX writes arctan: over a constant one."""
    y, x = op.operands
    if not isinstance(x, Constant) or np.any(x.array != 1):
        raise Refusal("only over a constant 1, which is an arctangent")
    return scope.elementwise("nn.atan", [y], {}, op.label)


def _square(op: ForeignOp, scope: Scope) -> Operand:
    return scope.elementwise("nn.mul", [op.operands[0]] * 2, {}, op.label)


def _infinite(op: ForeignOp, scope: Scope) -> Operand:
    return scope.elementwise("nn.is_inf", op.operands, _SIGNS[op.kind], op.label)


def _is_finite(op: ForeignOp, scope: Scope) -> Operand:
    (x,) = op.operands
    zero = _repeated(0, x)
    difference = scope.elementwise("nn.sub", [x, x], {}, f"{op.label}_sub")  # NaN or 0
    return scope.elementwise("nn.equal", [difference, zero], {}, op.label)


def _compare(op: ForeignOp, scope: Scope) -> Operand:
    if op.word("compare_type") == "TOTALORDER":
        raise Refusal("not in total order")
    direction = op.word("comparison_direction")
    if direction == "NE":
        equal = scope.elementwise("nn.equal", op.operands, {}, f"{op.label}_equal")
        return scope.elementwise("nn.not", [equal], {}, op.label)
    return scope.elementwise(COMPARISONS[direction], op.operands, {}, op.label)


def _select(op: ForeignOp, scope: Scope) -> Operand:
    return scope.elementwise("nn.where", op.operands, {}, op.label)


def _clamp(op: ForeignOp, scope: Scope) -> Operand:
    low, x, high = op.operands
    bounds = [
        float(each.array.reshape(-1)[0])
        for each in (low, high)
        if isinstance(each, Constant) and each.shape == () and each.array.dtype == np.float32
    ]
    if len(bounds) == 2 and bounds[0] <= bounds[1]:
        attributes = {"low": bounds[0], "high": bounds[1]}
        return scope.elementwise("nn.clip", [x], attributes, op.label)
    above = scope.elementwise("nn.maximum", [x, low], {}, f"{op.label}_low")
    return scope.elementwise("nn.minimum", [above, high], {}, op.label)


def _convert(op: ForeignOp, scope: Scope) -> Operand:
    return scope.cast(op.operands[0], op.result.dtype, op.label)


OPERATORS: Mapping[str, Translate] = {
    **{f"stablehlo.{name}": _same(kind) for name, kind in {**SAME, **INTEGER}.items()},
    **{f"stablehlo.{name}": _logical(kind) for name, kind in LOGICAL.items()},
    **{f"chlo.{name}": _same(f"nn.{name}") for name in CHLO},
    "chlo.square": _square,
    **dict.fromkeys(_SIGNS, _infinite),
    "stablehlo.atan2": _atan2,
    "stablehlo.cbrt": _cbrt,
    "stablehlo.clamp": _clamp,
    "stablehlo.compare": _compare,
    "stablehlo.convert": _convert,
    "stablehlo.divide": _divide,
    "stablehlo.exponential_minus_one": _exponential_minus_one,
    "stablehlo.is_finite": _is_finite,
    "stablehlo.log_plus_one": _log_plus_one,
    "stablehlo.maximum": _maximum,
    "stablehlo.remainder": _remainder,
    "stablehlo.rsqrt": _rsqrt,
    "stablehlo.select": _select,
}
