"""The project's dialects in IRDL, MLIR's own language for dialects.

With the file, a foreign ``mlir-opt`` reads the text of a module as registered, checked
operations: ``mlir-opt-22 --irdl-file=tetrapla.irdl model.mlir``.

IRDL states the names and kinds of operands, attributes and results. It does not state shapes,
element types or values, so the numbered constraints of an operator are checked here alone; and
an attribute that no operator declares passes there, where MLIR takes it for a discardable one.
Nor can it state that an operation ends a block: a module with loops or branches is sent in the
form of `portable`.
"""

from __future__ import annotations

import re

from tetrapla.ir.dialects import DIALECTS
from tetrapla.ir.mlir import irdl_of
from tetrapla.ir.op import OPS, arity

_OWN = re.compile(r'"nn\.yield"\(([^)]*)\) \{operandSegmentSizes = array<i32: [^>]*>\}')
_UPSTREAM = re.compile(r'"tosa\.yield"\(([^)]*)\)')


def text() -> str:
    """IRDL of every dialect; a file for ``mlir-opt --irdl-file``, from LLVM 22 on."""
    return "".join(irdl_of(dialect) for dialect in DIALECTS)


def portable(module_text: str) -> str:
    """A module's text whose bodies end with upstream's terminator that may end any block.

    That is ``tosa.yield`` in LLVM 22; the other dialects' terminators name their parents.
    """
    return _OWN.sub(r'"tosa.yield"(\1)', module_text)


def own(module_text: str) -> str:
    """The inverse of `portable`."""
    most = arity(OPS["nn.yield"])[1]

    def restored(found: re.Match[str]) -> str:
        count = len(found[1].split(",")) if found[1] else 0
        sizes = ", ".join(["1"] * count + ["0"] * (most - count))
        return f'"nn.yield"({found[1]}) {{operandSegmentSizes = array<i32: {sizes}>}}'

    return _UPSTREAM.sub(restored, module_text)
