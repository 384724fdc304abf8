"""Dialect `nn`: tensor operators with ONNX's semantics."""

from tetrapla.ir.nn import (
    activation,
    binary,
    elementwise,
    linear,
    move,
    norm,
    pool,
    reduce,
    shape,
    unary,
)
from tetrapla.ir.nn.dialect import Nn

__all__ = [
    "Nn",
    "activation",
    "binary",
    "elementwise",
    "linear",
    "move",
    "norm",
    "pool",
    "reduce",
    "shape",
    "unary",
]
