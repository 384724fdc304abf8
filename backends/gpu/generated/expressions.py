"""Which operators generated kernels are made of, and the kernel of a node."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from tetrapla.backends.gpu.generated.elementwise import ELEMENTWISE
from tetrapla.backends.gpu.generated.integers import INTEGERS
from tetrapla.backends.gpu.generated.moves import MOVES
from tetrapla.backends.gpu.generated.registers import Code
from tetrapla.backends.gpu.generated.rowwise import ROWWISE, At
from tetrapla.backends.gpu.generated.scope import Rule, Scope, Source
from tetrapla.backends.gpu.heads import BLOCK, power_of_two
from tetrapla.ir.graph import Node
from tetrapla.simulators.gpu.kernels import Expression

# operators that can be folded into what reads them
FOLDED: Mapping[str, Rule] = {**ELEMENTWISE, **INTEGERS, **MOVES}
EXPRESSIONS = (*FOLDED, *ROWWISE)
# Triton's limit on the elements of a tensor (TRITON_MAX_TENSOR_NUMEL)
MOST_LANES = 2**20


def expression(node: Node, source: Source, inlined: Mapping[int, Node]) -> Expression:
    """The kernel that stores a node's result; `inlined` nodes are part of it."""
    rowwise = ROWWISE.get(node.kind)
    lanes: tuple[int, ...] = ()
    rows = node.result.shape
    if rowwise is not None:
        rows, lanes = rowwise.extents(node)
    code = Code(prod(rows), prod(lanes))
    scope = Scope(code, source, inlined, FOLDED)
    row = code.coordinates(code.row, rows)
    if rowwise is None:
        made, place = FOLDED[node.kind](scope, node, row), code.row
    else:
        lane = code.coordinates(code.lane, lanes)
        at = At(row, lane, rowwise.element(scope, node, row, lane))
        made = rowwise.function(scope, node, at)
        whole = rowwise.whole
        place = code.position(at.element, node.result.shape) if whole else code.row
    block = max(1, BLOCK // power_of_two(code.length))
    instructions, (stored, at_place) = code.needed(made, place)
    return Expression(
        node.name, node.kind, "", (), 1, 1, instructions, stored, at_place,
        code.rows, code.length, block,
    )  # fmt: skip
