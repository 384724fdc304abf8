"""Attention by its definition: scores, softmax, mixture."""

from __future__ import annotations

import numpy as np

from tetrapla.ir.graph import Node
from tetrapla.ir.linalg.elementwise import parameter
from tetrapla.ir.linalg.norm import work_type
from tetrapla.ir.linalg.scalar import Body, Held, Scalar
from tetrapla.ir.linalg.text import Writer, axes_of, places_of, tensor_of
from tetrapla.ir.op import Tensor


def lower_attention(writer: Writer, node: Node, operands: list[Held]) -> Held:
    """The plain form, whatever the block: the tiled one differs by roundings alone."""
    q, k, v, *mask = operands
    y, work = tensor_of(node.result), work_type(q.type.dtype)
    lead, heads = k.type.shape[:-3], k.type.shape[-3]
    group = (*lead, heads, q.type.shape[-3] // heads)
    scores = _product(writer, q, k, group, work, keys_last=True)
    scores = _masked(writer, node, scores, mask)
    dims = axes_of(scores.type.rank)
    rows, axis = dims[:-1], scores.type.rank - 1
    top = writer.folded(scores, {axis}, -np.inf, Body.maximum)
    power = writer.placed(scores.type, _power, [(scores, dims), (top, rows)])
    total = writer.folded(power, {axis}, 0, Body.add)
    weights = writer.placed(scores.type, _share, [(power, dims), (total, rows)])
    mixed = _product(writer, weights, v, group, work, keys_last=False)
    nothing = 0.0 if node.str("masked_rows") == "zero" else np.nan

    def ended(b: Body, a: Scalar, t: Scalar) -> Scalar:
        empty = b.compare("eq", t, b.like(0, t))
        return b.cast(b.select(empty, b.like(nothing, a), a), y.dtype)

    return writer.placed(y, ended, [(mixed, dims), (total, rows)])


def _product(
    writer: Writer, a: Held, b: Held, group: tuple[int, ...], work: str, keys_last: bool
) -> Held:
    """a[.., Hq, L, n] with b[.., Hk, S, n] over n, or b[.., Hk, n, m] over n."""
    *_, rows, _ = a.type.shape
    a = writer.reshaped(a, (*group, *a.type.shape[-2:]))
    n = b.type.shape[-2] if keys_last else b.type.shape[-1]
    rank = len(group)
    outer, inner = axes_of(rank), axes_of(rank + 3)[rank:]
    # the last loop runs along the result's rows
    m, k, column = inner
    shared = [*outer[:-1], *((column, k) if keys_last else (k, column))]
    summed = writer.generic(
        [(a, [*outer, m, k]), (b, shared)],
        writer.filled(0, Tensor((*group, rows, n), work)),
        [*outer, m, column],
        rank + 3,
        lambda body, x, z, held: body.add(
            held, body.mul(body.cast(x, work), body.cast(z, work))
        ),
    )
    return writer.reshaped(summed, (*group[:-2], group[-2] * group[-1], rows, n))


def _masked(writer: Writer, node: Node, scores: Held, mask: list[Held]) -> Held:
    dims = axes_of(scores.type.rank)
    rank = scores.type.rank

    def hidden(b: Body, a: Scalar, *masks: Scalar) -> Scalar:
        a = b.mul(a, b.like(parameter(node, "scale"), a))
        never = b.like(-np.inf, a)
        for each in masks:
            seen = each.dtype == "i1"
            a = b.select(each, a, never) if seen else b.add(a, b.cast(each, a.dtype))
        if node.int("causal"):
            reach = b.affine(f"d0 + {node.int('causal_offset')}", b.index(rank - 2))
            a = b.select(b.compare("gt", b.index(rank - 1), reach), never, a)
        return a

    placed = [(held, places_of(held.type.shape, dims)) for held in (scores, *mask)]
    return writer.placed(scores.type, hidden, placed)


def _power(b: Body, a: Scalar, top: Scalar) -> Scalar:
    """Above the largest score, or above 0 for a row that sees nothing."""
    empty = b.compare("eq", top, b.like(-np.inf, top))
    return b.math("exp", b.sub(a, b.select(empty, b.like(0, top), top)))


def _share(b: Body, a: Scalar, total: Scalar) -> Scalar:
    empty = b.compare("eq", total, b.like(0, total))
    return b.div(a, b.select(empty, b.like(1, total), total))
