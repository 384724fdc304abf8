"""Values put in places named by indices: the inverse of the gathers.

With reduction none, of several updates of one place the last in row-major order stays (ONNX
leaves it open). The other reductions combine them with what is there, in that order.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.mlir import (
    IntegerAttr,
    Operand,
    Pure,
    RankedTensorType,
    Result,
    StringAttr,
)
from tetrapla.ir.nn.check import INDICES, NUMBERS, element_types, equal_types
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.gather import along_axis, elements, tuples
from tetrapla.ir.nn.precision import rounded, work_type
from tetrapla.ir.op import Op, Tensor, require

REDUCTIONS = ("none", "add", "mul", "max", "min")
_AT: dict[str, Callable[[Array, Any, Array], None]] = {
    "add": np.add.at,
    "mul": np.multiply.at,
    "max": np.maximum.at,
    "min": np.minimum.at,
}


class Scatter(Op):
    """A copy of x with updates."""

    @classmethod
    def flops(
        cls,
        operands: Sequence[Value],
        results: Sequence[Value],
        attributes: Mapping[str, Attribute],
    ) -> int | None:
        """One per update; those of reduction none count too, which is an upper bound."""
        del results, attributes
        return operands[2].elements


class ScatterElements(Scatter, dialect=Nn, name="scatter_elements", traits=[Pure]):
    """``y = x`` but ``y[indices[i, j], j] = updates[i, j]`` for axis 0, and so on.

    Constraints:
        C1: the axis lies in ``-rank .. rank - 1``.
        C2: the indices are i32 or i64.
        C3: the indices have x's rank and are nowhere larger but along the axis.
        C4: the updates have the indices' shape and x's element type.
        C5: reduction is none, add, mul, max or min; all but none take numbers.
    """

    x: Operand[RankedTensorType]
    indices: Operand[RankedTensorType]
    updates: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    axis: IntegerAttr
    reduction: StringAttr

    @staticmethod
    def infer(
        x: Tensor, indices: Tensor, updates: Tensor, *, axis: int, reduction: str
    ) -> Tensor:
        kind = "nn.scatter_elements"
        along_axis(kind, x, indices, axis)
        _check_updates(kind, x, updates, indices.shape, reduction)
        return x

    @staticmethod
    def evaluate(
        x: Array, indices: Array, updates: Array, *, axis: int, reduction: str
    ) -> Array:
        place = elements("nn.scatter_elements", x.shape, indices, axis)
        return _updated(x, place, updates, reduction)

    example = (
        (Tensor((9, 4), "f32"), Tensor((2, 3), "i64"), Tensor((2, 3), "f32")),
        {"axis": 0, "reduction": "add"},
    )


class ScatterNd(Scatter, dialect=Nn, name="scatter_nd", traits=[Pure]):
    """``y = x`` but ``y[*indices[i]] = updates[i]``: an index per axis in the last axis.

    The constraints have the numbers of nn.scatter_elements, which has one more.

    Constraints:
        C1: the indices are i32 or i64 and have rank 1 or more.
        C3: ``indices.shape[-1]`` is at least 1 and at most x's rank.
        C4: the updates have shape ``indices.shape[:-1]`` and then x's remaining axes, and x's
            element type.
        C5: reduction is none, add, mul, max or min; all but none take numbers.
    """

    x: Operand[RankedTensorType]
    indices: Operand[RankedTensorType]
    updates: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    reduction: StringAttr

    @staticmethod
    def infer(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str) -> Tensor:
        kind = "nn.scatter_nd"
        element_types(f"{kind} C1", INDICES, indices)
        require(indices.rank >= 1, f"{kind} C1: the indices need rank 1, not {indices}")
        named = indices.shape[-1]
        require(
            1 <= named <= x.rank,
            f"{kind} C3: the indices must name 1 to {x.rank} axes of {x}, not {named}",
        )
        shape = (*indices.shape[:-1], *x.shape[named:])
        _check_updates(kind, x, updates, shape, reduction)
        return x

    @staticmethod
    def evaluate(x: Array, indices: Array, updates: Array, *, reduction: str) -> Array:
        place = tuples("nn.scatter_nd", x.shape, indices)
        return _updated(x, place, updates, reduction)

    example = (
        (Tensor((9, 4), "f32"), Tensor((2, 1), "i64"), Tensor((2, 4), "f32")),
        {"reduction": "none"},
    )


def _updated(x: Array, place: tuple[Array, ...], updates: Array, reduction: str) -> Array:
    if reduction == "none":
        y = x.copy()
        y[place] = updates
        return y
    work = work_type(x.dtype)
    wide = x.astype(work)
    _AT[reduction](wide, place, updates.astype(work, copy=False))
    return rounded(wide, x.dtype)


def _check_updates(
    kind: str, x: Tensor, updates: Tensor, shape: tuple[int, ...], reduction: str
) -> None:
    require(
        updates.shape == shape, f"{kind} C4: updates must have shape {shape}, not {updates}"
    )
    equal_types(f"{kind} C4", x, updates)
    require(
        reduction in REDUCTIONS,
        f"{kind} C5: reduction must be one of {', '.join(REDUCTIONS)}, not {reduction!r}",
    )
    if reduction != "none":
        element_types(f"{kind} C5", NUMBERS, x)
