"""Which operators generated kernels are made of, and the kernel of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TypeAlias

from tetrapla.backends.gpu.generated.elementwise import ELEMENTWISE
from tetrapla.backends.gpu.generated.integers import INTEGERS
from tetrapla.backends.gpu.generated.moves import MOVES
from tetrapla.backends.gpu.generated.quantised import QUANTISED, QUANTISED_ROWS
from tetrapla.backends.gpu.generated.registers import Code
from tetrapla.backends.gpu.generated.roundings import ROUNDINGS
from tetrapla.backends.gpu.generated.rowwise import ROWWISE, At, Rowwise
from tetrapla.backends.gpu.generated.scope import Rule, Scope, Source
from tetrapla.backends.gpu.generated.trigonometry import TRIGONOMETRY
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
    **INTEGERS,
    **ROUNDINGS,
    **QUANTISED,
    **MOVES,
}
# those that a kernel starts with
ROWS: Mapping[str, Rowwise] = {**ROWWISE, **QUANTISED_ROWS, **WINDOWS}
EXPRESSIONS = (*FOLDED, *ROWS)
# lanes that are held at once, assumed: 64 of a thread's 255 registers; longer rows take passes
LONGEST = 8192
# of a row, whose places are 32 bits wide
MOST_LANES = 2**30
Inlined: TypeAlias = Mapping[int, Node]


def is_long(node: Node) -> bool:
    """Whether a row has more lanes than a kernel holds at once."""
    return node.kind in ROWS and prod(ROWS[node.kind].extents(node)[1]) > LONGEST


def expression(
    node: Node,
    source: Source,
    inlined: Inlined,
    tail: Node | None = None,
    stored: Value | None = None,
) -> Expression:
    """The kernel of a node; `inlined` nodes are part of it.

    It makes the result of `tail`, element by element of the node's, or the node's own; and
    stores that as `stored` lies, which steps make of it, or as itself.
    """
    last = node.result if tail is None else tail.result
    stored = last if stored is None else stored
    rowwise = ROWS.get(node.kind)
    lanes: tuple[int, ...] = ()
    rows = node.result.shape
    if rowwise is not None:
        rows, lanes = rowwise.extents(node)
    code = Code(prod(rows), prod(lanes))
    scope = Scope(code, source, inlined, FOLDED)
    if rowwise is None:
        at = code.regrouped(scope.walked(stored), stored.shape, rows)
        made, place = FOLDED[node.kind](scope, node, at), code.row
    else:
        row, lane = code.coordinates(code.row, rows), code.coordinates(code.lane, lanes)
        element = rowwise.element(scope, node, row, lane)
        made = rowwise.function(scope, node, At(row, lane, element))
        at = element if rowwise.whole else code.regrouped(row, rows, node.result.shape)
        place = scope.place(stored, code.regrouped(at, node.result.shape, stored.shape))
    if tail is not None:
        known = {source.root(node.result).index: made}
        scope = Scope(code, source, inlined, FOLDED, known)
        made = scope.element(last, code.regrouped(at, node.result.shape, last.shape))
    block = max(1, BLOCK // power_of_two(code.length))
    instructions, (value, at_place) = code.needed(made, place)
    return Expression(
        node.name, node.kind, "", (), 1, 1, instructions, value, at_place,
        code.rows, code.length, block,
    )  # fmt: skip


def epilogue(
    head: Node,
    held: Value,
    tail: Node,
    source: Source,
    inlined: Inlined,
    turns: Sequence[Node],
) -> Apply:
    """The code from `held`, which the kernel of `head` has made, to the result of `tail`.

    Its rows and lanes are a product's own rows and columns, so that addresses need no
    divisions; of other kernels, the positions of the elements. `turns` are transposes between.
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
            walked = Scope(code, source, {}, FOLDED).walked(tail.result)
            at = code.regrouped(walked, tail.result.shape, shape)
    known = {source.root(held).index: code.given(held.dtype)}
    scope = Scope(code, source, inlined, FOLDED, known)
    for node in turns:
        moved = code.regrouped(at, shape, node.operands[0].shape)
        at, shape = tuple(moved[axis] for axis in node.ints("perm")), node.result.shape
    made = scope.element(tail.result, code.regrouped(at, shape, tail.result.shape))
    instructions, (value,) = code.needed(made)
    return Apply(instructions, value)
