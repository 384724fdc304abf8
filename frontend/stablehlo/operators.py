"""Reading StableHLO text."""

from __future__ import annotations

from collections.abc import Mapping

from tetrapla.frontend.foreign.walk import Translate, imported
from tetrapla.frontend.stablehlo import control, elementwise, index, linear, move, order, reduce
from tetrapla.ir.module import Module

OPERATORS: Mapping[str, Translate] = {
    **control.OPERATORS,
    **elementwise.OPERATORS,
    **index.OPERATORS,
    **linear.OPERATORS,
    **move.OPERATORS,
    **order.OPERATORS,
    **reduce.OPERATORS,
}


def load(text: str, name: str) -> Module:
    """A module of StableHLO.

    Raises:
        ModelError: the text is not a module of MLIR, or too large or deep.
        UnsupportedError: listing the operations that the IR does not have.
    """
    return imported(text, OPERATORS, name)
