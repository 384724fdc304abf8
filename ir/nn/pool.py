"""Pooling over windows of x[N,C,H,W]."""

from typing import Any

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import ArrayAttr, IntegerAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.check import FLOATS, NUMBERS, element_types
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.linear import window_shape, windows
from tetrapla.ir.nn.precision import is_float, rounded, work_type
from tetrapla.ir.nn.work import PerElement, PerTap
from tetrapla.ir.op import Tensor, require


class MaxPool2d(PerTap, dialect=Nn, name="max_pool2d", traits=[Pure]):
    """Largest value of each window; the padding never wins.

    Constraints:
        C1: x has rank 4.
        C2: kernel has two positive numbers.
        C4, C5: as nn.conv2d.
        C6: no pad is as large as the dilated kernel (a window would be empty).
        C7: the elements are numbers.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    kernel: ArrayAttr
    strides: ArrayAttr
    pads: ArrayAttr
    dilations: ArrayAttr

    @staticmethod
    def infer(
        x: Tensor,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
    ) -> Tensor:
        kind = "nn.max_pool2d"
        element_types(f"{kind} C7", NUMBERS, x)
        return Tensor(pool_shape(kind, x, kernel, strides, pads, dilations), x.dtype)

    @staticmethod
    def evaluate(
        x: Array,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
    ) -> Array:
        seen = windows(x, kernel, strides, pads, dilations, lowest(x.dtype))
        return folded(np.maximum, seen, kernel)

    example = (
        (Tensor((1, 2, 5, 6), "f32"),),
        {"kernel": (3, 2), "strides": (2, 1), "pads": (1, 0, 1, 1), "dilations": (1, 1)},
    )


class AveragePool2d(PerTap, dialect=Nn, name="average_pool2d", traits=[Pure]):
    """Mean of each window, over its inside alone unless `count_include_pad` is 1.

    Constraints:
        C1, C2, C4, C5, C6: as nn.max_pool2d.
        C3: count_include_pad is 0 or 1.
        C7: the element type is a float.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    kernel: ArrayAttr
    strides: ArrayAttr
    pads: ArrayAttr
    count_include_pad: IntegerAttr

    @staticmethod
    def infer(
        x: Tensor,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        count_include_pad: int,
    ) -> Tensor:
        kind = "nn.average_pool2d"
        require(
            count_include_pad in (0, 1),
            f"{kind} C3: count_include_pad must be 0 or 1, not {count_include_pad}",
        )
        require(x.dtype in FLOATS, f"{kind} C7: the operand must be a float, not {x}")
        return Tensor(pool_shape(kind, x, kernel, strides, pads, (1, 1)), x.dtype)

    @staticmethod
    def evaluate(
        x: Array,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        count_include_pad: int,
    ) -> Array:
        work = work_type(x.dtype)
        wide = x.astype(work, copy=False)
        total = folded(np.add, windows(wide, kernel, strides, pads, (1, 1)), kernel)
        count = window_counts(x.shape[2:], kernel, strides, pads, count_include_pad)
        return rounded(total / count.astype(work), x.dtype)

    example = (
        (Tensor((1, 2, 5, 6), "f32"),),
        {"kernel": (3, 2), "strides": (2, 1), "pads": (1, 0, 1, 1), "count_include_pad": 0},
    )


class GlobalAveragePool(PerElement, dialect=Nn, name="global_average_pool", traits=[Pure]):
    """Mean over height and width: [N,C,1,1].

    Constraints:
        C1: x has rank 4.
        C2: height and width are positive.
        C3: the element type is a float.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]

    @staticmethod
    def infer(x: Tensor) -> Tensor:
        require(
            x.dtype in FLOATS,
            f"nn.global_average_pool C3: the operand must be a float, not {x}",
        )
        return Tensor(global_shape("nn.global_average_pool", x), x.dtype)

    @staticmethod
    def evaluate(x: Array) -> Array:
        work = work_type(x.dtype)
        mean = x.astype(work, copy=False).mean(axis=(2, 3), keepdims=True, dtype=work)
        return rounded(np.asarray(mean), x.dtype)

    example = (Tensor((1, 2, 3, 4), "f32"),), {}


class GlobalMaxPool(PerElement, dialect=Nn, name="global_max_pool", traits=[Pure]):
    """Largest value over height and width: [N,C,1,1].

    Constraints:
        C1: x has rank 4.
        C2: height and width are positive.
        C3: the elements are numbers.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]

    @staticmethod
    def infer(x: Tensor) -> Tensor:
        element_types("nn.global_max_pool C3", NUMBERS, x)
        return Tensor(global_shape("nn.global_max_pool", x), x.dtype)

    @staticmethod
    def evaluate(x: Array) -> Array:
        return np.asarray(x.max(axis=(2, 3), keepdims=True))

    example = (Tensor((1, 2, 3, 4), "f32"),), {}


class LpPool2d(PerTap, dialect=Nn, name="lp_pool2d", traits=[Pure]):
    """``(sum |x|^p)^(1/p)`` of each window; the padding is 0. In float64, rounded once.

    Constraints:
        C1, C2, C4, C5, C6: as nn.max_pool2d.
        C3: p is at least 1.
        C7: the element type is a float.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    kernel: ArrayAttr
    strides: ArrayAttr
    pads: ArrayAttr
    dilations: ArrayAttr
    p: IntegerAttr

    @staticmethod
    def infer(
        x: Tensor,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        p: int,
    ) -> Tensor:
        require(p >= 1, f"nn.lp_pool2d C3: p must be at least 1, not {p}")
        require(x.dtype in FLOATS, f"nn.lp_pool2d C7: the operand must be a float, not {x}")
        return Tensor(pool_shape("nn.lp_pool2d", x, kernel, strides, pads, dilations), x.dtype)

    @staticmethod
    def evaluate(
        x: Array,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        p: int,
    ) -> Array:
        power = np.abs(x.astype(np.float64)) ** p
        total = folded(np.add, windows(power, kernel, strides, pads, dilations), kernel)
        return rounded(np.asarray(total ** (1 / p)), x.dtype)

    example = (
        (Tensor((1, 2, 5, 6), "f32"),),
        {
            "kernel": (3, 2),
            "strides": (2, 1),
            "pads": (1, 0, 1, 1),
            "dilations": (1, 1),
            "p": 2,
        },
    )


def pool_shape(
    kind: str,
    x: Tensor,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[int, ...]:
    """Check the constraints of a window and return the result's shape."""
    require(x.rank == 4, f"{kind} C1: the operand needs rank 4, not {x}")
    require(
        len(kernel) == 2 and min(kernel) >= 1,
        f"{kind} C2: kernel must be two positive numbers, not {kernel}",
    )
    out = window_shape(kind, x.shape[2:], kernel, strides, pads, dilations)
    for axis in (0, 1):
        extent = (kernel[axis] - 1) * dilations[axis] + 1
        worst = max(pads[axis], pads[axis + 2])
        require(
            worst < extent, f"{kind} C6: pads must be below the kernel of {extent}, not {worst}"
        )
    return (*x.shape[:2], *out)


def global_shape(kind: str, x: Tensor) -> tuple[int, ...]:
    """Check a global pool's operand and return the result's shape."""
    require(x.rank == 4, f"{kind} C1: the operand needs rank 4, not {x}")
    require(min(x.shape[2:]) >= 1, f"{kind} C2: height and width must be positive, not {x}")
    return (*x.shape[:2], 1, 1)


def folded(function: np.ufunc, seen: Array, kernel: tuple[int, ...]) -> Array:
    """Each window (the last axes) folded tap by tap, in row-major order.

    Passes over the whole image, one per tap; NumPy's reductions go window by window.
    """
    first, *rest = np.ndindex(*kernel)
    y = np.array(seen[(..., *first)])
    for tap in rest:
        function(y, seen[(..., *tap)], out=y)
    return y


def lowest(dtype: np.dtype[Any]) -> float | int:
    """The value that never wins a maximum."""
    return -np.inf if is_float(dtype) else int(np.iinfo(dtype).min)


def window_counts(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    count_include_pad: int,
) -> Array:
    """How many elements each window's mean divides by, [oh, ow]."""
    inside = np.ones((1, 1, *size), np.int64)
    fill = 1 if count_include_pad else 0
    counted = windows(inside, kernel, strides, pads, (1, 1), fill)
    return np.asarray(counted.sum(axis=(4, 5))[0, 0])
