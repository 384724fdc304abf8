"""Between floats and integers: quantise, dequantise, requantise, and the residual add."""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import (
    FloatAttr,
    IntegerAttr,
    Operand,
    Pure,
    RankedTensorType,
    Result,
    StringAttr,
)
from tetrapla.ir.nn.dialect import broadcast
from tetrapla.ir.op import Op, Tensor, require
from tetrapla.ir.quant.dialect import (
    RANGES,
    Quant,
    along,
    check_quantised,
    check_scale,
    check_zero_point,
    f32,
    saturate,
)


class Quantize(Op, dialect=Quant, name="quantize", traits=[Pure]):
    """``sat(rint(x / scale) + zero_point)``, a float32 division, ties to even.

    Constraints:
        C1, C2: the axis exists; the scale is float32 of shape (1,) or one per index of it.
        C3: the result is i8 or ui8.
        C4: the zero point is a value of that type.
        C5: x is float32.
    """

    x: Operand[RankedTensorType]
    scale: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    zero_point: IntegerAttr
    axis: IntegerAttr
    dtype: StringAttr

    @staticmethod
    def infer(x: Tensor, scale: Tensor, *, zero_point: int, axis: int, dtype: str) -> Tensor:
        check_scale("qnn.quantize", x, scale, axis)
        check_zero_point("qnn.quantize", zero_point, dtype)
        require(x.dtype == "f32", f"qnn.quantize C5: the operand must be float32, not {x}")
        return Tensor(x.shape, dtype)

    @staticmethod
    def evaluate(x: Array, scale: Array, *, zero_point: int, axis: int, dtype: str) -> Array:
        steps = np.rint(x / along(scale, x.ndim, axis))
        return saturate(steps.astype(np.float64) + zero_point, dtype)

    example = (
        (Tensor((2, 3), "f32"), Tensor((1,), "f32")),
        {"zero_point": 3, "axis": 0, "dtype": "i8"},
    )


class Dequantize(Op, dialect=Quant, name="dequantize", traits=[Pure]):
    """``f32(q - zero_point) * scale``.

    Constraints:
        C1, C2: the axis exists; the scale is float32 of shape (1,) or one per index of it.
        C3: the operand is i8, ui8 or i32.
    """

    q: Operand[RankedTensorType]
    scale: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    zero_point: IntegerAttr
    axis: IntegerAttr

    @staticmethod
    def infer(q: Tensor, scale: Tensor, *, zero_point: int, axis: int) -> Tensor:
        check_scale("qnn.dequantize", q, scale, axis)
        require(
            q.dtype in (*RANGES, "i32"),
            f"qnn.dequantize C3: the operand must be i8, ui8 or i32, not {q}",
        )
        return Tensor(q.shape, "f32")

    @staticmethod
    def evaluate(q: Array, scale: Array, *, zero_point: int, axis: int) -> Array:
        steps = (q.astype(np.int64) - zero_point).astype(np.float32)
        return steps * along(scale, q.ndim, axis)

    example = (
        (Tensor((2, 3), "i8"), Tensor((3,), "f32")),
        {"zero_point": 0, "axis": 1},
    )


class Requantize(Op, dialect=Quant, name="requantize", traits=[Pure]):
    """``rint(clamp(f32(f32(acc) * scale), low - zero_point, high - zero_point)) + zero_point``.

    ONNX Runtime's own form. A ReLU is ``low == zero_point``.

    Constraints:
        C1, C2: the axis exists; the scale is float32 of shape (1,) or one per index of it.
        C3: the result is i8 or ui8.
        C4: zero point, low and high are values of that type and low <= high.
        C5: acc is i32.
    """

    acc: Operand[RankedTensorType]
    scale: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    zero_point: IntegerAttr
    low: IntegerAttr
    high: IntegerAttr
    axis: IntegerAttr
    dtype: StringAttr

    @staticmethod
    def infer(
        acc: Tensor,
        scale: Tensor,
        *,
        zero_point: int,
        low: int,
        high: int,
        axis: int,
        dtype: str,
    ) -> Tensor:
        kind = "qnn.requantize"
        check_scale(kind, acc, scale, axis)
        for bound in (zero_point, low, high):
            check_zero_point(kind, bound, dtype)
        require(low <= high, f"{kind} C4: low must not exceed high, not {low}..{high}")
        require(acc.dtype == "i32", f"{kind} C5: the operand must be i32, not {acc}")
        return Tensor(acc.shape, dtype)

    @staticmethod
    def evaluate(
        acc: Array,
        scale: Array,
        *,
        zero_point: int,
        low: int,
        high: int,
        axis: int,
        dtype: str,
    ) -> Array:
        scaled = acc.astype(np.float32) * along(scale, acc.ndim, axis)
        clamped = np.clip(scaled, f32(low - zero_point), f32(high - zero_point))
        return saturate(np.rint(clamped) + f32(zero_point), dtype)

    example = (
        (Tensor((2, 3, 4, 4), "i32"), Tensor((3,), "f32")),
        {"zero_point": -5, "low": -5, "high": 127, "axis": 1, "dtype": "i8"},
    )


class Add(Op, dialect=Quant, name="add", traits=[Pure]):
    """Sum of two quantised tensors under a third scale, as ONNX Runtime's QLinearAdd.

    With rA = a_scale / y_scale, rB = b_scale / y_scale and
    c = y_zero_point - (rA a_zero_point + rB b_zero_point), all float32:
    ``sat(rint(fma(a, rA, fma(b, rB, c))))``.

    Constraints:
        C1: the shapes broadcast.
        C2: the scales are positive.
        C3: the operands have one quantised type.
        C4: the zero points are values of that type.
    """

    a: Operand[RankedTensorType]
    b: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    a_scale: FloatAttr
    a_zero_point: IntegerAttr
    b_scale: FloatAttr
    b_zero_point: IntegerAttr
    y_scale: FloatAttr
    y_zero_point: IntegerAttr

    @staticmethod
    def infer(
        a: Tensor,
        b: Tensor,
        *,
        a_scale: float,
        a_zero_point: int,
        b_scale: float,
        b_zero_point: int,
        y_scale: float,
        y_zero_point: int,
    ) -> Tensor:
        kind = "qnn.add"
        check_quantised(kind, a, b)
        require(a.dtype == b.dtype, f"{kind} C3: element types must be equal, not {a} and {b}")
        for zero_point in (a_zero_point, b_zero_point, y_zero_point):
            check_zero_point(kind, zero_point, a.dtype)
        scales = (a_scale, b_scale, y_scale)
        require(min(scales) > 0, f"{kind} C2: scales must be positive, not {min(scales)}")
        return Tensor(broadcast(kind, a, b), a.dtype)

    @staticmethod
    def evaluate(
        a: Array,
        b: Array,
        *,
        a_scale: float,
        a_zero_point: int,
        b_scale: float,
        b_zero_point: int,
        y_scale: float,
        y_zero_point: int,
    ) -> Array:
        ra, rb = f32(a_scale) / f32(y_scale), f32(b_scale) / f32(y_scale)
        offset = f32(y_zero_point) - (ra * f32(a_zero_point) + rb * f32(b_zero_point))
        inner = fused_multiply_add(b, rb, offset)
        return saturate(np.rint(fused_multiply_add(a, ra, inner)), str(_name(a)))

    example = (
        (Tensor((2, 3), "i8"), Tensor((2, 3), "i8")),
        {
            "a_scale": 0.5,
            "a_zero_point": 1,
            "b_scale": 0.25,
            "b_zero_point": -2,
            "y_scale": 0.75,
            "y_zero_point": 4,
        },
    )


def fused_multiply_add(x: Array, ratio: np.float32, addend: Array | np.float32) -> Array:
    """``f32(x * ratio + addend)`` with one rounding, for |x| <= 255.

    x * ratio has at most 8 + 24 bits and is exact in float64. The float64 sum may round once
    before float32 does; where it does, the lost part is recovered by rounding to odd.
    """
    product = x.astype(np.float64) * np.float64(ratio)
    other = np.asarray(addend, np.float64)
    total = product + other
    # error-free transformation (Knuth's two-sum): total + lost is the exact sum
    shadow = total - product
    lost = (product - (total - shadow)) + (other - shadow)
    bits = total.view(np.int64) if total.shape else np.asarray(total).view(np.int64)
    even = (bits & 1) == 0
    away = np.where((lost > 0) == (total > 0), 1, -1)
    odd = np.where((lost != 0) & even, bits + away, bits)
    return odd.view(np.float64).astype(np.float32)


def _name(x: Array) -> str:
    return "ui8" if x.dtype == np.uint8 else "i8"
