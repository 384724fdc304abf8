"""The rewrites of `canonicalize` that compute something: an order of axes, a shape, a range.

Each keeps every bit. What needs no computing is PDL text, in `rules_pdl_`.
"""

from __future__ import annotations

import numpy as np

from tetrapla.ir.graph import Node, Value
from tetrapla.passes.edit_ import Edit
from tetrapla.passes.pattern_ import Pattern, pattern

# (q - z) * s / s is within 2^17 * 2^-22 of q - z, as |q - z| < 2^17, so it is rounded to q - z,
# unless a product overflows; no scale in this range, far beyond calibrated ones, makes it
SCALES = 2.0**-100, 2.0**100
INTEGERS = ("i2", "i4", "i8", "i16", "ui2", "ui4", "ui8", "ui16")


@pattern("nn.transpose")
def transposes(edit: Edit, node: Node) -> Value | None:
    """Two orders of axes are one, and the natural order is none."""
    x, perm = node.operands[0], node.ints("perm")
    if perm == tuple(range(len(perm))):
        return x
    inner = edit.maker(x, "nn.transpose")
    if inner is None:
        return None
    first = inner.ints("perm")
    composed = tuple(first[axis] for axis in perm)
    return edit.op("nn.transpose", inner.operands, {"perm": composed})


@pattern("nn.reshape", "nn.expand")
def shapes(edit: Edit, node: Node) -> Value | None:
    """Of two shapes the last one counts, and the shape that x has is none."""
    (x,) = node.operands
    if x.shape == node.result.shape:
        return x
    inner = edit.maker(x, node.kind)
    return None if inner is None else edit.op(node.kind, inner.operands, node.attributes)


@pattern("nn.cast")
def casts(edit: Edit, node: Node) -> Value | None:
    """To the type that x has."""
    del edit
    (x,) = node.operands
    return x if x.dtype == node.result.dtype else None


@pattern("nn.slice")
def slices(edit: Edit, node: Node) -> Value | None:
    """A slice of a slice is one, and a slice of everything is none."""
    (x,) = node.operands
    starts, steps = node.ints("starts"), node.ints("steps")
    if x.shape == node.result.shape and not any(starts) and set(steps) <= {1}:
        return x
    inner = edit.maker(x, "nn.slice")
    if inner is None:
        return None
    outer = zip(inner.ints("starts"), inner.ints("steps"), starts, strict=True)
    attributes = {
        "starts": tuple(first + step * start for first, step, start in outer),
        "sizes": node.ints("sizes"),
        "steps": tuple(a * b for a, b in zip(inner.ints("steps"), steps, strict=True)),
    }
    return edit.op("nn.slice", inner.operands, attributes)


@pattern("qnn.quantize")
def quantised_again(edit: Edit, node: Node) -> Value | None:
    """Integers that become reals and the same integers again."""
    inner = edit.maker(node.operands[0], "qnn.dequantize")
    if inner is None or inner.operands[0].dtype != node.result.dtype:
        return None
    scale, other = (edit.constant(each.operands[1]) for each in (inner, node))
    if scale is None or other is None or not np.array_equal(scale, other):
        return None
    same = all(inner.int(key) == node.int(key) for key in ("zero_point", "axis"))
    low, high = SCALES
    fits = same and bool(((low < scale) & (scale < high)).all())
    return inner.operands[0] if fits and node.result.dtype in INTEGERS else None


RULES: tuple[Pattern, ...] = (transposes, shapes, casts, slices, quantised_again)
