"""Dialect `qnn`: quantise, dequantise, requantise and the integer operators."""

from tetrapla.ir.quant import linear, pool, scale
from tetrapla.ir.quant.dialect import Quant

__all__ = ["Quant", "linear", "pool", "scale"]
