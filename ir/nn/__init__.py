"""Dialect `nn`: tensor operators with ONNX's semantics."""

from tetrapla.ir.nn import (
    activation,
    attention,
    binary,
    elementwise,
    linear,
    move,
    norm,
    pool,
    reduce,
    region,
    shape,
    unary,
)
from tetrapla.ir.nn.dialect import Nn

__all__ = [
    "Nn",
    "activation",
    "attention",
    "binary",
    "elementwise",
    "linear",
    "move",
    "norm",
    "pool",
    "reduce",
    "region",
    "shape",
    "unary",
]
