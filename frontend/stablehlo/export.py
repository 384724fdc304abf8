"""A module as StableHLO text: what has a form there, and the usual compositions of it.

Reading the text back computes what the interpreter computes from the module: the same values
where an operator is one operation, within float32 rounding where it is composed.
"""

from __future__ import annotations

from tetrapla.frontend.foreign.writer import Held, Write, Writer, dense_text, written
from tetrapla.frontend.stablehlo import (
    export_linear,
    export_move,
    export_special,
    export_values,
)
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.module import Module
from tetrapla.ir.op import Tensor

WRITERS: dict[str, Write] = {
    **export_linear.WRITERS,
    **export_move.WRITERS,
    **export_special.WRITERS,
    **export_values.WRITERS,
}


def export(module: Module) -> str:
    """The module as StableHLO, in MLIR's generic form.

    Raises:
        ModelError: the module is shape-only, or its text would be too large.
        UnsupportedError: listing the operators that StableHLO has no form of.
    """
    return written(module, "StableHLO", WRITERS, _constant)


def _constant(writer: Writer, array: Array) -> Held:
    dtype = next(name for name, held in DTYPES.items() if held == array.dtype)
    type_ = Tensor(array.shape, dtype)
    return writer.op("stablehlo.constant", [], type_, {"value": dense_text(array, type_)})
