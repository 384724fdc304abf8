"""The largest or smallest numbers along an axis, and where they stand."""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import IntegerAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.check import NUMBERS, element_types, flag, one_axis
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.precision import is_float, work_type
from tetrapla.ir.nn.work import PerElement
from tetrapla.ir.op import Tensor, require


class TopK(PerElement, dialect=Nn, name="top_k", traits=[Pure]):
    """The k largest (or smallest) numbers along an axis, sorted, and their places as i64.

    Of equal numbers the one that stands first comes first. NaN counts as larger than infinity.

    Constraints:
        C1: the axis lies in ``-rank .. rank - 1``.
        C2: the elements are numbers.
        C3: k lies in 0 .. the size of the axis.
        C4: largest is 0 or 1.
    """

    x: Operand[RankedTensorType]
    values: Result[RankedTensorType]
    indices: Result[RankedTensorType]
    k: IntegerAttr
    axis: IntegerAttr
    largest: IntegerAttr

    @staticmethod
    def infer(x: Tensor, *, k: int, axis: int, largest: int) -> tuple[Tensor, Tensor]:
        found = one_axis("nn.top_k C1", axis, x)
        element_types("nn.top_k C2", NUMBERS, x)
        size = x.shape[found]
        require(
            0 <= k <= size, f"nn.top_k C3: k must lie in 0..{size}, axis {axis} of {x}, not {k}"
        )
        flag("nn.top_k C4", "largest", largest)
        shape = (*x.shape[:found], k, *x.shape[found + 1 :])
        return Tensor(shape, x.dtype), Tensor(shape, "i64")

    @staticmethod
    def evaluate(x: Array, *, k: int, axis: int, largest: int) -> tuple[Array, Array]:
        rows = np.moveaxis(x, axis, -1)
        keys = rows.astype(work_type(x.dtype), copy=False) if is_float(x.dtype) else rows
        if largest:
            # backwards, so that of equal numbers the first stands last, and is taken first
            back = np.argsort(keys[..., ::-1], axis=-1, kind="stable")
            order = x.shape[axis] - 1 - back[..., ::-1][..., :k]
        else:
            order = np.argsort(keys, axis=-1, kind="stable")[..., :k]
        values = np.take_along_axis(rows, order, axis=-1)
        return (
            np.ascontiguousarray(np.moveaxis(values, -1, axis)),
            np.ascontiguousarray(np.moveaxis(order, -1, axis), np.int64),
        )

    example = (Tensor((2, 5), "f32"),), {"k": 3, "axis": -1, "largest": 1}
