"""Operators that place values: each element of the result is read where it comes from."""

from __future__ import annotations

from collections.abc import Sequence

from tetrapla.ir.graph import Node
from tetrapla.ir.linalg.scalar import Body, Held, Scalar
from tetrapla.ir.linalg.text import Writer, tensor_of
from tetrapla.ir.op import Tensor


def lower_reshape(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """Another view of the same memory."""
    return writer.reshaped(operands[0], node.result.shape)


def lower_transpose(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """Read along other axes."""
    perm = node.ints("perm")
    places = [f"d{perm.index(axis)}" for axis in range(len(perm))]
    return writer.placed(tensor_of(node.result), lambda b, a: a, [(operands[0], places)])


def lower_slice(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """Every few values, forwards or backwards."""
    (x,) = operands
    lines = list(zip(node.ints("starts"), node.ints("steps"), strict=True))

    def read(b: Body, at: Sequence[Scalar]) -> Scalar:
        return b.at(
            x,
            [b.affine(f"{s} + d0 * {t}", i) for (s, t), i in zip(lines, at, strict=True)],
        )

    return writer.gathered(tensor_of(node.result), read)


def lower_concat(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """One behind the other along an axis."""
    first, second = operands
    return joined(writer, first, second, node.int("axis") % first.type.rank)


def joined(writer: Writer, first: Held, second: Held, axis: int) -> Held:
    """Both are read, each at a place of its own, and one is taken."""
    size, more = first.type.shape[axis], second.type.shape[axis]
    shape = (*first.type.shape[:axis], size + more, *first.type.shape[axis + 1 :])

    def read(b: Body, at: Sequence[Scalar]) -> Scalar:
        i = at[axis]
        left = b.minimum(i, b.number(size - 1, "index"))
        right = b.maximum(b.affine(f"d0 - {size}", i), b.number(0, "index"))
        taken = [b.at(first, [*at[:axis], left, *at[axis + 1 :]])]
        taken.append(b.at(second, [*at[:axis], right, *at[axis + 1 :]]))
        return b.select(b.compare("lt", i, b.number(size, "index")), *taken)

    return writer.gathered(first.type._replace(shape=shape), read)


def padded(
    writer: Writer,
    x: Held,
    before: Sequence[int],
    behind: Sequence[int],
    fill: float,
) -> Held:
    """`x` with that many more numbers `fill` on each side of each axis."""
    if not any((*before, *behind)):
        return x
    sizes = x.type.shape
    grown = tuple(b + s + e for b, s, e in zip(before, sizes, behind, strict=True))

    def read(b: Body, at: Sequence[Scalar]) -> Scalar:
        places: list[Scalar] = []
        inside = b.number(1, "i1")
        for i, size, more, less in zip(at, sizes, before, behind, strict=True):
            if not (more or less):
                places.append(i)
                continue
            shifted = b.affine(f"d0 - {more}", i)
            zero = b.like(0, i)
            place = b.minimum(b.maximum(shifted, zero), b.like(size - 1, i))
            inside = b.bitwise("andi", inside, b.compare("eq", shifted, place))
            places.append(place)
        number = b.number(fill, x.type.dtype)
        return b.select(inside, b.at(x, places), number)

    return writer.gathered(Tensor(grown, x.type.dtype), read)


def spaced(
    writer: Writer, x: Held, strides: Sequence[int], before: Sequence[int], sizes: Sequence[int]
) -> Held:
    """x[N,C,...] with zeros between and around; `before` many, which may be negative."""

    def read(b: Body, at: Sequence[Scalar]) -> Scalar:
        places, inside = list(at[:2]), b.number(1, "i1")
        for i, stride, more, size in zip(
            at[2:], strides, before, x.type.shape[2:], strict=True
        ):
            place = b.affine(f"(d0 - {more}) floordiv {stride}", i)
            rest = b.affine(f"(d0 - {more}) mod {stride}", i)
            zero = b.like(0, i)
            held = b.minimum(b.maximum(place, zero), b.like(size - 1, i))
            here = b.bitwise("andi", b.compare("eq", place, held), b.compare("eq", rest, zero))
            inside = b.bitwise("andi", inside, here)
            places.append(held)
        return b.select(inside, b.at(x, places), b.number(0, x.type.dtype))

    return writer.gathered(Tensor((*x.type.shape[:2], *sizes), x.type.dtype), read)
