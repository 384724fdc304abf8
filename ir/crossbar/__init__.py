"""Dialect `crossbar`: products on arrays of programmable conductances, step by step."""

from tetrapla.ir.crossbar import cells, converters, digital, mapping
from tetrapla.ir.crossbar.dialect import Crossbar

__all__ = ["Crossbar", "cells", "converters", "digital", "mapping"]
