"""Functions of one number, element by element.

A function that rounds is computed in float64 and rounded once to the operand's type, so that
a float32 result is within 0.51 ulp of the real function's; the others are exact.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.check import FLOATS, NUMBERS, SIGNED, element_types
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.erf import erf
from tetrapla.ir.nn.precision import rounded
from tetrapla.ir.op import Op, Tensor


class Unary(Op, traits=[Pure]):
    """A function of one number; `function` says which.

    Constraints:
        C1: the element type is one that the function accepts.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    if TYPE_CHECKING:  # an annotation that the bindings see would be a field
        accepted: ClassVar[tuple[str, ...]]
    else:
        accepted = FLOATS

    @staticmethod
    def function(x: Array) -> Any:
        """Every element's value, in the type given (float64 in a `Rounded`)."""
        raise NotImplementedError

    @classmethod
    def infer(cls, x: Tensor) -> Tensor:
        element_types(f"{cls.OPERATION_NAME} C1", cls.accepted, x)
        return x

    @classmethod
    def evaluate(cls, x: Array) -> Array:
        return np.asarray(cls.function(x), x.dtype)

    example = (Tensor((2, 3), "f32"),), {}


class Rounded(Unary):
    """A function that rounds: float64 in between."""

    @classmethod
    def evaluate(cls, x: Array) -> Array:
        with np.errstate(all="ignore"):  # infinity and NaN are values
            wide = np.asarray(cls.function(x.astype(np.float64)))
        return rounded(wide, x.dtype)


class Abs(Unary, dialect=Nn, name="abs"):
    """``|x|``; the smallest integer stays itself."""

    accepted = NUMBERS

    @staticmethod
    def function(x: Array) -> Any:
        return np.abs(x)


class Neg(Unary, dialect=Nn, name="neg"):
    """``-x``; the smallest integer stays itself."""

    accepted = SIGNED

    @staticmethod
    def function(x: Array) -> Any:
        return np.negative(x)


class Sign(Unary, dialect=Nn, name="sign"):
    """-1, 0 or 1; NaN stays NaN."""

    accepted = NUMBERS

    @staticmethod
    def function(x: Array) -> Any:
        return np.sign(x)


class Floor(Unary, dialect=Nn, name="floor"):
    """The next integer below."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.floor(x)


class Ceil(Unary, dialect=Nn, name="ceil"):
    """The next integer above."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.ceil(x)


class Round(Unary, dialect=Nn, name="round"):
    """The nearest integer, ties to the even one."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.rint(x)


class Sqrt(Unary, dialect=Nn, name="sqrt"):
    """The square root, correctly rounded; NaN below zero."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.sqrt(x)


class Reciprocal(Unary, dialect=Nn, name="reciprocal"):
    """``1 / x``, correctly rounded."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.ones((), x.dtype) / x


class Exp(Rounded, dialect=Nn, name="exp"):
    """``e ** x``."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.exp(x)


class Log(Rounded, dialect=Nn, name="log"):
    """The natural logarithm; NaN below zero, minus infinity at it."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.log(x)


class Sin(Rounded, dialect=Nn, name="sin"):
    """The sine of x in radians."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.sin(x)


class Cos(Rounded, dialect=Nn, name="cos"):
    """The cosine of x in radians."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.cos(x)


class Tanh(Rounded, dialect=Nn, name="tanh"):
    """The hyperbolic tangent."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.tanh(x)


class Erf(Rounded, dialect=Nn, name="erf"):
    """The error function."""

    @staticmethod
    def function(x: Array) -> Any:
        return erf(x)


class Sigmoid(Rounded, dialect=Nn, name="sigmoid"):
    """``1 / (1 + exp(-x))``."""

    @staticmethod
    def function(x: Array) -> Any:
        return 1 / (1 + np.exp(-x))


class Softplus(Rounded, dialect=Nn, name="softplus"):
    """``log(1 + exp(x))``, without overflow."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.logaddexp(0, x)


class Softsign(Rounded, dialect=Nn, name="softsign"):
    """``x / (1 + |x|)``."""

    @staticmethod
    def function(x: Array) -> Any:
        return x / (1 + np.abs(x))
