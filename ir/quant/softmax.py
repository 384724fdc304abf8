"""Softmax on quantised values, as ONNX Runtime's table of exponentials computes it."""

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
from tetrapla.ir.nn.check import one_axis
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
)

# ONNX Runtime keeps the sum of D exponentials below the largest float32 by this many nepers
RESERVE = 5.0


class Softmax(Op, dialect=Quant, name="softmax", traits=[Pure]):
    """Softmax along one axis (QLinearSoftmax of opset 13 and later).

    D is the axis's size and h = max(0, f32(ln(f32max / D)) - 5). Each x gives the float32
    t = exp((x - max x) x_scale + h), S is their float32 sum in order, and the result is
    ``sat(rint(f32(t * floor(1 / y_scale)) / S) + y_zero_point)``: the reciprocal of the scale
    is floored. x's zero point cancels.

    Both types saturate. ONNX Runtime 1.31.1 gives the zero point where t * floor(1 / y_scale)
    exceeds float32 (an axis of size 1 at 1/256), for it converts an infinity; in earlier
    versions its i8 kernel wrapped above 127 (qlinear_softmax.cc).

    Constraints:
        C1: the axis exists and is not empty.
        C2: the scales are positive and finite.
        C3: x is i8 or ui8.
        C4: the zero point is a value of that type.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    axis: IntegerAttr
    x_scale: FloatAttr
    y_scale: FloatAttr
    y_zero_point: IntegerAttr

    @staticmethod
    def infer(
        x: Tensor, *, axis: int, x_scale: float, y_scale: float, y_zero_point: int
    ) -> Tensor:
        kind = "qnn.softmax"
        at = one_axis(f"{kind} C1", axis, x)
        require(x.shape[at] > 0, f"{kind} C1: axis {axis} of {x} must not be empty")
        check_scales(f"{kind} C2", x_scale=x_scale, y_scale=y_scale)
        check_types(f"{kind} C3", BYTES, x)
        check_zero_point(kind, y_zero_point, x.dtype)
        return x

    @staticmethod
    def evaluate(
        x: Array, *, axis: int, x_scale: float, y_scale: float, y_zero_point: int
    ) -> Array:
        steps = np.moveaxis(x.astype(np.int64), axis, 0)
        below = steps - steps.max(axis=0)  # 0 down to -255
        with np.errstate(over="ignore"):
            powers = exponentials(f32(x_scale), len(steps))[below + 255]
            total = np.zeros(powers.shape[1:], np.float32)
            for term in powers:
                total += term
            quotient = powers * np.floor(f32(1) / f32(y_scale)) / total
        y = saturate(np.rint(quotient) + f32(y_zero_point), NAMES[x.dtype])
        return np.ascontiguousarray(np.moveaxis(y, 0, axis))

    example = (
        (Tensor((2, 3), "i8"),),
        {"axis": -1, "x_scale": 0.1, "y_scale": 1 / 256, "y_zero_point": -128},
    )


def exponentials(scale: np.float32, size: int) -> Array:
    """Of -255 to 0 steps below the largest, raised as far as the sum allows."""
    room = f32(np.log(np.float64(np.finfo(np.float32).max / np.float32(size))))
    raised = max(0.0, float(room) - RESERVE) / float(scale)
    steps = np.arange(256.0) - 255 + raised
    return np.exp(steps * float(scale)).astype(np.float32)
