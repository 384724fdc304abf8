"""Division and shifts of integers, whose odd cases a processor traps or leaves open."""

from __future__ import annotations

from tetrapla.ir.graph import Node
from tetrapla.ir.linalg.element import bits_of, is_float, is_unsigned, lowest
from tetrapla.ir.linalg.scalar import Body, Scalar


def quotient(b: Body, _: Node, x: Scalar, y: Scalar) -> Scalar:
    """Towards zero; by zero 0, and the smallest integer by -1 itself."""
    found = b.div(x, _divisor(b, x, y))
    return b.select(b.compare("eq", y, b.like(0, y)), b.like(0, x), found)


def remainder(b: Body, node: Node, x: Scalar, y: Scalar) -> Scalar:
    """With the sign of `y`, or that of `x` where fmod is 1; of floats in f64."""
    dtype = x.dtype
    if is_float(dtype):
        x, y = b.cast(x, "f64"), b.cast(y, "f64")
        found = b.rem(x, y)
    else:
        found = b.rem(x, _divisor(b, x, y))
    if not node.int("fmod") and not is_unsigned(dtype):
        zero = b.like(0, x)
        signs = b.compare("lt", found, zero), b.compare("lt", y, zero)
        odd = b.bitwise("andi", b.compare("ne", found, zero), b.bitwise("xori", *signs))
        found = b.select(odd, b.add(found, y), found)
    return b.cast(found, dtype)


def shift_left(b: Body, _: Node, x: Scalar, y: Scalar) -> Scalar:
    """0 where `y` is no number of a bit."""
    near, zero = _is_bit(b, y), b.like(0, x)
    return b.select(near, b.bitwise("shli", x, b.select(near, y, zero)), zero)


def shift_right(b: Body, _: Node, x: Scalar, y: Scalar) -> Scalar:
    """Rounded down; 0 or -1, by the sign of `x`, where `y` is no number of a bit."""
    near, zero = _is_bit(b, y), b.like(0, x)
    signed = not is_unsigned(x.dtype)
    found = b.bitwise("shrsi" if signed else "shrui", x, b.select(near, y, zero))
    gone = b.select(b.compare("lt", x, zero), b.like(-1, x), zero) if signed else zero
    return b.select(near, found, gone)


def _is_bit(b: Body, y: Scalar) -> Scalar:
    below = b.compare("lt", y, b.like(bits_of(y.dtype), y))
    return b.bitwise("andi", below, b.compare("ge", y, b.like(0, y)))


def _divisor(b: Body, x: Scalar, y: Scalar) -> Scalar:
    """`y`, or 1 where the division would trap."""
    odd = b.compare("eq", y, b.like(0, y))
    if not is_unsigned(x.dtype):
        smallest = b.compare("eq", x, b.like(lowest(x.dtype), x))
        traps = b.bitwise("andi", smallest, b.compare("eq", y, b.like(-1, y)))
        odd = b.bitwise("ori", odd, traps)
    return b.select(odd, b.like(1, y), y)
