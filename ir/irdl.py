"""The project's dialects in IRDL, MLIR's own language for dialects.

With the file, a foreign ``mlir-opt`` reads the text of a module as registered, checked
operations: ``mlir-opt-22 --irdl-file=tetrapla.irdl model.mlir``.

IRDL states the names and kinds of operands, attributes and results. It does not state shapes,
element types or values, so the numbered constraints of an operator are checked here alone; and
an attribute that no operator declares passes there, where MLIR takes it for a discardable one.
Nor can it state that an operation ends a block: bodies end with an upstream terminator.
"""

from __future__ import annotations

from tetrapla.ir.dialects import DIALECTS
from tetrapla.ir.mlir import irdl_of


def text() -> str:
    """IRDL of every dialect; a file for ``mlir-opt --irdl-file``, from LLVM 22 on."""
    return "".join(irdl_of(dialect) for dialect in DIALECTS)
