"""Operators that compute each element from the operands' elements at its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import pi, sqrt
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from tetrapla.ir.graph import Node
from tetrapla.ir.linalg.cast import unsaturated
from tetrapla.ir.linalg.element import is_float, is_unsigned
from tetrapla.ir.linalg.integer import quotient, remainder, shift_left, shift_right
from tetrapla.ir.linalg.reduce import magnitude
from tetrapla.ir.linalg.scalar import Body, Held, Scalar
from tetrapla.ir.linalg.text import Writer, tensor_of

# of the body, the node (for its attributes) and one scalar per operand
Rule: TypeAlias = Callable[..., Scalar]


def lower_elementwise(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """One loop nest over the result's axes."""
    rule = RULES[node.kind]

    def function(b: Body, *elements: Scalar) -> Scalar:
        return rule(b, node, *elements)

    return writer.elementwise(tensor_of(node.result), function, *operands)


def parameter(node: Node, key: str) -> float:
    """A float attribute, as the float32 that it is."""
    return float(np.float32(node.float(key)))


def _own(method: Callable[..., Scalar]) -> Rule:
    """A function of the body and the elements, which needs no attribute."""

    def rule(b: Body, _: Node, *elements: Scalar) -> Scalar:
        return method(b, *elements)

    return rule


def _math(function: str) -> Rule:
    """A function of the math dialect that is exact or correctly rounded in every type."""

    def rule(b: Body, _: Node, *elements: Scalar) -> Scalar:
        return b.math(function, *elements)

    return rule


def _rounded(rule: Rule) -> Rule:
    """A rule in f64, its result rounded once to the type of the first operand."""

    def narrowed(b: Body, node: Node, *elements: Scalar) -> Scalar:
        wide = [b.cast(each, "f64") for each in elements]
        return b.cast(rule(b, node, *wide), elements[0].dtype)

    return narrowed


def _libm(function: str) -> Rule:
    return _rounded(_math(function))


def _bits(instruction: str) -> Rule:
    def rule(b: Body, _: Node, x: Scalar, y: Scalar) -> Scalar:
        return b.bitwise(instruction, x, y)

    return rule


def _compared(predicate: str) -> Rule:
    def rule(b: Body, _: Node, x: Scalar, y: Scalar) -> Scalar:
        return b.compare(predicate, x, y)

    return rule


def _same(b: Body, x: Scalar) -> Scalar:
    del b
    return x


def _cast(b: Body, node: Node, x: Scalar) -> Scalar:
    return b.cast(x, node.str("dtype"))


def _cast_unsaturated(b: Body, node: Node, x: Scalar) -> Scalar:
    return unsaturated(b, x, node.str("dtype"))


def _bitwise_not(b: Body, _: Node, x: Scalar) -> Scalar:
    return b.bitwise("xori", x, b.like(-1, x))


def _sign(b: Body, _: Node, x: Scalar) -> Scalar:
    zero = b.like(0, x)
    above = b.select(b.compare("gt", x, zero), b.like(1, x), zero)
    if is_unsigned(x.dtype):
        return above
    found = b.select(b.compare("lt", x, zero), b.like(-1, x), above)
    return b.select(b.is_nan(x), x, found) if is_float(x.dtype) else found


def _not(b: Body, _: Node, x: Scalar) -> Scalar:
    return b.bitwise("xori", x, b.like(1, x))


def _reciprocal(b: Body, _: Node, x: Scalar) -> Scalar:
    return b.div(b.like(1, x), x)


def _relu(b: Body, _: Node, x: Scalar) -> Scalar:
    return b.maximum(x, b.like(0, x))


def clipped(b: Body, x: Scalar, low: float, high: float) -> Scalar:
    """Between two bounds; NaN stays NaN."""
    return b.minimum(b.maximum(x, b.like(low, x)), b.like(high, x))


def _clip(b: Body, node: Node, x: Scalar) -> Scalar:
    return clipped(b, x, parameter(node, "low"), parameter(node, "high"))


def _leaky_relu(b: Body, node: Node, x: Scalar) -> Scalar:
    wide = b.cast(x, "f64")
    below = b.cast(b.mul(b.like(parameter(node, "alpha"), wide), wide), x.dtype)
    return b.select(b.compare("lt", x, b.like(0, x)), below, x)


def _prelu(b: Body, _: Node, x: Scalar, slope: Scalar) -> Scalar:
    below = b.mul(x, slope)
    if is_float(x.dtype):
        below = b.cast(b.mul(b.cast(x, "f64"), b.cast(slope, "f64")), x.dtype)
    return b.select(b.compare("lt", x, b.like(0, x)), below, x)


def _thresholded_relu(b: Body, node: Node, x: Scalar) -> Scalar:
    wide = b.cast(x, "f64")
    above = b.compare("gt", wide, b.like(parameter(node, "alpha"), wide))
    return b.select(above, x, b.like(0, x))


def _is_inf(b: Body, node: Node, x: Scalar) -> Scalar:
    wide = b.cast(x, "f64")
    found = b.number(0, "i1")
    for key, value in (("detect_negative", -np.inf), ("detect_positive", np.inf)):
        if node.int(key):
            found = b.bitwise("ori", found, b.compare("eq", wide, b.like(value, wide)))
    return found


# what follows is in f64


def logistic(b: Body, x: Scalar) -> Scalar:
    """``1 / (1 + exp(-x))``."""
    one = b.like(1, x)
    return b.div(one, b.add(one, b.math("exp", b.negative(x))))


def _softplus(b: Body, _: Node, x: Scalar) -> Scalar:
    tail = b.math("log1p", b.math("exp", b.negative(b.math("absf", x))))
    return b.add(b.maximum(x, b.like(0, x)), tail)


def _silu(b: Body, _: Node, x: Scalar) -> Scalar:
    return b.div(x, b.add(b.like(1, x), b.math("exp", b.negative(x))))


def _hard_swish(b: Body, _: Node, x: Scalar) -> Scalar:
    line = b.add(b.div(x, b.like(6, x)), b.like(0.5, x))
    return b.mul(x, clipped(b, line, 0, 1))


def _gelu(b: Body, node: Node, x: Scalar) -> Scalar:
    if node.str("approximate") == "none":
        odd = b.math("erf", b.div(x, b.like(sqrt(2), x)))
    else:
        cube = b.mul(b.mul(x, x), x)
        inner = b.add(x, b.mul(b.like(0.044715, x), cube))
        odd = b.math("tanh", b.mul(b.like(sqrt(2 / pi), x), inner))
    return b.mul(b.div(x, b.like(2, x)), b.add(b.like(1, x), odd))


def _elu(b: Body, node: Node, x: Scalar) -> Scalar:
    zero = b.like(0, x)
    curve = b.math("expm1", b.minimum(x, zero))
    below = b.mul(b.like(parameter(node, "alpha"), x), curve)
    return b.select(b.compare("lt", x, zero), below, x)


def _hard_sigmoid(b: Body, node: Node, x: Scalar) -> Scalar:
    alpha, beta = (b.like(parameter(node, key), x) for key in ("alpha", "beta"))
    return clipped(b, b.add(b.mul(alpha, x), beta), 0, 1)


def _selu(b: Body, node: Node, x: Scalar) -> Scalar:
    return b.mul(b.like(parameter(node, "gamma"), x), _elu(b, node, x))


def _celu(b: Body, node: Node, x: Scalar) -> Scalar:
    zero, alpha = b.like(0, x), b.like(parameter(node, "alpha"), x)
    curve = b.mul(alpha, b.math("expm1", b.div(x, alpha)))
    return b.add(b.maximum(x, zero), b.minimum(curve, zero))


def _mish(b: Body, node: Node, x: Scalar) -> Scalar:
    return b.mul(x, b.math("tanh", _softplus(b, node, x)))


def _softsign(b: Body, _: Node, x: Scalar) -> Scalar:
    return b.div(x, b.add(b.like(1, x), b.math("absf", x)))


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **{
            f"nn.{name}": _libm(name)
            for name in (
                *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh"),
                *("erf", "exp", "log", "sin", "sinh", "tan", "tanh"),
            )
        },
        "nn.abs": _own(magnitude),
        "nn.bitwise_and": _bits("andi"),
        "nn.bitwise_not": _bitwise_not,
        "nn.bitwise_or": _bits("ori"),
        "nn.bitwise_xor": _bits("xori"),
        "nn.add": _own(Body.add),
        "nn.and": _bits("andi"),
        "nn.cast": _cast,
        "nn.cast_unsaturated": _cast_unsaturated,
        "nn.ceil": _math("ceil"),
        "nn.celu": _rounded(_celu),
        "nn.clip": _clip,
        "nn.div": _own(Body.div),
        "nn.elu": _rounded(_elu),
        "nn.equal": _compared("eq"),
        "nn.expand": _own(_same),
        "nn.floor": _math("floor"),
        "nn.gelu": _rounded(_gelu),
        "nn.greater": _compared("gt"),
        "nn.greater_or_equal": _compared("ge"),
        "nn.hard_sigmoid": _rounded(_hard_sigmoid),
        "nn.hard_swish": _rounded(_hard_swish),
        "nn.idiv": quotient,
        "nn.is_inf": _is_inf,
        "nn.is_nan": _own(Body.is_nan),
        "nn.leaky_relu": _leaky_relu,
        "nn.less": _compared("lt"),
        "nn.less_or_equal": _compared("le"),
        "nn.maximum": _own(Body.maximum),
        "nn.minimum": _own(Body.minimum),
        "nn.mish": _rounded(_mish),
        "nn.mod": remainder,
        "nn.mul": _own(Body.mul),
        "nn.neg": _own(Body.negative),
        "nn.not": _not,
        "nn.or": _bits("ori"),
        "nn.pow": _libm("powf"),
        "nn.prelu": _prelu,
        "nn.reciprocal": _reciprocal,
        "nn.relu": _relu,
        "nn.round": _math("roundeven"),
        "nn.selu": _rounded(_selu),
        "nn.shift_left": shift_left,
        "nn.shift_right": shift_right,
        "nn.sigmoid": _rounded(_own(logistic)),
        "nn.sign": _sign,
        "nn.silu": _rounded(_silu),
        "nn.softplus": _rounded(_softplus),
        "nn.softsign": _rounded(_softsign),
        "nn.sqrt": _math("sqrt"),
        "nn.sub": _own(Body.sub),
        "nn.thresholded_relu": _thresholded_relu,
        "nn.where": _own(Body.select),
        "nn.xor": _bits("xori"),
    }
)
