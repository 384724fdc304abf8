"""Arithmetic of integers that floats do otherwise: division, remainder, bits, shifts.

Division by zero gives 0 and the smallest integer divided by -1 itself, which ONNX leaves open.
"""

from typing import Any

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import IntegerAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.binary import Binary, Pair
from tetrapla.ir.nn.check import (
    INTEGERS,
    NUMBERS,
    broadcast_all,
    element_types,
    equal_types,
    flag,
)
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.precision import is_float, rounded
from tetrapla.ir.nn.unary import Unary
from tetrapla.ir.op import Op, Tensor

_WHOLE: Pair = (Tensor((2, 3), "i32"), Tensor((2, 1), "i32")), {}


class IntegerDiv(Binary, dialect=Nn, name="idiv"):
    """The quotient of integers, towards zero."""

    accepted = INTEGERS
    example = _WHOLE

    @staticmethod
    def function(a: Array, b: Array) -> Any:
        with np.errstate(divide="ignore", over="ignore"):
            below, rest = np.divmod(a, b)
        # NumPy rounds down: one too few where a rest is left over and the signs differ
        return below + ((rest != 0) & ((a < 0) != (b < 0))).astype(below.dtype)


class Mod(Op, dialect=Nn, name="mod", traits=[Pure]):
    """What division leaves over: with b's sign, or with a's where fmod is 1 (C's fmod).

    Constraints:
        C1: the shapes broadcast.
        C2: the element types are equal.
        C3: the elements are numbers.
        C4: fmod is 0 or 1.
    """

    a: Operand[RankedTensorType]
    b: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    fmod: IntegerAttr

    @staticmethod
    def infer(a: Tensor, b: Tensor, *, fmod: int) -> Tensor:
        shape = broadcast_all("nn.mod C1", a, b)
        equal_types("nn.mod C2", a, b)
        element_types("nn.mod C3", NUMBERS, a)
        flag("nn.mod C4", "fmod", fmod)
        return Tensor(shape, a.dtype)

    @staticmethod
    def evaluate(a: Array, b: Array, *, fmod: int) -> Array:
        function = np.fmod if fmod else np.mod
        with np.errstate(divide="ignore", invalid="ignore"):
            if is_float(a.dtype):  # that of float64 is exact for the narrower ones
                wide = function(a.astype(np.float64), b.astype(np.float64))
                return rounded(np.asarray(wide), a.dtype)
            return np.asarray(function(a, b), a.dtype)

    example = (Tensor((2, 3), "i32"), Tensor((2, 1), "i32")), {"fmod": 0}


class BitwiseAnd(Binary, dialect=Nn, name="bitwise_and"):
    """The bits that both have."""

    accepted = INTEGERS
    example = _WHOLE

    @staticmethod
    def function(a: Array, b: Array) -> Any:
        return a & b


class BitwiseOr(Binary, dialect=Nn, name="bitwise_or"):
    """The bits that either has."""

    accepted = INTEGERS
    example = _WHOLE

    @staticmethod
    def function(a: Array, b: Array) -> Any:
        return a | b


class BitwiseXor(Binary, dialect=Nn, name="bitwise_xor"):
    """The bits that one has."""

    accepted = INTEGERS
    example = _WHOLE

    @staticmethod
    def function(a: Array, b: Array) -> Any:
        return a ^ b


class ShiftLeft(Binary, dialect=Nn, name="shift_left"):
    """``a 2 ** b``, bits beyond the width lost; 0 where b is no number of a bit."""

    accepted = INTEGERS
    example = _WHOLE

    @staticmethod
    def function(a: Array, b: Array) -> Any:
        beyond = (b < 0) | (b >= 8 * b.dtype.itemsize)
        shifted = a << np.where(beyond, b.dtype.type(0), b)
        return np.where(beyond, a.dtype.type(0), shifted)


class ShiftRight(Binary, dialect=Nn, name="shift_right"):
    """``a / 2 ** b`` rounded down; 0 or -1, by a's sign, where b is no number of a bit."""

    accepted = INTEGERS
    example = _WHOLE

    @staticmethod
    def function(a: Array, b: Array) -> Any:
        beyond = (b < 0) | (b >= 8 * b.dtype.itemsize)
        shifted = a >> np.where(beyond, b.dtype.type(0), b)
        sign = (a < 0).astype(a.dtype)
        return np.where(beyond, a.dtype.type(0) - sign, shifted)


class BitwiseNot(Unary, dialect=Nn, name="bitwise_not"):
    """Every bit the other one."""

    accepted = INTEGERS
    example = (Tensor((2, 3), "i32"),), {}

    @staticmethod
    def function(x: Array) -> Any:
        return ~x
