"""Dialect `qnn`: quantise, dequantise, requantise and the integer operators."""

from tetrapla.ir.quant import (
    arithmetic,
    blocks,
    integer,
    linear,
    micro,
    pool,
    rescale,
    scale,
    softmax,
    table,
)
from tetrapla.ir.quant.dialect import Quant

__all__ = [
    "Quant",
    "arithmetic",
    "blocks",
    "integer",
    "linear",
    "micro",
    "pool",
    "rescale",
    "scale",
    "softmax",
    "table",
]
