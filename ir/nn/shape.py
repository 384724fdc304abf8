"""Operators that move values and compute nothing."""

from math import prod

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import ArrayAttr, Operand, Pure, RankedTensorType, Result
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.work import Moves
from tetrapla.ir.op import Tensor, require


class Reshape(Moves, dialect=Nn, name="reshape", traits=[Pure]):
    """The same values in row-major order under another shape (flatten is one of these).

    Constraints:
        C1: every dimension is 0 or more.
        C2: the number of elements stays.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    shape: ArrayAttr

    @staticmethod
    def infer(x: Tensor, *, shape: tuple[int, ...]) -> Tensor:
        require(min(shape, default=0) >= 0, f"nn.reshape C1: {shape} has a negative dimension")
        require(
            prod(shape) == prod(x.shape),
            f"nn.reshape C2: {x} has {prod(x.shape)} elements, shape {shape} has {prod(shape)}",
        )
        return Tensor(tuple(shape), x.dtype)

    @staticmethod
    def evaluate(x: Array, *, shape: tuple[int, ...]) -> Array:
        return x.reshape(shape)

    example = (Tensor((2, 3, 4), "f32"),), {"shape": (2, 12)}


class Transpose(Moves, dialect=Nn, name="transpose", traits=[Pure]):
    """Axes in another order: ``y.shape[i] == x.shape[perm[i]]``.

    Constraints:
        C1: perm holds each axis once.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    perm: ArrayAttr

    @staticmethod
    def infer(x: Tensor, *, perm: tuple[int, ...]) -> Tensor:
        require(
            sorted(perm) == list(range(x.rank)),
            f"nn.transpose C1: perm must hold each axis of {x} once, not {perm}",
        )
        return Tensor(tuple(x.shape[axis] for axis in perm), x.dtype)

    @staticmethod
    def evaluate(x: Array, *, perm: tuple[int, ...]) -> Array:
        return np.asarray(x.transpose(perm), order="C")

    example = (Tensor((2, 3, 4), "f32"),), {"perm": (2, 0, 1)}
