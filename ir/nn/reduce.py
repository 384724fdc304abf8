"""Reductions over axes.

Floats are accumulated in float64 and rounded once, so the order of the sum does not show;
integers wrap at their own width.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import ArrayAttr, IntegerAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.check import (
    FLOATS,
    NUMBERS,
    element_types,
    flag,
    one_axis,
    several_axes,
)
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.op import Op, Tensor, require


class Reduction(Op, traits=[Pure]):
    """One number from those along the axes; `function` says which. No axis: each from itself.

    Constraints:
        C1: each axis lies in ``-rank .. rank - 1``, and they differ.
        C2: keepdims is 0 or 1 (the reduced axes stay with size 1).
        C3: the element type is one that the function accepts.
        C4: where nothing has no result (mean, max, min), no reduced axis is empty.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    axes: ArrayAttr
    keepdims: IntegerAttr
    if TYPE_CHECKING:  # an annotation that the bindings see would be a field
        accepted: ClassVar[tuple[str, ...]]
        of_nothing: ClassVar[bool]  # whether an empty sum has a value
    else:
        accepted = NUMBERS
        of_nothing = True

    @staticmethod
    def function(x: Array, axes: tuple[int, ...]) -> Any:
        """The value along `axes`, which stay with size 1; floats come as float64."""
        raise NotImplementedError

    @classmethod
    def infer(cls, x: Tensor, *, axes: tuple[int, ...], keepdims: int) -> Tensor:
        kind = cls.OPERATION_NAME
        found = several_axes(f"{kind} C1", axes, x)
        flag(f"{kind} C2", "keepdims", keepdims)
        element_types(f"{kind} C3", cls.accepted, x)
        require(
            cls.of_nothing or all(x.shape[axis] for axis in found),
            f"{kind} C4: reduced axes must not be empty, not {tuple(axes)} of {x}",
        )
        sizes = [1 if axis in found else size for axis, size in enumerate(x.shape)]
        if not keepdims:
            sizes = [size for axis, size in enumerate(sizes) if axis not in found]
        return Tensor(tuple(sizes), x.dtype)

    @classmethod
    def evaluate(cls, x: Array, *, axes: tuple[int, ...], keepdims: int) -> Array:
        wide = x.astype(np.float64) if x.dtype.kind == "f" else x
        y = np.asarray(cls.function(wide, tuple(axes))).astype(x.dtype)
        return y if keepdims else np.squeeze(y, axis=tuple(axes))

    example = (Tensor((2, 3, 4), "f32"),), {"axes": (-1, 0), "keepdims": 1}


class ReduceSum(Reduction, dialect=Nn, name="reduce_sum"):
    """The sum."""

    @staticmethod
    def function(x: Array, axes: tuple[int, ...]) -> Any:
        return x.sum(axis=axes, keepdims=True, dtype=x.dtype)


class ReduceMean(Reduction, dialect=Nn, name="reduce_mean"):
    """The mean of floats."""

    accepted = FLOATS
    of_nothing = False

    @staticmethod
    def function(x: Array, axes: tuple[int, ...]) -> Any:
        return x.mean(axis=axes, keepdims=True)


class ReduceMax(Reduction, dialect=Nn, name="reduce_max"):
    """The largest; NaN if there is one."""

    of_nothing = False

    @staticmethod
    def function(x: Array, axes: tuple[int, ...]) -> Any:
        return x.max(axis=axes, keepdims=True)


class ReduceMin(Reduction, dialect=Nn, name="reduce_min"):
    """The smallest; NaN if there is one."""

    of_nothing = False

    @staticmethod
    def function(x: Array, axes: tuple[int, ...]) -> Any:
        return x.min(axis=axes, keepdims=True)


class ReduceProd(Reduction, dialect=Nn, name="reduce_prod"):
    """The product."""

    @staticmethod
    def function(x: Array, axes: tuple[int, ...]) -> Any:
        return x.prod(axis=axes, keepdims=True, dtype=x.dtype)


class ReduceSumSquare(Reduction, dialect=Nn, name="reduce_sum_square"):
    """The sum of the squares."""

    @staticmethod
    def function(x: Array, axes: tuple[int, ...]) -> Any:
        return (x * x).sum(axis=axes, keepdims=True, dtype=x.dtype)


class ReduceL2(Reduction, dialect=Nn, name="reduce_l2"):
    """The root of the sum of the squares of floats."""

    accepted = FLOATS

    @staticmethod
    def function(x: Array, axes: tuple[int, ...]) -> Any:
        return np.sqrt((x * x).sum(axis=axes, keepdims=True))


class ArgMax(Op, dialect=Nn, name="arg_max", traits=[Pure]):
    """Where the largest number along an axis stands, as i64; of equal ones the first.

    Constraints:
        C1: the axis lies in ``-rank .. rank - 1``.
        C2: keepdims is 0 or 1.
        C3: the elements are numbers.
        C4: the axis is not empty.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    axis: IntegerAttr
    keepdims: IntegerAttr

    @staticmethod
    def infer(x: Tensor, *, axis: int, keepdims: int) -> Tensor:
        found = one_axis("nn.arg_max C1", axis, x)
        flag("nn.arg_max C2", "keepdims", keepdims)
        element_types("nn.arg_max C3", NUMBERS, x)
        require(
            x.shape[found] > 0, f"nn.arg_max C4: axis {axis} of {x} must not be empty, not 0"
        )
        kept = (1,) if keepdims else ()
        return Tensor((*x.shape[:found], *kept, *x.shape[found + 1 :]), "i64")

    @staticmethod
    def evaluate(x: Array, *, axis: int, keepdims: int) -> Array:
        place = x.argmax(axis=axis, keepdims=bool(keepdims))
        return np.asarray(place, np.int64)

    example = (Tensor((2, 3, 4), "f32"),), {"axis": 1, "keepdims": 0}


class CumulativeSum(Op, dialect=Nn, name="cumulative_sum", traits=[Pure]):
    """The sum of the numbers up to each one along an axis, itself included.

    Constraints:
        C1: the axis lies in ``-rank .. rank - 1``.
        C2: the elements are numbers.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    axis: IntegerAttr

    @staticmethod
    def infer(x: Tensor, *, axis: int) -> Tensor:
        one_axis("nn.cumulative_sum C1", axis, x)
        element_types("nn.cumulative_sum C2", NUMBERS, x)
        return x

    @staticmethod
    def evaluate(x: Array, *, axis: int) -> Array:
        dtype = np.dtype(np.float64) if x.dtype.kind == "f" else x.dtype
        return np.asarray(x.cumsum(axis=axis, dtype=dtype)).astype(x.dtype)

    example = (Tensor((2, 3, 4), "f32"),), {"axis": -2}
