"""Whether a float is a number at all."""

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import IntegerAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.check import FLOATS, element_types, flag
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.op import Op, Tensor

_ACCEPTED = (*FLOATS, "f8E4M3FN", "f8E5M2")


class IsNan(Op, dialect=Nn, name="is_nan", traits=[Pure]):
    """Whether each element is NaN.

    Constraints:
        C1: the element type is a float that has one.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]

    @staticmethod
    def infer(x: Tensor) -> Tensor:
        element_types("nn.is_nan C1", _ACCEPTED, x)
        return Tensor(x.shape, "i1")

    @staticmethod
    def evaluate(x: Array) -> Array:
        return np.asarray(np.isnan(x), np.bool_)

    example = (Tensor((2, 3), "f32"),), {}


class IsInf(Op, dialect=Nn, name="is_inf", traits=[Pure]):
    """Whether each element is infinite, of the signs that are asked for.

    Constraints:
        C1: the element type is a float.
        C2: detect_negative and detect_positive are 0 or 1.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    detect_negative: IntegerAttr
    detect_positive: IntegerAttr

    @staticmethod
    def infer(x: Tensor, *, detect_negative: int, detect_positive: int) -> Tensor:
        element_types("nn.is_inf C1", _ACCEPTED, x)
        flag("nn.is_inf C2", "detect_negative", detect_negative)
        flag("nn.is_inf C2", "detect_positive", detect_positive)
        return Tensor(x.shape, "i1")

    @staticmethod
    def evaluate(x: Array, *, detect_negative: int, detect_positive: int) -> Array:
        below, zero = np.signbit(x), np.isinf(x)
        wanted = np.where(below, bool(detect_negative), bool(detect_positive))
        return np.asarray(zero & wanted, np.bool_)

    example = (Tensor((2, 3), "f32"),), {"detect_negative": 1, "detect_positive": 0}
