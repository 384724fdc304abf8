"""Reading TOSA text."""

from __future__ import annotations

from collections.abc import Mapping

from tetrapla.frontend.foreign.walk import Translate, imported
from tetrapla.frontend.tosa import elementwise, linear, move
from tetrapla.ir.module import Module

OPERATORS: Mapping[str, Translate] = {
    **elementwise.OPERATORS,
    **linear.OPERATORS,
    **move.OPERATORS,
}


def load(text: str, name: str) -> Module:
    """A module of TOSA.

    Raises:
        ModelError: the text is not a module of MLIR, or too large or deep.
        UnsupportedError: listing the operators that the IR does not have.
    """
    return imported(text, OPERATORS, name)
