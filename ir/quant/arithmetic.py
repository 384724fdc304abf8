"""Sum, product and concatenation of two quantised tensors under a third scale."""

from collections.abc import Sequence

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import (
    FloatAttr,
    IntegerAttr,
    Operand,
    Pure,
    RankedTensorType,
    Result,
)
from tetrapla.ir.nn.dialect import broadcast
from tetrapla.ir.op import Op, Tensor, require
from tetrapla.ir.quant.dialect import (
    BYTES,
    NAMES,
    Quant,
    check_scales,
    check_types,
    check_zero_point,
    f32,
    saturate,
    stored,
)
from tetrapla.ir.quant.scale import centred, fused_multiply_add


class Add(Op, dialect=Quant, name="add", traits=[Pure]):
    """Sum of two quantised tensors under a third scale, as ONNX Runtime's QLinearAdd.

    With rA = a_scale / y_scale, rB = b_scale / y_scale and
    c = y_zero_point - fma(a_zero_point, rA, rB b_zero_point), all float32:
    ``sat(rint(fma(a, rA, fma(b, rB, c))))``. Where a is one number along the innermost axis
    that the result has, a and b change roles. This is the arithmetic of the AVX2 kernel
    (qladd_avx2.cpp) as its compiler contracts it; a plain sum in c differs in about one of a
    million results. The runtime's kernel for ARM sums in fixed point.

    Constraints:
        C1: the shapes broadcast.
        C2: the scales are positive and finite.
        C3: the operands have one type, i8 or ui8.
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
        _check_operands(kind, a, b, (a_zero_point, b_zero_point, y_zero_point))
        check_scales(f"{kind} C2", a_scale=a_scale, b_scale=b_scale, y_scale=y_scale)
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
        scales = [a_scale, b_scale, y_scale]
        zeros = [a_zero_point, b_zero_point, y_zero_point]
        if is_single_inside(a.shape, b.shape):
            a, b = b, a
            scales[:2], zeros[:2] = scales[1::-1], zeros[1::-1]
        ra, rb, offset = sum_terms(scales, zeros)
        inner = fused_multiply_add(b, rb, offset)
        return saturate(np.rint(fused_multiply_add(a, ra, inner)), NAMES[a.dtype])

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


class Mul(Op, dialect=Quant, name="mul", traits=[Pure]):
    """Product of two quantised tensors under a third scale, as ONNX Runtime's QLinearMul.

    With m = (a_scale * b_scale) / y_scale in float32:
    ``sat(rint(f32((a - a_zero_point) (b - b_zero_point)) * m + y_zero_point))``, where the
    float32 product is rounded before the zero point is added, and that before rounding.

    Constraints:
        C1: the shapes broadcast.
        C2: the scales are positive and finite.
        C3: the operands have one type, i8 or ui8.
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
        kind = "qnn.mul"
        _check_operands(kind, a, b, (a_zero_point, b_zero_point, y_zero_point))
        check_scales(f"{kind} C2", a_scale=a_scale, b_scale=b_scale, y_scale=y_scale)
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
        ratio = f32(a_scale) * f32(b_scale) / f32(y_scale)
        product = centred(a, a_zero_point) * centred(b, b_zero_point)  # below 2^24: exact
        return saturate(np.rint(product * ratio + f32(y_zero_point)), NAMES[a.dtype])

    example = (
        (Tensor((2, 3), "i8"), Tensor((3,), "i8")),
        {
            "a_scale": 0.5,
            "a_zero_point": 1,
            "b_scale": 0.25,
            "b_zero_point": -2,
            "y_scale": 0.75,
            "y_zero_point": 4,
        },
    )


class Concat(Op, dialect=Quant, name="concat", traits=[Pure]):
    """Two quantised tensors joined under a third scale, as ONNX Runtime's QLinearConcat.

    Each is requantised on its way: ``sat(rint(f32(x - x_zero_point) * x_scale / y_scale) +
    y_zero_point)``. That is the identity where the scales and zero points are y's, so more
    than two tensors are joined by a chain.

    Constraints:
        C1: the axis exists, and the other sizes are equal.
        C2: the scales are positive and finite.
        C3: the operands have one type, i8 or ui8.
        C4: the zero points are values of that type.
    """

    a: Operand[RankedTensorType]
    b: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    axis: IntegerAttr
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
        axis: int,
        a_scale: float,
        a_zero_point: int,
        b_scale: float,
        b_zero_point: int,
        y_scale: float,
        y_zero_point: int,
    ) -> Tensor:
        kind = "qnn.concat"
        _check_operands(kind, a, b, (a_zero_point, b_zero_point, y_zero_point))
        check_scales(f"{kind} C2", a_scale=a_scale, b_scale=b_scale, y_scale=y_scale)
        require(-a.rank <= axis < a.rank, f"{kind} C1: {a} has no axis {axis}")
        at = axis % a.rank
        require(
            b.rank == a.rank and _without(a.shape, at) == _without(b.shape, at),
            f"{kind} C1: sizes but that of axis {axis} must be equal, not {a} and {b}",
        )
        joined = a.shape[at] + b.shape[at]
        return Tensor((*a.shape[:at], joined, *a.shape[at + 1 :]), a.dtype)

    @staticmethod
    def evaluate(
        a: Array,
        b: Array,
        *,
        axis: int,
        a_scale: float,
        a_zero_point: int,
        b_scale: float,
        b_zero_point: int,
        y_scale: float,
        y_zero_point: int,
    ) -> Array:
        own = ((a, a_scale, a_zero_point), (b, b_scale, b_zero_point))
        reals = [centred(x, zero_point) * f32(scale) for x, scale, zero_point in own]
        joined = np.concatenate(reals, axis)
        return stored(joined / f32(y_scale), y_zero_point, NAMES[a.dtype])

    example = (
        (Tensor((2, 3), "i8"), Tensor((2, 4), "i8")),
        {
            "axis": -1,
            "a_scale": 0.5,
            "a_zero_point": 1,
            "b_scale": 0.25,
            "b_zero_point": -2,
            "y_scale": 0.75,
            "y_zero_point": 4,
        },
    )


def sum_terms(
    scales: Sequence[float], zero_points: Sequence[int]
) -> tuple[np.float32, np.float32, np.float32]:
    """The ratios rA and rB and the constant c of qnn.add; each list is that of a, b and y."""
    a_scale, b_scale, y_scale = (f32(scale) for scale in scales)
    a_zero, b_zero, y_zero = zero_points
    ra, rb = a_scale / y_scale, b_scale / y_scale
    zeros = fused_multiply_add(np.asarray(a_zero), ra, rb * f32(b_zero))
    return ra, rb, f32(f32(y_zero) - zeros)


def is_single_inside(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether `a` is one number along the innermost axis of the two shapes together."""
    for axis in range(1, max(len(a), len(b)) + 1):
        sizes = [shape[-axis] if axis <= len(shape) else 1 for shape in (a, b)]
        if max(sizes) > 1:
            return sizes[0] == 1
    return True


def _check_operands(kind: str, a: Tensor, b: Tensor, zero_points: tuple[int, ...]) -> None:
    check_types(f"{kind} C3", BYTES, a, b)
    require(a.dtype == b.dtype, f"{kind} C3: element types must be equal, not {a} and {b}")
    for zero_point in zero_points:
        check_zero_point(kind, zero_point, a.dtype)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])
