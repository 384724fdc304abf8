"""Dialect `nn`: tensor operators with ONNX's semantics."""

from tetrapla.ir.nn import elementwise, linear, pool, shape
from tetrapla.ir.nn.dialect import Nn

__all__ = ["Nn", "elementwise", "linear", "pool", "shape"]
