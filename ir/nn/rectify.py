"""More activations that treat the two signs differently.

As in `activation`: float64 inside, one rounding, and parameters that are float32.
"""

from typing import Any

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import FloatAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.check import FLOATS, NUMBERS, broadcast_all, element_types, equal_types
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.precision import is_float, rounded
from tetrapla.ir.nn.unary import Rounded
from tetrapla.ir.op import Op, Tensor, require


class Selu(Op, dialect=Nn, name="selu", traits=[Pure]):
    """``gamma x`` from zero on, ``gamma alpha (exp(x) - 1)`` below.

    Constraints:
        C1: the element type is a float.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    alpha: FloatAttr
    gamma: FloatAttr

    @staticmethod
    def infer(x: Tensor, *, alpha: float, gamma: float) -> Tensor:
        element_types("nn.selu C1", FLOATS, x)
        return x

    @staticmethod
    def evaluate(x: Array, *, alpha: float, gamma: float) -> Array:
        wide = x.astype(np.float64)
        below = float(np.float32(alpha)) * np.expm1(np.minimum(wide, 0))
        return rounded(float(np.float32(gamma)) * np.where(wide < 0, below, wide), x.dtype)

    example = (Tensor((2, 3), "f32"),), {"alpha": 1.673263, "gamma": 1.050701}


class Celu(Op, dialect=Nn, name="celu", traits=[Pure]):
    """``max(0, x) + min(0, alpha (exp(x / alpha) - 1))``.

    Constraints:
        C1: the element type is a float.
        C2: alpha is not 0.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    alpha: FloatAttr

    @staticmethod
    def infer(x: Tensor, *, alpha: float) -> Tensor:
        element_types("nn.celu C1", FLOATS, x)
        require(np.float32(alpha) != 0, f"nn.celu C2: alpha must not be 0, not {alpha}")
        return x

    @staticmethod
    def evaluate(x: Array, *, alpha: float) -> Array:
        wide, a = x.astype(np.float64), float(np.float32(alpha))
        curve = a * np.expm1(wide / a)
        return rounded(np.maximum(wide, 0) + np.minimum(curve, 0), x.dtype)

    example = (Tensor((2, 3), "f32"),), {"alpha": 2.0}


class ThresholdedRelu(Op, dialect=Nn, name="thresholded_relu", traits=[Pure]):
    """``x`` above alpha, else 0; NaN becomes 0, as in ONNX Runtime.

    Constraints:
        C1: the element type is a float.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    alpha: FloatAttr

    @staticmethod
    def infer(x: Tensor, *, alpha: float) -> Tensor:
        element_types("nn.thresholded_relu C1", FLOATS, x)
        return x

    @staticmethod
    def evaluate(x: Array, *, alpha: float) -> Array:
        above = x.astype(np.float64) > float(np.float32(alpha))
        return np.where(above, x, np.zeros((), x.dtype))

    example = (Tensor((2, 3), "f32"),), {"alpha": 1.0}


class PRelu(Op, dialect=Nn, name="prelu", traits=[Pure]):
    """``x`` from zero on, ``slope x`` below.

    Constraints:
        C1: the slope broadcasts to x's shape.
        C2: the element types are equal.
        C3: the elements are numbers.
    """

    x: Operand[RankedTensorType]
    slope: Operand[RankedTensorType]
    y: Result[RankedTensorType]

    @staticmethod
    def infer(x: Tensor, slope: Tensor) -> Tensor:
        require(
            broadcast_all("nn.prelu C1", x, slope) == x.shape,
            f"nn.prelu C1: the slope must broadcast to {x}, not {slope}",
        )
        equal_types("nn.prelu C2", x, slope)
        element_types("nn.prelu C3", NUMBERS, x)
        return x

    @staticmethod
    def evaluate(x: Array, slope: Array) -> Array:
        if is_float(x.dtype):
            product = rounded(x.astype(np.float64) * slope.astype(np.float64), x.dtype)
        else:
            product = x * slope
        return np.where(x < 0, product, x)

    example = (Tensor((2, 3), "f32"), Tensor((3,), "f32")), {}


class Mish(Rounded, dialect=Nn, name="mish"):
    """``x tanh(log(1 + exp(x)))``."""

    @staticmethod
    def function(x: Array) -> Any:
        return x * np.tanh(np.logaddexp(0, x))
