"""Angles and hyperbolic functions, of what every machine has: sines, exponentials, logarithms.

Polynomials are Taylor's, as far as the first term left out is below 2^-26 of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf, log, nan, pi, tan

from tetrapla.backends.gpu.generated.elementwise import NEAR, exp, log1p, of_one, select, series
from tetrapla.backends.gpu.generated.registers import Register
from tetrapla.backends.gpu.generated.scope import Rule, Scope

_TURN = tan(pi / 8)  # above, an arc tangent is pi/4 more than that of a smaller number
_ARC = tuple((-1) ** i / (2 * i + 1) for i in range(9))  # 0.4142^18 / 19 < 2^-26
_SINH = (1, 1 / 6, 1 / 120, 1 / 5040)
_LARGE = 1e4  # above, x^2 + 1 and x^2 are one number in float32


def arc_tangent(s: Scope, x: Register) -> Register:
    """The angle in -pi/2..pi/2."""
    size = s.op("abs", x)
    over = size > 1.0
    small = select(s, over, 1.0 / s.op("maximum", size, 1.0), size)
    turned = small > _TURN
    rest = select(s, turned, (small - 1.0) / (small + 1.0), small)
    found = rest * series(rest * rest, _ARC) + select(s, turned, _full(s, pi / 4), 0.0)
    found = select(s, over, pi / 2 - found, found)
    return _signed(s, x, found)


def _arc_cosine(s: Scope, x: Register) -> Register:
    # the half angle's tangent, which loses nothing near 1
    inside = (1.0 - x) / s.op("maximum", x + 1.0, 2.0**-25)
    found = arc_tangent(s, s.op("sqrt", s.op("maximum", inside, 0.0))) * 2.0
    found = select(s, x.equal(-1.0), pi, found)
    return _within_one(s, x, found)


def _arc_sine(s: Scope, x: Register) -> Register:
    size = s.op("abs", x)
    below = s.op("maximum", (1.0 - size) * (size + 1.0), 2.0**-26)
    found = arc_tangent(s, size / s.op("sqrt", below))
    found = select(s, size.equal(1.0), pi / 2, found)
    return _within_one(s, x, _signed(s, x, found))


def _sinh(s: Scope, x: Register) -> Register:
    size = s.op("abs", x)
    half = exp(s, size * 0.5)  # e^x itself may not fit where its half does
    far = half * 0.5 * half - 0.5 / half / half
    return select(s, size < NEAR, x * series(x * x, _SINH), _signed(s, x, far))


def _cosh(s: Scope, x: Register) -> Register:
    half = exp(s, s.op("abs", x) * 0.5)
    return half * 0.5 * half + 0.5 / half / half


def _area_sinh(s: Scope, x: Register) -> Register:
    size = s.op("abs", x)
    held = s.op("minimum", size, _LARGE)
    square = held * held
    near = log1p(s, held + square / (s.op("sqrt", square + 1.0) + 1.0))
    return _signed(s, x, select(s, size > _LARGE, s.op("log", size) + log(2), near))


def _area_cosh(s: Scope, x: Register) -> Register:
    away = s.op("minimum", x, _LARGE) - 1.0
    held = s.op("maximum", away, 0.0)
    near = log1p(s, held + s.op("sqrt", held * held + held * 2.0))
    found = select(s, x > _LARGE, s.op("log", s.op("maximum", x, 1.0)) + log(2), near)
    return select(s, x >= 1.0, found, nan)


def _area_tanh(s: Scope, x: Register) -> Register:
    size = s.op("abs", x)
    held = s.op("minimum", size, 1 - 2.0**-24)  # the last number below 1
    found = log1p(s, held * 2.0 / (1.0 - held)) * 0.5
    found = select(s, size.equal(1.0), inf, found)
    return _within_one(s, x, _signed(s, x, found))


def _signed(s: Scope, x: Register, size: Register) -> Register:
    """An odd function, of what it is of the magnitude."""
    return select(s, x < 0.0, -size, size)


def _within_one(s: Scope, x: Register, found: Register) -> Register:
    """NaN beyond -1 and 1, and of what is none."""
    return select(s, s.op("abs", x) <= 1.0, found, nan)


def _full(s: Scope, value: float) -> Register:
    return s.code.constant(value, "f32")


def _of(function: Callable[[Scope, Register], Register]) -> Rule:
    return of_one(lambda s, node, x: function(s, x))


TRIGONOMETRY: Mapping[str, Rule] = {
    "nn.tan": _of(lambda s, x: s.op("sin", x) / s.op("cos", x)),
    "nn.atan": _of(arc_tangent),
    "nn.acos": _of(_arc_cosine),
    "nn.asin": _of(_arc_sine),
    "nn.sinh": _of(_sinh),
    "nn.cosh": _of(_cosh),
    "nn.asinh": _of(_area_sinh),
    "nn.acosh": _of(_area_cosh),
    "nn.atanh": _of(_area_tanh),
}
