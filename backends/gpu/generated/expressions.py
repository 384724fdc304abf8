"""Which operators generated kernels are made of, and the kernel of a node."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TypeAlias

from tetrapla.backends.gpu.generated.elementwise import ELEMENTWISE
from tetrapla.backends.gpu.generated.integers import INTEGERS
from tetrapla.backends.gpu.generated.moves import MOVES
from tetrapla.backends.gpu.generated.quantised import QUANTISED, QUANTISED_ROWS
from tetrapla.backends.gpu.generated.registers import Code
from tetrapla.backends.gpu.generated.rowwise import ROWWISE, At, Rowwise
from tetrapla.backends.gpu.generated.scope import Rule, Scope, Source
from tetrapla.backends.gpu.generated.trigonometry import TRIGONOMETRY
from tetrapla.backends.gpu.generated.whole import WHOLE
from tetrapla.backends.gpu.generated.windows import WINDOWS
from tetrapla.backends.gpu.heads import BLOCK
from tetrapla.backends.gpu.tiles import power_of_two
from tetrapla.ir.graph import Node, Value
from tetrapla.simulators.gpu.kernels import Expression
from tetrapla.simulators.gpu.steps import Apply

# operators that can be folded into what reads them
FOLDED: Mapping[str, Rule] = {
    **ELEMENTWISE,
    **TRIGONOMETRY,
    **WHOLE,
    **INTEGERS,
    **QUANTISED,
    **MOVES,
}
# those that a kernel starts with
ROWS: Mapping[str, Rowwise] = {**ROWWISE, **QUANTISED_ROWS, **WINDOWS}
EXPRESSIONS = (*FOLDED, *ROWS)
# Triton's limit on the elements of a tensor (TRITON_MAX_TENSOR_NUMEL)
MOST_LANES = 2**20
Inlined: TypeAlias = Mapping[int, Node]


def expression(
    node: Node, source: Source, inlined: Inlined, tail: Node | None = None
) -> Expression:
    """The kernel of a node; `inlined` nodes are part of it.

    It stores the result of `tail`, element by element made of the node's, or the node's own.
    """
    rowwise = ROWS.get(node.kind)
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
        row = at.element if whole else row
        place = code.position(at.element, node.result.shape) if whole else code.row
    if tail is not None:
        known = {source.root(node.result).index: made}
        scope = Scope(code, source, inlined, FOLDED, known)
        held = node.result.shape if len(row) == len(node.result.shape) else rows
        made = scope.element(tail.result, code.regrouped(row, held, tail.result.shape))
    block = max(1, BLOCK // power_of_two(code.length))
    instructions, (stored, at_place) = code.needed(made, place)
    return Expression(
        node.name, node.kind, "", (), 1, 1, instructions, stored, at_place,
        code.rows, code.length, block,
    )  # fmt: skip


def epilogue(head: Node, held: Value, tail: Node, source: Source, inlined: Inlined) -> Apply:
    """The code from `held`, which the kernel of `head` has made, to the result of `tail`.

    Its rows and lanes are a product's own rows and columns, so that addresses need no
    divisions; of other kernels, the positions of the elements.
    """
    shape = held.shape
    match head.kind:
        case "nn.matmul" | "qnn.matmul":
            code = Code(prod(shape[:-1]), shape[-1])
            at = (*code.coordinates(code.row, shape[:-1]), code.lane)
        case "nn.conv2d" | "qnn.conv2d":
            pixels = (shape[0], *shape[2:])
            code = Code(prod(pixels), shape[1])
            image, *pixel = code.coordinates(code.row, pixels)
            at = (image, code.lane, *pixel)
        case _:
            code = Code(prod(shape), 1)
            at = code.coordinates(code.row, shape)
    known = {source.root(held).index: code.given(held.dtype)}
    scope = Scope(code, source, inlined, FOLDED, known)
    made = scope.element(tail.result, code.regrouped(at, shape, tail.result.shape))
    instructions, (value,) = code.needed(made)
    return Apply(instructions, value)
