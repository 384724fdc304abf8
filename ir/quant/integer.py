"""ONNX's dynamic quantisation: scales and zero points that are computed, not chosen."""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import ArrayAttr, IntegerAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.linear import conv_macs, conv_shape, correlate, matmul_macs, matmul_shape
from tetrapla.ir.op import Op, Tensor, require
from tetrapla.ir.quant.dialect import RANGES, Quant, check_types, saturate, stored
from tetrapla.ir.quant.linear import accumulated, accumulator, integer_product
from tetrapla.ir.quant.scale import centred

SCALARS = ((), (1,))


class MatMulInteger(Op, dialect=Quant, name="matmul_integer", traits=[Pure]):
    """``sum_k (a - a_zero_point) (b - b_zero_point)``, wrapped: ONNX's MatMulInteger.

    Zero points are operands, 0 where absent. One has shape () or (1,); one per row of a has
    shape (M,) or a's with a last axis of 1, one per column of b (N,) or b's with a
    last-but-one axis of 1. The accumulator is i32, or i64 where an operand has 16 bits.

    Constraints:
        C1 to C3: as nn.matmul.
        C4: a and b are integers of 2, 4, 8 or 16 bits.
        C5: a zero point has its operand's type and one of the shapes above.
    """

    a: Operand[RankedTensorType]
    b: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    a_zero_point: Operand[RankedTensorType] | None = None
    b_zero_point: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        a: Tensor,
        b: Tensor,
        a_zero_point: Tensor | None = None,
        b_zero_point: Tensor | None = None,
    ) -> Tensor:
        kind = "qnn.matmul_integer"
        shape = matmul_shape(kind, a, b, None)
        check_types(f"{kind} C4", tuple(RANGES), a, b)
        rows = (a.shape[-2:-1], (*a.shape[:-1], 1))
        columns = (b.shape[-1:], (*b.shape[:-2], 1, b.shape[-1]))
        _check_zero_point(f"{kind} C5", a, a_zero_point, rows)
        _check_zero_point(f"{kind} C5", b, b_zero_point, columns)
        return Tensor(shape, accumulator(a.dtype, b.dtype))

    @staticmethod
    def evaluate(
        a: Array,
        b: Array,
        a_zero_point: Array | None = None,
        b_zero_point: Array | None = None,
    ) -> Array:
        rows, columns = _steps(a_zero_point), _steps(b_zero_point)
        if rows.ndim == 1:
            rows = rows[:, None]
        return accumulated(integer_product(centred(a, rows), centred(b, columns)), a, b)

    macs = staticmethod(matmul_macs)
    example = (
        (Tensor((4, 8), "ui8"), Tensor((8, 3), "i8"), Tensor((), "ui8"), Tensor((3,), "i8")),
        {},
    )


class ConvInteger(Op, dialect=Quant, name="conv_integer", traits=[Pure]):
    """Integer cross-correlation with zero points as operands (ConvInteger).

    The padding counts as x's zero point. An absent zero point is 0. The accumulator is i32,
    wrapped, or i64 where an operand has 16 bits.

    Constraints:
        C1 to C5: as nn.conv2d.
        C6: x and w are integers of 2, 4, 8 or 16 bits.
        C7: a zero point has its operand's type and shape () or (1,); w's may have one per
            filter, (O,).
    """

    x: Operand[RankedTensorType]
    w: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    strides: ArrayAttr
    pads: ArrayAttr
    dilations: ArrayAttr
    groups: IntegerAttr
    x_zero_point: Operand[RankedTensorType] | None = None
    w_zero_point: Operand[RankedTensorType] | None = None

    @staticmethod
    def infer(
        x: Tensor,
        w: Tensor,
        x_zero_point: Tensor | None = None,
        w_zero_point: Tensor | None = None,
        *,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        groups: int,
    ) -> Tensor:
        kind = "qnn.conv_integer"
        shape = conv_shape(kind, x, w, None, strides, pads, dilations, groups)
        check_types(f"{kind} C6", tuple(RANGES), x, w)
        _check_zero_point(f"{kind} C7", x, x_zero_point, ())
        _check_zero_point(f"{kind} C7", w, w_zero_point, (w.shape[:1],))
        return Tensor(shape, accumulator(x.dtype, w.dtype))

    @staticmethod
    def evaluate(
        x: Array,
        w: Array,
        x_zero_point: Array | None = None,
        w_zero_point: Array | None = None,
        *,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        groups: int,
    ) -> Array:
        steps = centred(x, _steps(x_zero_point))
        weights = centred(w, _steps(w_zero_point).reshape(-1, 1, 1, 1))
        acc = correlate(steps, weights, strides, pads, dilations, groups, integer_product)
        return accumulated(acc, x, w)

    macs = staticmethod(conv_macs)
    example = (
        (
            Tensor((1, 4, 6, 5), "ui8"),
            Tensor((6, 2, 3, 2), "i8"),
            Tensor((), "ui8"),
            Tensor((6,), "i8"),
        ),
        {"strides": (2, 1), "pads": (1, 0, 1, 1), "dilations": (1, 2), "groups": 2},
    )


class DynamicQuantize(Op, dialect=Quant, name="dynamic_quantize", traits=[Pure]):
    """Quantise to ui8 by the values' own range (DynamicQuantizeLinear).

    With lo = min(x, 0) and hi = max(x, 0), in float32: scale = (hi - lo) / 255, or 1 where that
    is 0; zero_point = sat(rint(-lo / scale)); q = sat(rint(x / scale) + zero_point). Scale and
    zero point have shape (). A NaN in x makes the scale NaN.

    Constraints:
        C1: x is float32 and not empty.
    """

    x: Operand[RankedTensorType]
    q: Result[RankedTensorType]
    scale: Result[RankedTensorType]
    zero_point: Result[RankedTensorType]

    @staticmethod
    def infer(x: Tensor) -> tuple[Tensor, ...]:
        require(
            x.dtype == "f32" and 0 not in x.shape,
            f"qnn.dynamic_quantize C1: the operand must be float32 and not empty, not {x}",
        )
        return Tensor(x.shape, "ui8"), Tensor((), "f32"), Tensor((), "ui8")

    @staticmethod
    def evaluate(x: Array) -> tuple[Array, ...]:
        lowest = np.minimum(x.min(), np.float32(0))
        span = np.maximum(x.max(), np.float32(0)) - lowest
        scale = np.float32(1) if span == 0 else span / np.float32(255)
        zero_point = saturate(np.rint(np.asarray(-lowest / scale)), "ui8")
        return stored(x / scale, zero_point, "ui8"), np.asarray(scale), zero_point

    example = (Tensor((2, 3), "f32"),), {}


def _steps(zero_point: Array | None) -> Array:
    return np.zeros((), np.float32) if zero_point is None else zero_point.astype(np.float32)


def _check_zero_point(
    constraint: str, x: Tensor, zero_point: Tensor | None, shapes: tuple[tuple[int, ...], ...]
) -> None:
    if zero_point is None:
        return
    accepted = (*SCALARS, *shapes)
    require(
        zero_point.dtype == x.dtype and zero_point.shape in accepted,
        f"{constraint}: the zero point of {x} must have its type and one of the shapes "
        f"{', '.join(map(str, accepted))}, not {zero_point}",
    )
