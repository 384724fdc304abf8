"""Folds over axes: sums and the like, their running form, and where the largest stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tetrapla.ir.graph import Node
from tetrapla.ir.linalg.element import highest, is_float, is_unsigned, lowest
from tetrapla.ir.linalg.scalar import Body, Held, Scalar
from tetrapla.ir.linalg.text import Writer, axes_of, tensor_of
from tetrapla.ir.op import Tensor


class Fold(NamedTuple):
    """`step` from what there is and an element, in f64 for floats; `end` from that and n."""

    start: Callable[[str], float]
    step: Callable[[Body, Scalar, Scalar], Scalar]
    end: Callable[[Body, Scalar, int], Scalar]


def lower_reduction(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """A fold, then its end in a second loop nest."""
    (x,), fold, y = operands, FOLDS[node.kind], tensor_of(node.result)
    axes = {axis % x.type.rank for axis in node.ints("axes")}
    dtype = "f64" if is_float(x.type.dtype) else x.type.dtype
    total = writer.folded(
        x,
        axes,
        fold.start(dtype),
        lambda b, held, element: fold.step(b, held, b.cast(element, dtype)),
        dtype,
    )
    n = prod(x.type.shape[axis] for axis in axes)
    ended = writer.elementwise(
        total.type._replace(dtype=y.dtype),
        lambda b, held: b.cast(fold.end(b, held, n), y.dtype),
        total,
    )
    return writer.reshaped(ended, y.shape)


def lower_extreme_place(predicate: str) -> Callable[[Writer, Node, list[Held]], Held]:
    """Where the first element stands that no other exceeds; the first NaN, if there is one."""

    def lower(writer: Writer, node: Node, operands: list[Held]) -> Held:
        (x,) = operands
        found = _extreme_place(writer, x, node.int("axis") % x.type.rank, predicate)
        return writer.reshaped(found, node.result.shape)

    return lower


def _extreme_place(writer: Writer, x: Held, axis: int, predicate: str) -> Held:
    sizes = tuple(s for i, s in enumerate(x.type.shape) if i != axis)

    def place(b: Body, at: Sequence[Scalar]) -> Scalar:
        def element(i: Scalar) -> Scalar:
            return b.at(x, [*at[:axis], i, *at[axis:]])

        def step(i: Scalar, held: Sequence[Scalar]) -> list[Scalar]:
            (best,) = held
            new, old = element(i), element(best)
            wins = b.compare(predicate, new, old)
            if is_float(x.type.dtype):
                late = b.bitwise("andi", b.is_nan(new), b.compare("eq", old, old))
                wins = b.bitwise("ori", wins, late)
            return [b.select(wins, i, best)]

        (found,) = b.loop(0, x.type.shape[axis], [b.number(0, "index")], step)
        return b.cast(found, "i64")

    return writer.gathered(Tensor(sizes, "i64"), place)


def lower_cumulative_sum(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """Each element sums its own prefix, in the order of the axis."""
    (x,) = operands
    axis = node.int("axis") % x.type.rank
    dtype = "f64" if is_float(x.type.dtype) else x.type.dtype

    def prefix(b: Body, at: Sequence[Scalar]) -> Scalar:
        def step(i: Scalar, held: Sequence[Scalar]) -> list[Scalar]:
            element = b.at(x, [*at[:axis], i, *at[axis + 1 :]])
            return [b.add(held[0], b.cast(element, dtype))]

        behind = b.affine("d0 + 1", at[axis])
        (total,) = b.loop(0, behind, [b.number(0, dtype)], step)
        return b.cast(total, x.type.dtype)

    return writer.gathered(x.type, prefix)


def lower_log_sum_exp(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """In f64, above the largest; where that is not finite, above 0."""
    (x,), y = operands, tensor_of(node.result)
    axes = {axis % x.type.rank for axis in node.ints("axes")}
    dims = axes_of(x.type.rank)
    kept = [dim for axis, dim in enumerate(dims) if axis not in axes]
    wide = writer.cast(x, "f64")
    top = writer.folded(wide, axes, -np.inf, Body.maximum)

    def origin(b: Body, a: Scalar) -> Scalar:
        finite = b.compare("lt", b.math("absf", a), b.like(np.inf, a))
        return b.select(finite, a, b.like(0, a))

    base = writer.elementwise(top.type, origin, top)
    power = writer.placed(
        wide.type, lambda b, a, o: b.math("exp", b.sub(a, o)), [(wide, dims), (base, kept)]
    )
    total = writer.folded(power, axes, 0, Body.add)
    ended = writer.elementwise(
        base.type._replace(dtype=y.dtype),
        lambda b, o, t: b.cast(b.add(o, b.math("log", t)), y.dtype),
        *(base, total),
    )
    return writer.reshaped(ended, y.shape)


def lower_hardmax(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """1 where the first of the largest stands."""
    (x,) = operands
    axis = node.int("axis") % x.type.rank
    first = _extreme_place(writer, x, axis, "gt")

    def on(b: Body, at: Sequence[Scalar]) -> Scalar:
        place = b.at(first, [*at[:axis], *at[axis + 1 :]])
        here = b.compare("eq", place, b.cast(at[axis], "i64"))
        return b.select(here, b.number(1, x.type.dtype), b.number(0, x.type.dtype))

    return writer.gathered(x.type, on)


def _sum_of(function: Callable[[Body, Scalar], Scalar]) -> Callable[..., Scalar]:
    def step(b: Body, total: Scalar, x: Scalar) -> Scalar:
        return b.add(total, function(b, x))

    return step


def _square(b: Body, x: Scalar) -> Scalar:
    return b.mul(x, x)


def _zero(dtype: str) -> float:
    del dtype
    return 0


def _one(dtype: str) -> float:
    del dtype
    return 1


def _whole(b: Body, total: Scalar, n: int) -> Scalar:
    del b, n
    return total


def magnitude(b: Body, x: Scalar) -> Scalar:
    """``|x|``; the smallest integer stays itself."""
    if is_float(x.dtype):
        return b.math("absf", x)
    if is_unsigned(x.dtype):
        return x
    return b.select(b.compare("lt", x, b.like(0, x)), b.negative(x), x)


def _mean(b: Body, total: Scalar, n: int) -> Scalar:
    return b.div(total, b.like(n, total))


def _root(b: Body, total: Scalar, n: int) -> Scalar:
    del n
    return b.math("sqrt", total)


FOLDS: Mapping[str, Fold] = MappingProxyType(
    {
        "nn.reduce_l1": Fold(_zero, _sum_of(magnitude), _whole),
        "nn.reduce_l2": Fold(_zero, _sum_of(_square), _root),
        "nn.reduce_max": Fold(lowest, Body.maximum, _whole),
        "nn.reduce_mean": Fold(_zero, Body.add, _mean),
        "nn.reduce_min": Fold(highest, Body.minimum, _whole),
        "nn.reduce_prod": Fold(_one, Body.mul, _whole),
        "nn.reduce_sum": Fold(_zero, Body.add, _whole),
        "nn.reduce_sum_square": Fold(_zero, _sum_of(_square), _whole),
    }
)
