"""Operators on positions: triangles of matrices, reversed sequences, rotary embeddings."""

from collections.abc import Mapping, Sequence

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.mlir import IntegerAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.check import (
    FLOATS,
    INDICES,
    broadcast_all,
    element_types,
    equal_types,
    flag,
    one_axis,
)
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.precision import rounded, work_type
from tetrapla.ir.nn.work import Moves
from tetrapla.ir.op import Op, Tensor, require


class Trilu(Moves, dialect=Nn, name="trilu", traits=[Pure]):
    """The upper (or lower) triangle of the last two axes from diagonal `k` on, else 0.

    Diagonal 0 is the main one, and higher numbers lie above it.

    Constraints:
        C1: x has rank 2 or more.
        C2: upper is 0 or 1.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    k: IntegerAttr
    upper: IntegerAttr

    @staticmethod
    def infer(x: Tensor, *, k: int, upper: int) -> Tensor:
        require(x.rank >= 2, f"nn.trilu C1: the operand needs rank 2, not {x}")
        flag("nn.trilu C2", "upper", upper)
        return x

    @staticmethod
    def evaluate(x: Array, *, k: int, upper: int) -> Array:
        rows, columns = x.shape[-2:]
        # a k beyond the matrix is as good as its edge, and NumPy takes no larger integers
        k = max(-rows - 1, min(k, columns + 1))
        diagonal = np.arange(columns) - np.arange(rows)[:, None]
        kept = diagonal >= k if upper else diagonal <= k
        return np.where(kept, x, np.zeros((), x.dtype))

    example = (Tensor((2, 3, 4), "f32"),), {"k": 1, "upper": 1}


class ReverseSequence(Moves, dialect=Nn, name="reverse_sequence", traits=[Pure]):
    """Each sequence's first ``lengths[b]`` steps backwards; the rest stays.

    Constraints:
        C1: the two axes lie in ``-rank .. rank - 1`` and differ.
        C2: the lengths are i32 or i64, one per sequence.
    """

    x: Operand[RankedTensorType]
    lengths: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    batch_axis: IntegerAttr
    time_axis: IntegerAttr

    @staticmethod
    def infer(x: Tensor, lengths: Tensor, *, batch_axis: int, time_axis: int) -> Tensor:
        kind = "nn.reverse_sequence"
        batch = one_axis(f"{kind} C1", batch_axis, x)
        require(
            one_axis(f"{kind} C1", time_axis, x) != batch,
            f"{kind} C1: batch_axis and time_axis must differ, "
            f"not {batch_axis} and {time_axis}",
        )
        element_types(f"{kind} C2", INDICES, lengths)
        require(
            lengths.shape == (x.shape[batch],),
            f"{kind} C2: lengths must have shape ({x.shape[batch]},), not {lengths}",
        )
        return x

    @staticmethod
    def evaluate(x: Array, lengths: Array, *, batch_axis: int, time_axis: int) -> Array:
        check_lengths("nn.reverse_sequence", lengths, x.shape[time_axis])
        axes = (time_axis, batch_axis)
        y = reversed_in(np.moveaxis(x, axes, (0, 1)), lengths)
        return np.array(np.moveaxis(y, (0, 1), axes))

    example = (
        (Tensor((9, 2, 3), "f32"), Tensor((2,), "i64")),
        {"batch_axis": 1, "time_axis": 0},
    )


class RotaryEmbedding(Op, dialect=Nn, name="rotary_embedding", traits=[Pure]):
    """Pairs of x[..., D] turned by angles whose cosines and sines are given, [..., h].

    J. Su et al., "RoFormer", 2021, equation 34. The first 2 h values are turned and the rest
    stays; the pairs are (i, h + i), or (2 i, 2 i + 1) where interleaved.

    Constraints:
        C1: cos and sin have one shape, and 2 h is at most D.
        C2: cos broadcasts to [..., h] of x.
        C3: the element types are equal, and a float.
        C4: interleaved is 0 or 1.
    """

    x: Operand[RankedTensorType]
    cos: Operand[RankedTensorType]
    sin: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    interleaved: IntegerAttr

    @staticmethod
    def infer(x: Tensor, cos: Tensor, sin: Tensor, *, interleaved: int) -> Tensor:
        kind = "nn.rotary_embedding"
        require(
            min(x.rank, cos.rank) >= 1
            and cos.shape == sin.shape
            and 2 * cos.shape[-1] <= x.shape[-1],
            f"{kind} C1: cos and sin must have one shape, at most half of {x}, "
            f"not {cos} and {sin}",
        )
        pairs = Tensor((*x.shape[:-1], cos.shape[-1]), x.dtype)
        require(
            broadcast_all(f"{kind} C2", cos, pairs) == pairs.shape,
            f"{kind} C2: cos must broadcast to {pairs.shape}, not {cos}",
        )
        equal_types(f"{kind} C3", x, cos, sin)
        element_types(f"{kind} C3", FLOATS, x)
        flag(f"{kind} C4", "interleaved", interleaved)
        return x

    @staticmethod
    def evaluate(x: Array, cos: Array, sin: Array, *, interleaved: int) -> Array:
        work, h = work_type(x.dtype), cos.shape[-1]
        both = (slice(0, 2 * h, 2), slice(1, 2 * h, 2))
        first, second = both if interleaved else (slice(0, h), slice(h, 2 * h))
        y = x.astype(work)
        real, imaginary = y[..., first].copy(), y[..., second].copy()
        c, s = cos.astype(work, copy=False), sin.astype(work, copy=False)
        y[..., first] = c * real - s * imaginary
        y[..., second] = s * real + c * imaginary
        return rounded(y, x.dtype)

    @classmethod
    def flops(
        cls,
        operands: Sequence[Value],
        results: Sequence[Value],
        attributes: Mapping[str, Attribute],
    ) -> int | None:
        """Four products and two sums for each pair."""
        x, cos = operands[:2]
        del results, attributes
        return 6 * cos.shape[-1] * (x.elements // max(x.shape[-1], 1))

    example = (
        (Tensor((2, 3, 4, 6), "f32"), Tensor((4, 2), "f32"), Tensor((4, 2), "f32")),
        {"interleaved": 0},
    )


def check_lengths(kind: str, lengths: Array, steps: int) -> None:
    """Refuse a sequence shorter than nothing or longer than there are steps.

    Raises:
        ModelError: a type cannot say so, only the data.
    """
    outside = (lengths < 0) | (lengths > steps)
    if outside.any():
        raise ModelError(f"{kind} lengths must lie in 0..{steps}, not {lengths[outside][0]}")


def reversed_in(x: Array, lengths: Array) -> Array:
    """x[T, B, ...] with the first ``lengths[b]`` steps of each sequence backwards."""
    step = np.arange(x.shape[0])[:, None]
    wide = lengths.astype(np.int64)
    source = np.where(step < wide, wide - 1 - step, step)
    return np.asarray(x[source, np.arange(x.shape[1])])
