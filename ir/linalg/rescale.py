"""Rescaling by an integer multiplier and a shift, in 64-bit integers."""

from __future__ import annotations

from tetrapla.ir.graph import Node
from tetrapla.ir.linalg.quant_scale import along
from tetrapla.ir.linalg.scalar import Body, Held, Scalar
from tetrapla.ir.linalg.text import Writer, axes_of, tensor_of
from tetrapla.ir.quant.rescale import MULTIPLIER_BITS, SHIFTS


def lower_rescale(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """``clamp(apply(x - x_zero_point) + zero_point, low, high)``."""
    x, multiplier, shift = operands
    y, rounding, axis = tensor_of(node.result), node.str("rounding"), node.int("axis")
    writer.must_lie(shift, *SHIFTS, f"{node.kind} shift")
    limit = 1 << MULTIPLIER_BITS[rounding]
    writer.must_lie(multiplier, 0, limit - 1, f"{node.kind} multiplier")
    apply = _tflite_double if rounding == "tflite_double" else _tosa

    def steps(b: Body, a: Scalar, m: Scalar, s: Scalar) -> Scalar:
        wide = b.cast(a, "i64")
        value = b.sub(wide, b.like(node.int("x_zero_point"), wide))
        # a fault is reported afterwards; until then no shift may be undefined
        right = b.cast(s, "i64")
        right = b.minimum(b.maximum(right, b.like(1, right)), b.like(62, right))
        scaled = apply(b, value, b.cast(m, "i64"), right, rounding)
        moved = b.add(scaled, b.like(node.int("zero_point"), scaled))
        low, high = (b.like(node.int(key), moved) for key in ("low", "high"))
        return b.cast(b.minimum(b.maximum(moved, low), high), y.dtype)

    placed = [(held, along(held, x, axis)) for held in (multiplier, shift)]
    return writer.placed(y, steps, [(x, axes_of(x.type.rank)), *placed])


def _tosa(b: Body, value: Scalar, factor: Scalar, right: Scalar, rounding: str) -> Scalar:
    one, zero = b.like(1, value), b.like(0, value)
    half = b.bitwise("shli", one, b.sub(right, one))
    if rounding == "double":
        more = b.like(1 << 30, value)
        away = b.select(b.compare("ge", value, zero), more, b.sub(zero, more))
        late = b.compare("gt", right, b.like(31, right))
        half = b.add(half, b.select(late, away, zero))
    return b.bitwise("shrsi", b.add(b.mul(value, factor), half), right)


def _tflite_double(b: Body, value: Scalar, factor: Scalar, right: Scalar, _: str) -> Scalar:
    one, zero = b.like(1, value), b.like(0, value)
    exponent = b.sub(b.like(31, right), right)
    left, down = b.maximum(exponent, zero), b.maximum(b.sub(zero, exponent), zero)
    moved = b.cast(b.cast(b.bitwise("shli", value, left), "i32"), "i64")
    product = b.mul(moved, factor)
    nudge = b.select(
        b.compare("ge", product, zero), b.like(1 << 30, value), b.like(1 - (1 << 30), value)
    )
    nudged = b.add(product, nudge)
    bits = b.like(31, nudged)
    above = b.bitwise("shrsi", nudged, bits)
    below = b.sub(zero, b.bitwise("shrsi", b.sub(zero, nudged), bits))
    high = b.select(b.compare("ge", nudged, zero), above, below)
    mask = b.sub(b.bitwise("shli", one, down), one)
    negative = b.cast(b.compare("lt", high, zero), "i64")
    threshold = b.add(b.bitwise("shrsi", mask, one), negative)
    over = b.compare("gt", b.bitwise("andi", high, mask), threshold)
    return b.add(b.bitwise("shrsi", high, down), b.cast(over, "i64"))
