"""Activations on quantised values as tables, and the functions that fill the tables."""

from collections.abc import Callable
from math import erf, sqrt
from typing import Any

import numpy as np

from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.mlir import Operand, Pure, RankedTensorType, Result
from tetrapla.ir.op import Op, Tensor, require
from tetrapla.ir.quant.dialect import (
    NAMES,
    RANGES,
    Quant,
    check_scales,
    check_types,
    check_zero_point,
    f32,
    stored,
)
from tetrapla.ir.quant.scale import centred, fused_multiply_add

# of ONNX Runtime's logistic function, highest power first
SIGMOID_LIMIT = np.float32(18)
SIGMOID_ABOVE = (
    4.37031012579801e-11,
    1.15627324459942e-07,
    6.08574864600143e-05,
    8.51377133304701e-03,
    2.48287947061529e-01,
)
SIGMOID_BELOW = (
    6.10247389755681e-13,
    5.76102136993427e-09,
    6.29106785017040e-06,
    1.70198817374094e-03,
    1.16817656904453e-01,
    9.93151921023180e-01,
)


class Lookup(Op, dialect=Quant, name="lookup", traits=[Pure]):
    """``table[x - min]``: one entry per value of x's type, the least value first.

    The order is that of TOSA's TABLE. ONNX Runtime's own tables are addressed by the bits of x,
    so for i8 their second half stands first.

    Constraints:
        C1: x is an integer of 2, 4, 8 or 16 bits.
        C2: the table has shape (2^bits,); the result takes its element type.
    """

    x: Operand[RankedTensorType]
    table: Operand[RankedTensorType]
    y: Result[RankedTensorType]

    @staticmethod
    def infer(x: Tensor, table: Tensor) -> Tensor:
        check_types("qnn.lookup C1", tuple(RANGES), x)
        low, high = RANGES[x.dtype]
        require(
            table.shape == (high - low + 1,),
            f"qnn.lookup C2: the table for {x.dtype} must have shape ({high - low + 1},), "
            f"not {table}",
        )
        return Tensor(x.shape, table.dtype)

    @staticmethod
    def evaluate(x: Array, table: Array) -> Array:
        low, _ = RANGES[NAMES[x.dtype]]
        return np.asarray(table[x.astype(np.int64) - low])

    example = (Tensor((2, 3), "i8"), Tensor((256,), "i8")), {}


def lookup_table(
    function: Callable[[Array], Array],
    x_scale: float,
    x_zero_point: int,
    y_scale: float,
    y_zero_point: int,
    x_dtype: str = "i8",
    y_dtype: str = "i8",
) -> Array:
    """``sat(rint(g(f32(x - x_zero_point) * x_scale) / y_scale) + y_zero_point)`` of every x.

    ONNX Runtime's form for QLinearSigmoid and QLinearLeakyRelu, in the order of qnn.lookup.

    Args:
        function: g, from float32 to float32; one of those below or any other.
        x_scale: of the operand; positive.
        x_zero_point: a value of `x_dtype`.
        y_scale: of the result; positive.
        y_zero_point: a value of `y_dtype`.
        x_dtype: an integer type of 2, 4, 8 or 16 bits.
        y_dtype: an integer type of 2, 4, 8 or 16 bits.

    Raises:
        IRError: a scale is not positive and finite, a zero point is outside its type, or the
            function makes another type than float32.
    """
    check_scales("qnn.lookup table", x_scale=x_scale, y_scale=y_scale)
    check_zero_point("qnn.lookup table", x_zero_point, x_dtype)
    check_zero_point("qnn.lookup table", y_zero_point, y_dtype)
    low, high = RANGES[x_dtype]
    every = np.arange(low, high + 1).astype(DTYPES[x_dtype])
    real = function(centred(every, x_zero_point) * f32(x_scale))
    if real.dtype != np.float32:
        raise IRError(f"qnn.lookup table's function must make float32, not {real.dtype}")
    return stored(real / f32(y_scale), y_zero_point, y_dtype)


def sigmoid(x: Array) -> Array:
    """Logistic function in float32, bit for bit as ONNX Runtime computes it.

    ``x P(x^2) / Q(x^2) + 1/2`` of x clamped to -18..18, fused multiply-adds by Horner's rule.
    Source: MLAS, logistic.cpp and LogisticKernelFma3.S (Eigen's coefficients). Without FMA3
    the runtime rounds each product too, and the last bit may differ.
    """
    held = np.clip(x, -SIGMOID_LIMIT, SIGMOID_LIMIT)
    square = held * held
    above = held * _horner(square, SIGMOID_ABOVE)
    half = above / _horner(square, SIGMOID_BELOW) + np.float32(0.5)
    return np.maximum(half, np.float32(0))


def tanh(x: Array) -> Array:
    """Hyperbolic tangent, by float64."""
    return _narrow(np.tanh(x.astype(np.float64)))


def gelu(x: Array) -> Array:
    """``x/2 (1 + erf(x / sqrt 2))``, by float64."""
    wide = x.astype(np.float64)
    halves = np.array([(1 + erf(v / sqrt(2))) / 2 for v in wide.ravel()]).reshape(wide.shape)
    return _narrow(wide * halves)


def silu(x: Array) -> Array:
    """``x`` times its logistic function, by float64."""
    wide = x.astype(np.float64)
    return _narrow(wide * _logistic(wide))


def hard_swish(x: Array) -> Array:
    """``x max(0, min(1, x/6 + 1/2))``, as ONNX's HardSwish, in float32."""
    gate = np.clip(x * np.float32(1 / 6) + np.float32(0.5), np.float32(0), np.float32(1))
    return np.asarray(x * gate)


def hard_sigmoid(alpha: float = 0.2, beta: float = 0.5) -> Callable[[Array], Array]:
    """``max(0, min(1, alpha x + beta))``, as ONNX's HardSigmoid, in float32."""
    return lambda x: np.clip(x * f32(alpha) + f32(beta), np.float32(0), np.float32(1))


def relu(x: Array) -> Array:
    """``max(x, 0)``."""
    return np.maximum(x, np.float32(0))


def relu6(x: Array) -> Array:
    """``min(max(x, 0), 6)``."""
    return np.clip(x, np.float32(0), np.float32(6))


def leaky_relu(alpha: float = 0.01) -> Callable[[Array], Array]:
    """``x`` where it is not negative, else ``alpha x``, in float32."""
    return lambda x: np.where(x >= 0, x, x * f32(alpha))


def elu(alpha: float = 1.0) -> Callable[[Array], Array]:
    """``x`` where it is positive, else ``alpha (exp x - 1)``, by float64."""

    def function(x: Array) -> Array:
        below = np.expm1(np.minimum(x, 0).astype(np.float64))  # no overflow above
        return _narrow(np.where(x > 0, x, alpha * below))

    return function


def _horner(x: Array, coefficients: tuple[float, ...]) -> Array:
    """A polynomial, each step one fused multiply-add in float32."""
    total = np.full_like(x, f32(coefficients[0]))
    for coefficient in coefficients[1:]:
        total = fused_multiply_add(total, x, f32(coefficient))
    return total


def _logistic(x: Array) -> Any:
    """By the side on which the exponential does not overflow."""
    decay = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, decay) / (1 + decay)


def _narrow(x: Any) -> Array:
    return np.asarray(x).astype(np.float32)
