"""Between floats and quantised values, and between accumulators and quantised values."""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import (
    IntegerAttr,
    Operand,
    Pure,
    RankedTensorType,
    Result,
    StringAttr,
)
from tetrapla.ir.op import Op, Tensor, require
from tetrapla.ir.quant.dialect import (
    RANGES,
    Quant,
    along,
    check_scale,
    check_target,
    check_types,
    check_zero_point,
    f32,
    saturate,
    stored,
)
from tetrapla.ir.quant.small import FORMATS

ACCUMULATORS = ("i32", "i64")


class Quantize(Op, dialect=Quant, name="quantize", traits=[Pure]):
    """``sat(rint(x / scale) + zero_point)``, a float32 division, ties to even.

    A small float as the result rounds ``x / scale`` to its own grid instead, ties to even,
    saturating. NaN becomes an integer's minimum and a small float's NaN, or its zero.

    Constraints:
        C1, C2: the axis exists; the scale is float32 of shape (1,) or one per index of it.
        C3: the result is an integer of 2, 4, 8 or 16 bits, or a small float (not E8M0).
        C4: the zero point is a value of that integer type, 0 for a small float.
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
        check_target("qnn.quantize C3", (*RANGES, *FORMATS), dtype)
        _check_zero("qnn.quantize", zero_point, dtype)
        require(x.dtype == "f32", f"qnn.quantize C5: the operand must be float32, not {x}")
        return Tensor(x.shape, dtype)

    @staticmethod
    def evaluate(x: Array, scale: Array, *, zero_point: int, axis: int, dtype: str) -> Array:
        return stored(x / along(scale, x.ndim, axis), zero_point, dtype)

    example = (
        (Tensor((2, 3), "f32"), Tensor((1,), "f32")),
        {"zero_point": 3, "axis": 0, "dtype": "i8"},
    )


class Dequantize(Op, dialect=Quant, name="dequantize", traits=[Pure]):
    """``f32(q - zero_point) * scale``.

    Constraints:
        C1, C2: the axis exists; the scale is float32 of shape (1,) or one per index of it.
        C3: the operand is an integer of 2, 4, 8, 16 or 32 bits (signed if 32), or a small
            float (not E8M0).
        C4: the zero point is a value of that integer type, 0 for a small float.
    """

    q: Operand[RankedTensorType]
    scale: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    zero_point: IntegerAttr
    axis: IntegerAttr

    @staticmethod
    def infer(q: Tensor, scale: Tensor, *, zero_point: int, axis: int) -> Tensor:
        check_scale("qnn.dequantize", q, scale, axis)
        check_types("qnn.dequantize C3", (*RANGES, "i32", *FORMATS), q)
        _check_zero("qnn.dequantize", zero_point, q.dtype)
        return Tensor(q.shape, "f32")

    @staticmethod
    def evaluate(q: Array, scale: Array, *, zero_point: int, axis: int) -> Array:
        return centred(q, zero_point) * along(scale, q.ndim, axis)

    example = (
        (Tensor((2, 3), "i8"), Tensor((3,), "f32")),
        {"zero_point": 0, "axis": 1},
    )


class Requantize(Op, dialect=Quant, name="requantize", traits=[Pure]):
    """``rint(clamp(f32(f32(acc) * scale), low - zero_point, high - zero_point)) + zero_point``.

    ONNX Runtime's own form. A ReLU is ``low == zero_point``. The forms of TOSA and TensorFlow
    Lite, on integers alone, are qnn.rescale.

    Constraints:
        C1, C2: the axis exists; the scale is float32 of shape (1,) or one per index of it.
        C3: the result is an integer of 2, 4, 8 or 16 bits.
        C4: zero point, low and high are values of that type and low <= high.
        C5: acc is i32 or i64.
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
        check_bounds(kind, zero_point, low, high, dtype)
        check_types(f"{kind} C5", ACCUMULATORS, acc)
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


def check_bounds(kind: str, zero_point: int, low: int, high: int, dtype: str) -> None:
    """Check C3 and C4 of what clamps to part of an integer type."""
    for bound in (zero_point, low, high):
        check_zero_point(kind, bound, dtype)
    require(low <= high, f"{kind} C4: low must not exceed high, not {low}..{high}")


def centred(q: Array, zero_point: Array | int) -> Array:
    """``f32(q - zero_point)``; exact for every type of 16 bits and fewer."""
    if q.dtype.itemsize > 2:
        return (q.astype(np.int64) - zero_point).astype(np.float32)
    return np.asarray(q.astype(np.float32) - np.asarray(zero_point).astype(np.float32))


def fused_multiply_add(
    x: Array, ratio: Array | np.float32, addend: Array | np.float32
) -> Array:
    """``f32(x * ratio + addend)`` with one rounding, for float32 and integers below 2^24.

    x * ratio has at most 24 + 24 bits and is exact in float64. The float64 sum may round once
    before float32 does; where it does, the lost part is recovered by rounding to odd.
    """
    product = np.asarray(x.astype(np.float64) * np.asarray(ratio, np.float64))
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


def _check_zero(kind: str, zero_point: int, dtype: str) -> None:
    if dtype in FORMATS:
        require(
            zero_point == 0, f"{kind} C4: the zero point of {dtype} must be 0, not {zero_point}"
        )
    elif dtype in RANGES:
        check_zero_point(kind, zero_point, dtype)
