"""Integer matrix product and convolution with int32 accumulators."""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import ArrayAttr, IntegerAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.linear import (
    conv_macs,
    conv_shape,
    correlate,
    matmul_macs,
    matmul_shape,
)
from tetrapla.ir.op import Op, Tensor, require
from tetrapla.ir.quant.dialect import Quant, check_quantised, check_zero_point


class MatMul(Op, dialect=Quant, name="matmul", traits=[Pure]):
    """``sum_k (x - x_zero_point) (w - w_zero_point) + bias``, wrapped to int32.

    Constraints:
        C1 to C4: as nn.matmul; the bias is i32.
        C5: x and w are i8 or ui8, and the zero points are values of their types.
    """

    x: Operand[RankedTensorType]
    w: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    x_zero_point: IntegerAttr
    w_zero_point: IntegerAttr
    bias: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        x: Tensor,
        w: Tensor,
        bias: Tensor | None = None,
        *,
        x_zero_point: int,
        w_zero_point: int,
    ) -> Tensor:
        shape = matmul_shape("qnn.matmul", x, w, bias)
        _check_types("qnn.matmul", x, w, bias, x_zero_point, w_zero_point)
        return Tensor(shape, "i32")

    @staticmethod
    def evaluate(
        x: Array,
        w: Array,
        bias: Array | None = None,
        *,
        x_zero_point: int,
        w_zero_point: int,
    ) -> Array:
        acc = integer_product(_centred(x, x_zero_point), _centred(w, w_zero_point))
        return wrap(acc if bias is None else acc + bias)

    macs = staticmethod(matmul_macs)
    example = (
        (Tensor((4, 8), "i8"), Tensor((8, 3), "i8"), Tensor((3,), "i32")),
        {"x_zero_point": 3, "w_zero_point": 0},
    )


class Conv2d(Op, dialect=Quant, name="conv2d", traits=[Pure]):
    """Integer cross-correlation; the padding counts as ``x == x_zero_point``.

    Constraints:
        C1 to C6: as nn.conv2d; the bias is i32.
        C7: x and w are i8 or ui8, and the zero points are values of their types.
    """

    x: Operand[RankedTensorType]
    w: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    strides: ArrayAttr
    pads: ArrayAttr
    dilations: ArrayAttr
    groups: IntegerAttr
    x_zero_point: IntegerAttr
    w_zero_point: IntegerAttr
    bias: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        x: Tensor,
        w: Tensor,
        bias: Tensor | None = None,
        *,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        groups: int,
        x_zero_point: int,
        w_zero_point: int,
    ) -> Tensor:
        kind = "qnn.conv2d"
        shape = conv_shape(kind, x, w, bias, strides, pads, dilations, groups)
        _check_types(kind, x, w, bias, x_zero_point, w_zero_point)
        return Tensor(shape, "i32")

    @staticmethod
    def evaluate(
        x: Array,
        w: Array,
        bias: Array | None = None,
        *,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        groups: int,
        x_zero_point: int,
        w_zero_point: int,
    ) -> Array:
        centred = _centred(x, x_zero_point)
        weights = _centred(w, w_zero_point)
        acc = correlate(centred, weights, strides, pads, dilations, groups, integer_product)
        return wrap(acc if bias is None else acc + bias[:, None, None])

    macs = staticmethod(conv_macs)
    example = (
        (Tensor((1, 4, 6, 5), "i8"), Tensor((6, 2, 3, 2), "i8"), Tensor((6,), "i32")),
        {
            "strides": (2, 1),
            "pads": (1, 0, 1, 1),
            "dilations": (1, 2),
            "groups": 2,
            "x_zero_point": -7,
            "w_zero_point": 0,
        },
    )


def integer_product(a: Array, b: Array) -> Array:
    """Exact ``a @ b`` of integers up to 9 bits, int64.

    Done by float64 BLAS: products stay below 2^16 and sums below 2^53 for any K up to 2^37.
    """
    return np.asarray(np.matmul(a.astype(np.float64), b.astype(np.float64))).astype(np.int64)


def wrap(acc: Array) -> Array:
    """Two's complement wrap to int32, as the accumulators do."""
    return acc.astype(np.int64).astype(np.int32)


def _centred(x: Array, zero_point: int) -> Array:
    return x.astype(np.int64) - zero_point


def _check_types(
    kind: str,
    x: Tensor,
    w: Tensor,
    bias: Tensor | None,
    x_zero_point: int,
    w_zero_point: int,
) -> None:
    check_quantised(kind, x, w)
    check_zero_point(kind, x_zero_point, x.dtype)
    check_zero_point(kind, w_zero_point, w.dtype)
    require(bias is None or bias.dtype == "i32", f"{kind} C5: the bias must be i32, not {bias}")
