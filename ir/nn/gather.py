"""Values picked by indices, element by element or by tuples of indices.

A negative index counts from the end; one outside is the reader's error, because a type cannot
say so.
"""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import IntegerAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.check import INDICES, element_types, one_axis, wrapped
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.work import Moves
from tetrapla.ir.op import Tensor, require


class GatherElements(Moves, dialect=Nn, name="gather_elements", traits=[Pure]):
    """``y[i, j] = x[indices[i, j], j]`` for axis 0, and so on for any rank and axis.

    Constraints:
        C1: the axis lies in ``-rank .. rank - 1``.
        C2: the indices are i32 or i64.
        C3: the indices have x's rank and are nowhere larger but along the axis.
    """

    x: Operand[RankedTensorType]
    indices: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    axis: IntegerAttr

    @staticmethod
    def infer(x: Tensor, indices: Tensor, *, axis: int) -> Tensor:
        along_axis("nn.gather_elements", x, indices, axis)
        return Tensor(indices.shape, x.dtype)

    @staticmethod
    def evaluate(x: Array, indices: Array, *, axis: int) -> Array:
        place = elements("nn.gather_elements", x.shape, indices, axis)
        return np.ascontiguousarray(x[place])

    example = (Tensor((3, 9), "f32"), Tensor((2, 3), "i64")), {"axis": 1}


class GatherNd(Moves, dialect=Nn, name="gather_nd", traits=[Pure]):
    """``y[b, i] = x[b, *indices[b, i]]``: the last axis of the indices holds an index per axis.

    The first `batch_dims` axes are gone through together; behind those that the indices name,
    x's axes are taken whole.

    Constraints:
        C1: the indices are i32 or i64 and have rank 1 or more.
        C2: batch_dims is not negative and below both ranks; those axes are equal.
        C3: ``indices.shape[-1]`` is at least 1, and with batch_dims at most x's rank.
    """

    x: Operand[RankedTensorType]
    indices: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    batch_dims: IntegerAttr

    @staticmethod
    def infer(x: Tensor, indices: Tensor, *, batch_dims: int) -> Tensor:
        kind = "nn.gather_nd"
        element_types(f"{kind} C1", INDICES, indices)
        require(indices.rank >= 1, f"{kind} C1: the indices need rank 1, not {indices}")
        require(
            0 <= batch_dims < min(x.rank, indices.rank)
            and x.shape[:batch_dims] == indices.shape[:batch_dims],
            f"{kind} C2: {x} and {indices} must share the first axes, not {batch_dims} of them",
        )
        named = batch_dims + indices.shape[-1]
        require(
            batch_dims < named <= x.rank,
            f"{kind} C3: the indices must name 1 to {x.rank - batch_dims} axes of {x}, "
            f"not {named - batch_dims}",
        )
        return Tensor((*indices.shape[:-1], *x.shape[named:]), x.dtype)

    @staticmethod
    def evaluate(x: Array, indices: Array, *, batch_dims: int) -> Array:
        lead = tuple(
            np.arange(size).reshape(-1, *(1,) * (indices.ndim - 2 - axis))
            for axis, size in enumerate(indices.shape[:batch_dims])
        )
        named = tuples("nn.gather_nd", x.shape[batch_dims:], indices)
        return np.array(x[(*lead, *named)])

    example = (Tensor((2, 9, 3), "f32"), Tensor((2, 4, 1), "i64")), {"batch_dims": 1}


def along_axis(kind: str, x: Tensor, indices: Tensor, axis: int) -> None:
    """Check C1 to C3 of an operator whose indices stand for places along one axis."""
    found = one_axis(f"{kind} C1", axis, x)
    element_types(f"{kind} C2", INDICES, indices)
    fits = indices.rank == x.rank and all(
        n <= m or i == found
        for i, (n, m) in enumerate(zip(indices.shape, x.shape, strict=True))
    )
    require(
        fits,
        f"{kind} C3: the indices must fit {x} on all axes but {axis}, not {indices}",
    )


def elements(kind: str, shape: tuple[int, ...], indices: Array, axis: int) -> tuple[Array, ...]:
    """NumPy's index of every element that the indices name along an axis."""
    place: list[Array] = list(np.indices(indices.shape, sparse=True))
    place[axis] = wrapped(kind, indices, shape[axis])
    return tuple(place)


def tuples(kind: str, shape: tuple[int, ...], indices: Array) -> tuple[Array, ...]:
    """One array of indices per axis named, from their last axis."""
    count = indices.shape[-1]
    return tuple(wrapped(kind, indices[..., i], shape[i]) for i in range(count))
