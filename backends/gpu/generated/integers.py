"""Arithmetic of integers as the operators define it: quotients, remainders, shifts.

A machine divides towards zero and says nothing of a divisor of 0, so all is made of quotients
of numbers that are not negative; a division by 0 gives 0, as NumPy's does.
"""

from __future__ import annotations

from collections.abc import Mapping

from tetrapla.backends.gpu.generated.elementwise import of_one, of_two, select
from tetrapla.backends.gpu.generated.registers import Register
from tetrapla.backends.gpu.generated.scope import Rule, Scope
from tetrapla.ir.graph import DTYPES, Node


def _divided(s: Scope, a: Register, b: Register) -> tuple[Register, Register, Register]:
    """``|b|`` or 1, the quotient of a by it rounded down, and what is left of a."""
    size = s.op("maximum", s.op("abs", b), 1)
    down = a < 0
    # ~a is -a - 1, which is never too large: floor(a / n) = ~(~a // n)
    above = s.op("floor_div", select(s, down, ~a, a), size)
    quotient = select(s, down, ~above, above)
    return size, quotient, a - quotient * size


def _idiv(s: Scope, node: Node, a: Register, b: Register) -> Register:
    if DTYPES[a.dtype].kind == "u":
        found = s.op("floor_div", a, s.op("maximum", b, 1))
    else:
        _, quotient, rest = _divided(s, a, b)
        up = (a < 0) & ~rest.equal(0)
        found = select(s, up, quotient + 1, quotient)
        found = select(s, b < 0, -found, found)
        least = _least(s, b)  # which has no magnitude
        found = select(s, b.equal(least), select(s, a.equal(least), _one(s, a), 0), found)
    return select(s, b.equal(0), 0, found)


def _mod(s: Scope, node: Node, a: Register, b: Register) -> Register:
    if DTYPES[a.dtype].kind == "u":
        found = s.op("remainder", a, s.op("maximum", b, 1))
        return select(s, b.equal(0), 0, found)
    size, _, rest = _divided(s, a, b)
    moved = ~rest.equal(0) & ((a < 0) if node.int("fmod") else (b < 0))
    found = select(s, moved, rest - size, rest)
    least = _least(s, b)
    if node.int("fmod"):
        own = select(s, a.equal(least), 0, a)
    else:
        own = select(s, a > 0, a + least, select(s, a.equal(least), 0, a))
    found = select(s, b.equal(least), own, found)
    return select(s, b.equal(0), 0, found)


def _beyond(s: Scope, a: Register, b: Register) -> Register:
    """Whether b is no number of a bit of a."""
    over = b >= 8 * DTYPES[a.dtype].itemsize
    return over if DTYPES[a.dtype].kind == "u" else over | (b < 0)


def _shift_left(s: Scope, node: Node, a: Register, b: Register) -> Register:
    beyond = _beyond(s, a, b)
    return select(s, beyond, 0, s.op("shift_left", a, select(s, beyond, 0, b)))


def _shift_right(s: Scope, node: Node, a: Register, b: Register) -> Register:
    beyond, last = _beyond(s, a, b), 8 * DTYPES[a.dtype].itemsize - 1
    found = s.op("shift_right", a, select(s, beyond, last, b))
    return select(s, beyond, 0, found) if DTYPES[a.dtype].kind == "u" else found


def _is_inf(s: Scope, node: Node, x: Register) -> Register:
    found = s.code.constant(0, "i1")
    for key, value in (("detect_negative", float("-inf")), ("detect_positive", float("inf"))):
        if node.int(key):
            found = found | x.equal(value)
    return found


def _least(s: Scope, b: Register) -> Register:
    return s.code.constant(-(2 ** (8 * DTYPES[b.dtype].itemsize - 1)), b.dtype)


def _one(s: Scope, a: Register) -> Register:
    return s.code.constant(1, a.dtype)


INTEGERS: Mapping[str, Rule] = {
    "nn.idiv": of_two(_idiv),
    "nn.mod": of_two(_mod),
    "nn.shift_left": of_two(_shift_left),
    "nn.shift_right": of_two(_shift_right),
    "nn.is_inf": of_one(_is_inf),
}
