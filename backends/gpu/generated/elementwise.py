"""Operators that make each element from its operands' elements: one line of arithmetic each.

Functions that cancel near zero are polynomials there, so that each is within a few roundings
of float32 of the operator's own definition; how far is derived from the code (`bounds.code`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf, pi, sqrt

from tetrapla.backends.gpu.generated.registers import Register
from tetrapla.backends.gpu.generated.scope import Coordinates, Rule, Scope
from tetrapla.ir.graph import Node

NEAR = 0.25  # below, what cancels is a polynomial; its first term left out is below 2^-26


def op(name: str) -> Rule:
    """An operator that one operation is."""

    def function(s: Scope, node: Node, *args: Register) -> Register:
        return s.op(name, *args)

    return per_element(function)


def of_one(function: Callable[[Scope, Node, Register], Register]) -> Rule:
    """As `per_element`, of one operand."""
    return per_element(function)


def of_two(function: Callable[[Scope, Node, Register, Register], Register]) -> Rule:
    """As `per_element`, of two operands."""
    return per_element(function)


def per_element(function: Callable[..., Register]) -> Rule:
    """The rule of ``function(scope, node, *elements)``, with broadcasting."""

    def rule(s: Scope, node: Node, at: Coordinates) -> Register:
        return function(s, node, *(s.broadcast(v, at) for v in node.operands))

    return rule


def select(s: Scope, condition: Register, a: Register | float, b: Register | float) -> Register:
    """``a`` where the condition holds, else ``b``."""
    return s.op("select", condition, a, b)


def exp(s: Scope, x: Register) -> Register:
    """The exponential."""
    return s.op("exp", x)


def expm1(s: Scope, x: Register) -> Register:
    """``e^x - 1``."""
    near = x * series(x, (1, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040))
    return select(s, s.op("abs", x) < NEAR, near, exp(s, x) - 1.0)


def log1p(s: Scope, x: Register) -> Register:
    """``log(1 + x)`` of what is not negative."""
    near = x * series(x, (1, -1 / 2, 1 / 3, -1 / 4, 1 / 5))
    return select(s, x < 1 / 64, near, s.op("log", x + 1.0))


def tanh(s: Scope, x: Register) -> Register:
    """The hyperbolic tangent."""
    size, square = s.op("abs", x), x * x
    power = exp(s, size * -2.0)
    far = (1.0 - power) / (power + 1.0)
    near = x * series(square, (1, -1 / 3, 2 / 15, -17 / 315, 62 / 2835))
    return select(s, size < NEAR, near, select(s, x < 0.0, -far, far))


def sigmoid(s: Scope, x: Register) -> Register:
    """``1 / (1 + e^-x)``, without overflow."""
    power = exp(s, -s.op("abs", x))
    return select(s, x < 0.0, power, s.code.constant(1.0, "f32")) / (power + 1.0)


def softplus(s: Scope, x: Register) -> Register:
    """``log(1 + e^x)``, without overflow."""
    return s.op("maximum", x, 0.0) + log1p(s, exp(s, -s.op("abs", x)))


def power(s: Scope, a: Register, b: Register) -> Register:
    """``a ** b``: by the logarithm of the magnitude, and the sign of odd powers."""
    size = exp(s, b * s.op("log", s.op("abs", a)))
    whole = s.op("floor", b).equal(b)
    odd = whole & ~(s.op("floor", b * 0.5).equal(b * 0.5))
    signed = select(s, odd, -size, select(s, whole, size, float("nan")))
    made = select(s, a < 0.0, signed, size)
    return select(s, b.equal(0.0), 1.0, made)


def clip(s: Scope, x: Register, low: float, high: float) -> Register:
    """``min(max(x, low), high)``; an infinite bound is none."""
    x = x if low == -inf else s.op("maximum", x, low)
    return x if high == inf else s.op("minimum", x, high)


def series(x: Register, terms: tuple[float, ...]) -> Register:
    """A polynomial by Horner's rule."""
    made = x * terms[-1] + terms[-2]
    for term in reversed(terms[:-2]):
        made = made * x + term
    return made


def _gelu(s: Scope, node: Node, x: Register) -> Register:
    if node.str("approximate") == "none":
        odd = s.op("erf", x * (1 / sqrt(2)))
    else:
        odd = tanh(s, (x + x * x * x * 0.044715) * sqrt(2 / pi))
    return x * 0.5 * (odd + 1.0)


def _pow(s: Scope, node: Node, a: Register, b: Register) -> Register:
    return power(s, a, b)


def _elu(s: Scope, node: Node, x: Register) -> Register:
    return select(s, x < 0.0, expm1(s, s.op("minimum", x, 0.0)) * node.float("alpha"), x)


def _celu(s: Scope, node: Node, x: Register) -> Register:
    alpha = node.float("alpha")
    below = expm1(s, x / alpha) * alpha
    return s.op("maximum", x, 0.0) + s.op("minimum", below, 0.0)


def _selu(s: Scope, node: Node, x: Register) -> Register:
    below = expm1(s, s.op("minimum", x, 0.0)) * node.float("alpha")
    return select(s, x < 0.0, below, x) * node.float("gamma")


def _sign(s: Scope, node: Node, x: Register) -> Register:
    zero, one = (s.code.constant(n, x.dtype) for n in (0, 1))
    found = select(s, x > zero, one, zero)
    if x.dtype[0] != "u":
        found = select(s, x < zero, -one, found)
    return select(s, x.equal(x), found, x)


def _hard_sigmoid(s: Scope, node: Node, x: Register) -> Register:
    return clip(s, x * node.float("alpha") + node.float("beta"), 0.0, 1.0)


def _batch_norm(s: Scope, node: Node, at: Coordinates) -> Register:
    x = s.element(node.operands[0], at)
    scale, bias, mean, variance = (s.element(v, at[1:2]) for v in node.operands[1:])
    gain = scale / s.op("sqrt", variance + node.float("epsilon"))
    return (x - mean) * gain + bias


def _cast(s: Scope, node: Node, x: Register) -> Register:
    return x.to(node.str("dtype"))


ELEMENTWISE: Mapping[str, Rule] = {
    **{f"nn.{name}": op(name) for name in ("add", "sub", "mul", "div", "minimum", "maximum")},
    **{f"nn.{name}": op(name) for name in ("neg", "abs", "floor", "ceil", "round", "sqrt")},
    **{f"nn.{name}": op(name) for name in ("exp", "log", "sin", "cos", "erf", "equal", "less")},
    **{f"nn.{name}": op(name) for name in ("less_or_equal", "and", "or", "xor", "not")},
    **{f"nn.bitwise_{name}": op(name) for name in ("and", "or", "xor", "not")},
    "nn.where": op("select"),
    "nn.cast": of_one(_cast),
    "nn.greater": of_two(lambda s, node, a, b: a > b),
    "nn.greater_or_equal": of_two(lambda s, node, a, b: a >= b),
    "nn.reciprocal": of_one(lambda s, node, x: 1.0 / x),
    "nn.relu": of_one(lambda s, node, x: s.op("maximum", x, 0)),
    "nn.sign": of_one(_sign),
    "nn.pow": of_two(_pow),
    "nn.tanh": of_one(lambda s, node, x: tanh(s, x)),
    "nn.sigmoid": of_one(lambda s, node, x: sigmoid(s, x)),
    "nn.silu": of_one(lambda s, node, x: x * sigmoid(s, x)),
    "nn.gelu": of_one(_gelu),
    "nn.softplus": of_one(lambda s, node, x: softplus(s, x)),
    "nn.softsign": of_one(lambda s, node, x: x / (s.op("abs", x) + 1.0)),
    "nn.mish": of_one(lambda s, node, x: x * tanh(s, softplus(s, x))),
    "nn.hard_swish": of_one(lambda s, node, x: x * clip(s, x / 6.0 + 0.5, 0.0, 1.0)),
    "nn.hard_sigmoid": of_one(_hard_sigmoid),
    "nn.elu": of_one(_elu),
    "nn.celu": of_one(_celu),
    "nn.selu": of_one(_selu),
    "nn.clip": of_one(lambda s, node, x: clip(s, x, node.float("low"), node.float("high"))),
    "nn.leaky_relu": of_one(lambda s, node, x: select(s, x < 0.0, x * node.float("alpha"), x)),
    "nn.prelu": of_two(lambda s, node, x, slope: select(s, x < 0, x * slope, x)),
    "nn.thresholded_relu": of_one(
        lambda s, node, x: select(s, x > node.float("alpha"), x, 0.0)
    ),
    "nn.is_nan": of_one(lambda s, node, x: ~x.equal(x)),
    "nn.batch_norm": _batch_norm,
}
