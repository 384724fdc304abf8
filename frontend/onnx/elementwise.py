"""Functions of one, two or more numbers, comparisons, and the choice between two."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tetrapla.frontend.onnx.linear import scaled
from tetrapla.frontend.onnx.node import (
    Constant,
    OnnxNode,
    Operand,
    Scope,
    Translate,
    is_float,
    normal_axis,
    scalar,
)
from tetrapla.frontend.onnx.table import OPERATORS, translates
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import DTYPES

_UNARY: Mapping[str, str] = {
    "Abs": "nn.abs",
    "Sign": "nn.sign",
    "Floor": "nn.floor",
    "Ceil": "nn.ceil",
    "Round": "nn.round",
    "Sqrt": "nn.sqrt",
    "Reciprocal": "nn.reciprocal",
    "Exp": "nn.exp",
    "Log": "nn.log",
    "Sin": "nn.sin",
    "Cos": "nn.cos",
    "Tanh": "nn.tanh",
    "Erf": "nn.erf",
    "Sigmoid": "nn.sigmoid",
    "Softplus": "nn.softplus",
    "HardSwish": "nn.hard_swish",
    "Relu": "nn.relu",
    "Not": "nn.not",
    "BitwiseNot": "nn.bitwise_not",
}
_BINARY: Mapping[str, str] = {
    "Add": "nn.add",
    "Mul": "nn.mul",
    "And": "nn.and",
    "Or": "nn.or",
    "BitwiseAnd": "nn.bitwise_and",
    "BitwiseOr": "nn.bitwise_or",
    "BitwiseXor": "nn.bitwise_xor",
    "Equal": "nn.equal",
    "Less": "nn.less",
    "LessOrEqual": "nn.less_or_equal",
    "Greater": "nn.greater",
    "GreaterOrEqual": "nn.greater_or_equal",
}
_VARIADIC: Mapping[str, str] = {"Sum": "nn.add", "Min": "nn.minimum", "Max": "nn.maximum"}


def _unary(kind: str) -> Translate:
    def translate(node: OnnxNode, scope: Scope) -> Operand:
        return scope.op(kind, [node.operand(0)], {}, node.label)

    return translate


def _binary(kind: str) -> Translate:
    def translate(node: OnnxNode, scope: Scope) -> Operand:
        return scope.op(kind, pair(node, scope), {}, node.label)

    return translate


def _variadic(kind: str) -> Translate:
    def translate(node: OnnxNode, scope: Scope) -> Operand:
        return _chained(kind, node, scope)

    return translate


for _op, _kind in _UNARY.items():
    OPERATORS["", _op] = _unary(_kind)
for _op, _kind in _BINARY.items():
    OPERATORS["", _op] = _binary(_kind)
for _op, _kind in _VARIADIC.items():
    OPERATORS["", _op] = _variadic(_kind)


def pair(node: OnnxNode, scope: Scope) -> list[Operand]:
    """Both operands; before opset 7 the second one lies along the axes from `axis` on.

    Raises:
        ModelError: they have two element types.
    """
    a, b = node.operand(0), node.operand(1)
    if a.dtype != b.dtype:
        raise ModelError(f"{node.op} needs one element type, not {a.dtype} and {b.dtype}")
    old = node.version < 7 and bool(node.int("broadcast", 0))
    if node.attribute("axis") is not None and old:
        axis = normal_axis(node.int("axis", 0), len(a.shape))
        behind = len(a.shape) - axis - len(b.shape)
        if behind < 0:
            raise ModelError(f"axis {axis} leaves too few axes of {a.shape} for {b.shape}")
        b = scope.reshape(b, (*b.shape, *(1,) * behind), f"{node.label}_b")
    return [a, b]


def _chained(kind: str, node: OnnxNode, scope: Scope) -> Operand:
    """The operator from left to right over all operands."""
    total = node.operand(0)
    for index in range(1, len(node.operands)):
        name = node.label if index == 1 else f"{node.label}_{index}"
        total = scope.op(kind, [total, node.operand(index)], {}, name)
    return total


@translates("Mean")
def _mean(node: OnnxNode, scope: Scope) -> Operand:
    total = _chained("nn.add", node, scope)
    count = scalar(len(node.operands), total, f"{node.label}_count")
    return scope.op("nn.div", [total, count], {}, f"{node.label}_mean")


@translates("Sub")
def _sub(node: OnnxNode, scope: Scope) -> Operand:
    a, b = pair(node, scope)
    if is_float(b) and isinstance(b, Constant) and not isinstance(a, Constant):
        # a - b == a + (-1 b) exactly: negation does not round; more machines can add
        return scope.op("nn.add", [a, scaled(b, -1.0, scope, f"{node.label}_negated")], {},
                        node.label)  # fmt: skip
    return scope.op("nn.sub", [a, b], {}, node.label)


@translates("Neg")
def _neg(node: OnnxNode, scope: Scope) -> Operand:
    return scope.op("nn.neg", [node.operand(0)], {}, node.label)


@translates("Div")
def _div(node: OnnxNode, scope: Scope) -> Operand:
    a, b = pair(node, scope)
    if is_float(a):
        return scope.op("nn.div", [a, b], {}, node.label)
    if isinstance(b, Constant) and b.known and not np.all(b.array):
        raise ModelError("Div by an integer of 0 has no result")
    return scope.op("nn.idiv", [a, b], {}, node.label)


@translates("Mod")
def _mod(node: OnnxNode, scope: Scope) -> Operand:
    return scope.op("nn.mod", pair(node, scope), {"fmod": node.int("fmod", 0)}, node.label)


@translates("BitShift")
def _bit_shift(node: OnnxNode, scope: Scope) -> Operand:
    direction = node.str("direction", "")
    if direction not in ("LEFT", "RIGHT"):
        raise ModelError(f"direction must be LEFT or RIGHT, not {direction[:20]!r}")
    kind = "nn.shift_left" if direction == "LEFT" else "nn.shift_right"
    x, count = pair(node, scope)
    if x.dtype.startswith("u"):
        return scope.op(kind, [x, count], {}, node.label)
    # signed numbers by their bits; to the right the sign moves in: x >> n = ~(~x >> n) below 0
    bare, steps = (cast(value, f"u{value.dtype}", scope, node.label) for value in (x, count))
    plain = cast(scope.op(kind, [bare, steps], {}, node.label), x.dtype, scope, node.label)
    if direction == "LEFT":
        return plain
    turned = scope.op("nn.bitwise_not", [bare], {}, f"{node.label}_turned")
    moved = scope.op(kind, [turned, steps], {}, f"{node.label}_moved")
    back = scope.op("nn.bitwise_not", [moved], {}, f"{node.label}_back")
    zero = scalar(0, x, f"{node.label}_zero")
    below = scope.op("nn.less", [x, zero], {}, f"{node.label}_below")
    signed = cast(back, x.dtype, scope, f"{node.label}_back")
    return scope.op("nn.where", [below, signed, plain], {}, f"{node.label}_signed")


@translates("Pow")
def _pow(node: OnnxNode, scope: Scope) -> Operand:
    a, b = node.operand(0), node.operand(1)
    if node.version < 7:
        a, b = pair(node, scope)
    # integer powers are exact in float64 up to 2^53
    wide = a.dtype if is_float(a) else "f64"
    operands = [cast(value, wide, scope, node.label) for value in (a, b)]
    return cast(scope.op("nn.pow", operands, {}, node.label), a.dtype, scope, node.label)


def cast(x: Operand, dtype: str, scope: Scope, name: str) -> Operand:
    """The operand in another element type; itself when it has that type."""
    if x.dtype == dtype:
        return x
    if isinstance(x, Constant) and x.known and dtype in DTYPES:
        with np.errstate(all="ignore"):
            return x.made(lambda array: array.astype(DTYPES[dtype]))
    return scope.op("nn.cast", [x], {"dtype": dtype}, f"{name}_cast")


@translates("Xor")
def _xor(node: OnnxNode, scope: Scope) -> Operand:
    same = scope.op("nn.equal", pair(node, scope), {}, f"{node.label}_same")
    return scope.op("nn.not", [same], {}, node.label)


@translates("IsNaN")
def _is_nan(node: OnnxNode, scope: Scope) -> Operand:
    x = node.operand(0)
    same = scope.op("nn.equal", [x, x], {}, f"{node.label}_same")
    return scope.op("nn.not", [same], {}, node.label)


@translates("IsInf")
def _is_inf(node: OnnxNode, scope: Scope) -> Operand:
    x = node.operand(0)
    found: list[Operand] = []
    for key, value in (("detect_positive", np.inf), ("detect_negative", -np.inf)):
        if node.int(key, 1):
            limit = scalar(value, x, f"{node.label}_limit")
            found.append(scope.op("nn.equal", [x, limit], {}, f"{node.label}_{key}"))
    if len(found) == 2:
        return scope.op("nn.or", found, {}, node.label)
    if found:
        return found[0]
    return Constant(np.broadcast_to(np.False_, x.shape), node.label)


@translates("Where")
def _where(node: OnnxNode, scope: Scope) -> Operand:
    operands = [node.operand(index) for index in range(3)]
    if operands[0].dtype != "i1" or operands[1].dtype != operands[2].dtype:
        raise ModelError("Where needs a boolean choice between values of one type")
    return scope.op("nn.where", operands, {}, node.label)
