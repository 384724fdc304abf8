"""Average pooling on quantised values, as ONNX Runtime's kernels compute it."""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import (
    ArrayAttr,
    FloatAttr,
    IntegerAttr,
    Operand,
    Pure,
    RankedTensorType,
    Result,
)
from tetrapla.ir.nn.linear import windows
from tetrapla.ir.nn.pool import global_shape, pool_shape, window_counts
from tetrapla.ir.nn.work import PerElement, PerTap
from tetrapla.ir.op import Tensor, require
from tetrapla.ir.quant.dialect import (
    BYTES,
    NAMES,
    Quant,
    check_scales,
    check_types,
    check_zero_point,
    f32,
    saturate,
)


class AveragePool2d(PerTap, dialect=Quant, name="average_pool2d", traits=[Pure]):
    """Mean of each window under another scale (QLinearAveragePool).

    s is the float32 sum, in row-major order, of ``f32(x - x_zero_point) * x_scale``; the result
    is ``sat(rint(s / n / y_scale + y_zero_point))``: the zero point enters before rounding.

    Constraints:
        C1, C2, C4, C5, C6: as nn.max_pool2d.
        C3: x is i8 or ui8, the zero points are values of its type.
        C7: count_include_pad is 0 or 1, and the scales are positive and finite.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    kernel: ArrayAttr
    strides: ArrayAttr
    pads: ArrayAttr
    count_include_pad: IntegerAttr
    x_scale: FloatAttr
    x_zero_point: IntegerAttr
    y_scale: FloatAttr
    y_zero_point: IntegerAttr

    @staticmethod
    def infer(
        x: Tensor,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        count_include_pad: int,
        x_scale: float,
        x_zero_point: int,
        y_scale: float,
        y_zero_point: int,
    ) -> Tensor:
        kind = "qnn.average_pool2d"
        _check(kind, x, x_scale, x_zero_point, y_scale, y_zero_point)
        require(
            count_include_pad in (0, 1),
            f"{kind} C7: count_include_pad must be 0 or 1, not {count_include_pad}",
        )
        return Tensor(pool_shape(kind, x, kernel, strides, pads, (1, 1)), x.dtype)

    @staticmethod
    def evaluate(
        x: Array,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        count_include_pad: int,
        x_scale: float,
        x_zero_point: int,
        y_scale: float,
        y_zero_point: int,
    ) -> Array:
        real = (x.astype(np.int32) - x_zero_point).astype(np.float32) * f32(x_scale)
        view = windows(real, kernel, strides, pads, (1, 1), np.float32(0))
        total = np.zeros(view.shape[:4], np.float32)
        for row in range(kernel[0]):
            for column in range(kernel[1]):
                total += view[..., row, column]
        count = window_counts(x.shape[2:], kernel, strides, pads, count_include_pad)
        mean = total / count.astype(np.float32)
        return saturate(
            np.rint(mean / f32(y_scale) + f32(y_zero_point)),
            NAMES[x.dtype],
        )

    example = (
        (Tensor((1, 2, 5, 6), "i8"),),
        {
            "kernel": (3, 2),
            "strides": (2, 1),
            "pads": (1, 0, 1, 1),
            "count_include_pad": 0,
            "x_scale": 0.5,
            "x_zero_point": 1,
            "y_scale": 0.25,
            "y_zero_point": -3,
        },
    )


class GlobalAveragePool(PerElement, dialect=Quant, name="global_average_pool", traits=[Pure]):
    """Mean over height and width (QLinearGlobalAveragePool).

    ``sat(rint(f32(S) * f32(x_scale / f32(y_scale * H W))) + y_zero_point)`` with
    S = sum (x - x_zero_point).

    Constraints:
        C1, C2: as nn.global_average_pool.
        C3: x is i8 or ui8, the zero points are values of its type.
        C7: the scales are positive and finite.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    x_scale: FloatAttr
    x_zero_point: IntegerAttr
    y_scale: FloatAttr
    y_zero_point: IntegerAttr

    @staticmethod
    def infer(
        x: Tensor, *, x_scale: float, x_zero_point: int, y_scale: float, y_zero_point: int
    ) -> Tensor:
        kind = "qnn.global_average_pool"
        _check(kind, x, x_scale, x_zero_point, y_scale, y_zero_point)
        return Tensor(global_shape(kind, x), x.dtype)

    @staticmethod
    def evaluate(
        x: Array, *, x_scale: float, x_zero_point: int, y_scale: float, y_zero_point: int
    ) -> Array:
        total = (x.astype(np.int64) - x_zero_point).sum(axis=(2, 3), keepdims=True)
        size = x.shape[2] * x.shape[3]
        scale = f32(x_scale) / (f32(y_scale) * f32(size))
        steps = np.rint(total.astype(np.float32) * scale) + f32(y_zero_point)
        return saturate(steps, NAMES[x.dtype])

    example = (
        (Tensor((1, 2, 3, 4), "i8"),),
        {"x_scale": 0.5, "x_zero_point": 1, "y_scale": 0.25, "y_zero_point": -3},
    )


def _check(
    kind: str, x: Tensor, x_scale: float, x_zero_point: int, y_scale: float, y_zero_point: int
) -> None:
    check_types(f"{kind} C3", BYTES, x)
    for zero_point in (x_zero_point, y_zero_point):
        check_zero_point(kind, zero_point, x.dtype)
    check_scales(f"{kind} C7", x_scale=x_scale, y_scale=y_scale)
