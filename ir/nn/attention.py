"""Scaled dot-product attention, plain and over tiles of keys.

The tiled form is the online softmax: M. Milakov, N. Gimelshein, "Online normalizer calculation
for softmax", 2018, algorithm 3; with the values summed along the way as in T. Dao et al.,
"FlashAttention", NeurIPS 2022, algorithm 1. Both forms compute in float32 (float64 for f64) and
round the result once; they differ by roundings alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.mlir import (
    FloatAttr,
    IntegerAttr,
    Operand,
    Pure,
    RankedTensorType,
    Result,
    StringAttr,
)
from tetrapla.ir.nn.check import FLOATS, broadcast_all, element_types, equal_types, flag
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.precision import rounded, work_type
from tetrapla.ir.op import Op, Tensor, require

MASKED_ROWS = ("nan", "zero")


class Attention(Op, dialect=Nn, name="attention", traits=[Pure]):
    """``softmax(scale q kT + mask) v``: q[..., Hq, L, D], k[..., Hk, S, D], v[..., Hk, S, Dv].

    Query head h reads key head ``h // (Hq / Hk)`` (grouped queries; Hk = 1 is multi-query).
    A mask of i1 hides keys where it is false, a mask of floats is added to the scaled scores;
    with `causal`, query i sees the keys up to ``i + causal_offset`` only. A query that sees no
    key has no softmax: its row is NaN, or 0 where masked_rows is zero (ONNX from opset 26 on).
    A `block` above 0 is the number of keys in a tile of the online softmax, 0 the plain form.

    Constraints:
        C1: q, k and v have one rank, 3 or more.
        C2: the element types of q, k and v are equal, and a float.
        C3: q, k and v agree on the leading axes, q and k on D, k and v on heads and keys.
        C4: Hk is at least 1 and divides Hq.
        C5: the mask is i1 or of q's type and broadcasts to [..., Hq, L, S].
        C6: causal is 0 or 1.
        C7: masked_rows is nan or zero.
        C8: block is not negative.
    """

    q: Operand[RankedTensorType]
    k: Operand[RankedTensorType]
    v: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    scale: FloatAttr
    causal: IntegerAttr
    causal_offset: IntegerAttr
    masked_rows: StringAttr
    block: IntegerAttr
    mask: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None = None,
        *,
        scale: float,
        causal: int,
        causal_offset: int,
        masked_rows: str,
        block: int,
    ) -> Tensor:
        kind = "nn.attention"
        _check_shapes(kind, q, k, v)
        if mask is not None:
            _check_mask(kind, mask, Tensor((*q.shape[:-1], k.shape[-2]), q.dtype))
        flag(f"{kind} C6", "causal", causal)
        require(
            masked_rows in MASKED_ROWS,
            f"{kind} C7: masked_rows must be {' or '.join(MASKED_ROWS)}, not {masked_rows!r}",
        )
        require(block >= 0, f"{kind} C8: block must not be negative, not {block}")
        return Tensor((*q.shape[:-1], v.shape[-1]), q.dtype)

    @staticmethod
    def evaluate(
        q: Array,
        k: Array,
        v: Array,
        mask: Array | None = None,
        *,
        scale: float,
        causal: int,
        causal_offset: int,
        masked_rows: str,
        block: int,
    ) -> Array:
        case = _Case(q, k, v, mask, scale, causal_offset if causal else None)
        total, mixed = _tiled(case, block) if block else _plain(case)
        nothing = 0.0 if masked_rows == "zero" else np.nan
        y = np.where(total == 0, mixed.dtype.type(nothing), mixed)
        return rounded(y, q.dtype)

    @staticmethod
    def macs(operands: Sequence[Value], result: Value) -> int:
        """Every query with every key, hidden or not: D for the score, Dv for the mixture."""
        q, _, v = operands[:3]
        return (
            result.elements // max(v.shape[-1], 1) * v.shape[-2] * (q.shape[-1] + v.shape[-1])
        )

    @classmethod
    def flops(
        cls,
        operands: Sequence[Value],
        results: Sequence[Value],
        attributes: Mapping[str, Attribute],
    ) -> int | None:
        """Two for a multiply-accumulate, and for every score six.

        Those are the scale, the comparison with the maximum and the difference to it, the
        exponential, the sum and the quotient; a mask is one more.
        """
        del attributes
        q, k = operands[:2]
        scores = q.elements // max(q.shape[-1], 1) * k.shape[-2]
        return 2 * cls.macs(operands, results[0]) + (6 + len(operands) - 3) * scores

    example = (
        (
            Tensor((1, 4, 3, 8), "f32"),
            Tensor((1, 2, 5, 8), "f32"),
            Tensor((1, 2, 5, 6), "f32"),
            Tensor((3, 5), "f32"),
        ),
        {"scale": 0.35, "causal": 1, "causal_offset": 2, "masked_rows": "zero", "block": 2},
    )


class _Case(NamedTuple):
    q: Array
    k: Array
    v: Array
    mask: Array | None
    scale: float
    last_key: int | None  # that query 0 may see; None where all may see all


def _scores(case: _Case) -> Callable[[int, int], Array]:
    """The scaled and masked scores of the keys from one number up to another."""
    q, k, _, mask, scale, last_key = case
    work = work_type(q.dtype)
    size = (*q.shape[:-1], k.shape[-2])
    queries = _grouped(q.astype(work, copy=False), k.shape[-3])
    keys = k.astype(work, copy=False).swapaxes(-1, -2)
    wide = None if mask is None else np.broadcast_to(mask, size)

    def scores(start: int, stop: int) -> Array:
        found = np.matmul(queries, keys[..., start:stop])
        found = found.reshape(*size[:-1], stop - start) * work.type(np.float32(scale))
        if wide is not None:
            part = wide[..., start:stop]
            hidden = np.array(-np.inf, work)
            found = np.where(part, found, hidden) if part.dtype == bool else found + part
        if last_key is not None:
            late = np.arange(start, stop) > np.arange(size[-2])[:, None] + last_key
            found = np.where(late, np.array(-np.inf, work), found)
        return np.asarray(found, work)

    return scores


def _plain(case: _Case) -> tuple[Array, Array]:
    """The sum of each row's exponentials, and the values mixed by its softmax."""
    scores = _scores(case)(0, case.k.shape[-2])
    power = np.exp(scores - _origin(scores))
    total = power.sum(axis=-1, keepdims=True)
    weights = power / np.where(total == 0, total.dtype.type(1), total)
    return total, _mixed(weights, case.v)


def _tiled(case: _Case, block: int) -> tuple[Array, Array]:
    scores, keys = _scores(case), case.k.shape[-2]
    work = work_type(case.q.dtype)
    rows = case.q.shape[:-1]
    top = np.full((*rows, 1), -np.inf, work)
    total = np.zeros((*rows, 1), work)
    mixed = np.zeros((*rows, case.v.shape[-1]), work)
    for start in range(0, keys, block):
        stop = min(start + block, keys)
        tile = scores(start, stop)
        higher = np.maximum(top, tile.max(axis=-1, keepdims=True))
        origin = np.where(np.isneginf(higher), work.type(0), higher)
        # what was summed so far was relative to the old maximum
        shrink, power = np.exp(top - origin), np.exp(tile - origin)
        total = total * shrink + power.sum(axis=-1, keepdims=True)
        mixed = mixed * shrink + _mixed(power, case.v[..., start:stop, :])
        top = higher
    return total, mixed / np.where(total == 0, work.type(1), total)


def _origin(scores: Array) -> Array:
    """The maximum of each row; 0 for a row that sees nothing."""
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    return np.asarray(np.where(np.isneginf(top), scores.dtype.type(0), top))


def _mixed(weights: Array, v: Array) -> Array:
    """``weights @ v`` for [..., Hq, L, n] and [..., Hk, n, Dv]."""
    product = np.matmul(_grouped(weights, v.shape[-3]), v.astype(weights.dtype, copy=False))
    return np.asarray(product).reshape(*weights.shape[:-1], v.shape[-1])


def _grouped(x: Array, heads: int) -> Array:
    """[..., Hq, L, n] with the queries that read one key head in one matrix."""
    *lead, hq, rows, n = x.shape
    return x.reshape(*lead, heads, hq // heads * rows, n)


def _check_shapes(kind: str, q: Tensor, k: Tensor, v: Tensor) -> None:
    named = f"{q}, {k} and {v}"
    require(
        q.rank == k.rank == v.rank >= 3,
        f"{kind} C1: q, k and v need one rank, 3 or more, not {named}",
    )
    equal_types(f"{kind} C2", q, k, v)
    element_types(f"{kind} C2", FLOATS, q)
    agree = (q.shape[:-3], q.shape[-1]) == (k.shape[:-3], k.shape[-1])
    require(
        agree and k.shape[:-1] == v.shape[:-1],
        f"{kind} C3: q, k and v must have shapes [..., Hq, L, D], [..., Hk, S, D] "
        f"and [..., Hk, S, Dv], not {named}",
    )
    queries, heads = q.shape[-3], k.shape[-3]
    require(
        heads >= 1 and queries % heads == 0,
        f"{kind} C4: key heads must divide the {queries} query heads, not {heads}",
    )


def _check_mask(kind: str, mask: Tensor, scores: Tensor) -> None:
    element_types(f"{kind} C5", ("i1", scores.dtype), mask)
    require(
        broadcast_all(f"{kind} C5", mask, scores) == scores.shape,
        f"{kind} C5: the mask must broadcast to {scores.shape}, not {mask}",
    )
