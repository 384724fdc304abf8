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
from tetrapla.ir.nn.precision import is_float, rounded
from tetrapla.ir.nn.work import PerElement
from tetrapla.ir.op import Op, Tensor, require


class Reduction(PerElement, traits=[Pure]):
    """One number from those along the axes; `function` says which. No axis: each from itself.

    Constraints:
        C1: each axis lies in ``-rank .. rank - 1``, and they differ.
        C2: keepdims is 0 or 1 (the reduced axes stay with size 1).
        C3: the element type is one that the function accepts.
        C4: where nothing has no result (the mean), no reduced axis is empty.
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
        wide = x.astype(np.float64) if is_float(x.dtype) else x
        y = rounded(np.asarray(cls.function(wide, tuple(axes))), x.dtype)
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
    """The largest, NaN if there is one; of nothing the smallest there is; or of truths.

    0 is larger than -0, so that the order of the numbers does not show.
    """

    accepted = (*NUMBERS, "i1")

    @staticmethod
    def function(x: Array, axes: tuple[int, ...]) -> Any:
        y = x.max(axis=axes, keepdims=True, initial=extremes(x.dtype)[0])
        return _with_zeros(y, x, axes, 0.0)


class ReduceMin(Reduction, dialect=Nn, name="reduce_min"):
    """The smallest, NaN if there is one; of nothing the largest there is; and of truths.

    -0 is smaller than 0, so that the order of the numbers does not show.
    """

    accepted = (*NUMBERS, "i1")

    @staticmethod
    def function(x: Array, axes: tuple[int, ...]) -> Any:
        y = x.min(axis=axes, keepdims=True, initial=extremes(x.dtype)[1])
        return _with_zeros(y, x, axes, -0.0)


class ReduceProd(Reduction, dialect=Nn, name="reduce_prod"):
    """The product."""

    @staticmethod
    def function(x: Array, axes: tuple[int, ...]) -> Any:
        return x.prod(axis=axes, keepdims=True, dtype=x.dtype)


class ReduceSumSquare(Reduction, dialect=Nn, name="reduce_sum_square"):
    """The sum of the squares."""

    per_element = 2  # square, sum

    @staticmethod
    def function(x: Array, axes: tuple[int, ...]) -> Any:
        return (x * x).sum(axis=axes, keepdims=True, dtype=x.dtype)


class ReduceL2(Reduction, dialect=Nn, name="reduce_l2"):
    """The root of the sum of the squares of floats."""

    per_element = 2  # square, sum

    accepted = FLOATS

    @staticmethod
    def function(x: Array, axes: tuple[int, ...]) -> Any:
        return np.sqrt((x * x).sum(axis=axes, keepdims=True))


class ReduceL1(Reduction, dialect=Nn, name="reduce_l1"):
    """The sum of the magnitudes."""

    per_element = 2  # magnitude, sum

    @staticmethod
    def function(x: Array, axes: tuple[int, ...]) -> Any:
        return np.abs(x).sum(axis=axes, keepdims=True, dtype=x.dtype)


class ReduceLogSumExp(Reduction, dialect=Nn, name="reduce_log_sum_exp"):
    """``log(sum(exp(x)))`` of floats, without overflow; of nothing minus infinity."""

    per_element = 4  # comparison, difference, exponential, sum

    accepted = FLOATS

    @staticmethod
    def function(x: Array, axes: tuple[int, ...]) -> Any:
        top = x.max(axis=axes, keepdims=True, initial=-np.inf)
        origin = np.where(np.isfinite(top), top, 0)
        with np.errstate(divide="ignore"):
            return origin + np.log(np.exp(x - origin).sum(axis=axes, keepdims=True))


class ArgExtreme(PerElement, traits=[Pure]):
    """Where the extreme number along an axis stands, as i64; of equal ones the first.

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
    def function(x: Array, axis: int) -> Any:
        """The place along the axis, which goes."""
        raise NotImplementedError

    @classmethod
    def infer(cls, x: Tensor, *, axis: int, keepdims: int) -> Tensor:
        kind = cls.OPERATION_NAME
        found = one_axis(f"{kind} C1", axis, x)
        flag(f"{kind} C2", "keepdims", keepdims)
        element_types(f"{kind} C3", NUMBERS, x)
        require(x.shape[found] > 0, f"{kind} C4: axis {axis} of {x} must not be empty, not 0")
        kept = (1,) if keepdims else ()
        return Tensor((*x.shape[:found], *kept, *x.shape[found + 1 :]), "i64")

    @classmethod
    def evaluate(cls, x: Array, *, axis: int, keepdims: int) -> Array:
        place = np.asarray(cls.function(x, axis), np.int64)
        return np.expand_dims(place, axis) if keepdims else place

    example = (Tensor((2, 3, 4), "f32"),), {"axis": 1, "keepdims": 0}


class ArgMin(ArgExtreme, dialect=Nn, name="arg_min"):
    """Where the smallest number along an axis stands."""

    @staticmethod
    def function(x: Array, axis: int) -> Any:
        return x.argmin(axis=axis)


class ArgMax(ArgExtreme, dialect=Nn, name="arg_max"):
    """Where the largest number along an axis stands."""

    @staticmethod
    def function(x: Array, axis: int) -> Any:
        return x.argmax(axis=axis)


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
        wide = x.astype(np.float64) if is_float(x.dtype) else x
        return rounded(np.asarray(wide.cumsum(axis=axis, dtype=wide.dtype)), x.dtype)

    example = (Tensor((2, 3, 4), "f32"),), {"axis": -2}


def _with_zeros(y: Array, x: Array, axes: tuple[int, ...], winner: float) -> Array:
    """Extremes in which a zero is the winner's wherever one is among the numbers."""
    if x.dtype != np.float64 or not (y == 0).any():
        return y
    there = (x == 0) & (np.signbit(x) == np.signbit(winner))
    found = there.any(axis=axes, keepdims=True)
    return np.where(y == 0, np.where(found, winner, -winner), y)


def extremes(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """The smallest and the largest value of a type."""
    if is_float(dtype):
        return -np.inf, np.inf
    if dtype == np.bool_:
        return False, True
    bounds = np.iinfo(dtype)
    return int(bounds.min), int(bounds.max)
