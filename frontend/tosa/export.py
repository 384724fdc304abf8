"""A module as TOSA text: what has a form there, and short compositions of it.

Images are NHWC there, so convolutions and pools stand between transpositions. Reading the text
back computes what the interpreter computes from the module: the same values where an operator
is one of TOSA's, within float32 rounding where it is composed.
"""

from __future__ import annotations

from tetrapla.frontend.foreign.writer import Write, written
from tetrapla.frontend.tosa import export_linear, export_move, export_values
from tetrapla.frontend.tosa.export_move import constant
from tetrapla.ir.module import Module

WRITERS: dict[str, Write] = {
    **export_linear.WRITERS,
    **export_move.WRITERS,
    **export_values.WRITERS,
}


def export(module: Module) -> str:
    """The module as TOSA, in MLIR's generic form.

    Raises:
        ModelError: the module is shape-only, or its text would be too large.
        UnsupportedError: listing the operators that TOSA has no form of.
    """
    return written(module, "TOSA", WRITERS, constant)
