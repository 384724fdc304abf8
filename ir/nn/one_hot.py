"""Places turned into vectors that are on at one place."""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import IntegerAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.check import FLOATS, INDICES, element_types, one_axis
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.op import Op, Tensor, require


class OneHot(Op, dialect=Nn, name="one_hot", traits=[Pure]):
    """A new axis of `depth`: ``values[1]`` at the index, ``values[0]`` elsewhere.

    A negative index counts from the end; one outside is nowhere on.

    Constraints:
        C1: the indices are i32 or i64.
        C2: values has shape (2,).
        C3: depth is at least 1.
        C4: the axis lies in ``-rank .. rank - 1`` of the result.
    """

    indices: Operand[RankedTensorType]
    values: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    depth: IntegerAttr
    axis: IntegerAttr

    @staticmethod
    def infer(indices: Tensor, values: Tensor, *, depth: int, axis: int) -> Tensor:
        kind = "nn.one_hot"
        element_types(f"{kind} C1", INDICES, indices)
        require(values.shape == (2,), f"{kind} C2: values must have shape (2,), not {values}")
        require(depth >= 1, f"{kind} C3: depth must be at least 1, not {depth}")
        result = Tensor((*indices.shape, depth), values.dtype)
        place = one_axis(f"{kind} C4", axis, result)
        shape = (*indices.shape[:place], depth, *indices.shape[place:])
        return Tensor(shape, values.dtype)

    @staticmethod
    def evaluate(indices: Array, values: Array, *, depth: int, axis: int) -> Array:
        wide = np.expand_dims(indices.astype(np.int64), axis)
        wide = np.where(wide < 0, wide + depth, wide)
        known = (wide >= 0) & (wide < depth)
        place = axis % wide.ndim
        shape = (*indices.shape[:place], depth, *indices.shape[place:])
        y = np.full(shape, values[0], values.dtype)
        # an index out of range leaves its whole column at the first value
        np.put_along_axis(y, np.where(known, wide, 0), values[known.astype(np.int64)], place)
        return y

    example = (Tensor((2, 3), "i64"), Tensor((2,), "f32")), {"depth": 9, "axis": -1}


class Hardmax(Op, dialect=Nn, name="hardmax", traits=[Pure]):
    """1 at the first of the largest numbers along an axis, 0 elsewhere.

    Constraints:
        C1: the axis lies in ``-rank .. rank - 1``.
        C2: the element type is a float.
        C3: the axis is not empty.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    axis: IntegerAttr

    @staticmethod
    def infer(x: Tensor, *, axis: int) -> Tensor:
        found = one_axis("nn.hardmax C1", axis, x)
        element_types("nn.hardmax C2", FLOATS, x)
        require(
            x.shape[found] > 0, f"nn.hardmax C3: axis {axis} of {x} must not be empty, not 0"
        )
        return x

    @staticmethod
    def evaluate(x: Array, *, axis: int) -> Array:
        y = np.zeros(x.shape, x.dtype)
        first = np.expand_dims(x.argmax(axis=axis), axis)
        np.put_along_axis(y, first, np.ones((), x.dtype), axis=axis)
        return y

    example = (Tensor((2, 5), "f32"),), {"axis": -1}
