"""Convolutions and matrix products as stages: their weights, and what RQ makes of the sums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from tetrapla.backends.systolic.array.formats import (
    CLAMPS,
    CONVOLUTIONS,
    PRODUCTS,
    RESULTS,
    Format,
    product_format,
)
from tetrapla.backends.systolic.array.tiling import (
    Block,
    Shared,
    conv_blocks,
    matmul_blocks,
    shared,
)
from tetrapla.backends.systolic.design import INPUTS, Machine
from tetrapla.backends.systolic.layout import (
    ROWS,
    Buffer,
    Layout,
    Moving,
    Placed,
    constant,
    rows_of,
)
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import DTYPES, Array, Graph, Node, Value
from tetrapla.simulators.systolic.tables import Descriptor, RequantizeRow

_OFFSET = 128  # of uint8: what LUW takes away to make int8 of it


@dataclass(frozen=True)
class Epilogue:
    """What RQ does with the accumulators.

    Attributes:
        target: where the results go.
        table: for all channels at once.
        raw: the sums themselves.
        offset: elements from the target's start to the first result.
    """

    target: Placed
    table: RequantizeRow
    raw: bool
    offset: int = 0

    @property
    def width(self) -> int:
        """Bytes of a result."""
        return DTYPES[self.target.dtype].itemsize

    @property
    def fmt(self) -> int:
        """RQ's `fmt`."""
        return 0 if self.raw else RESULTS[self.target.dtype]


@dataclass(frozen=True)
class Product:
    """A convolution or matrix product with its epilogues.

    Attributes:
        rows: output pixels.
        source: of the activations.
        format: of the numbers.
        moving: where the weights lie, a row for each output channel, when the inputs stay in
            the array.
    """

    name: str
    op: str
    macs: int
    rows: int
    source: Placed
    blocks: list[Block]
    epilogues: list[Epilogue]
    format: Format
    moving: Placed | None = None

    @property
    def sources(self) -> tuple[Placed, ...]:
        """All that it reads, each once."""
        found = [self.source, *([self.moving] if self.moving else [])]
        operands = (b.weights for b in self.blocks)
        found += [weights.source for weights in operands if isinstance(weights, Moving)]
        return tuple({id(place.buffer): place for place in found}.values())

    @property
    def targets(self) -> tuple[Placed, ...]:
        """All that it writes."""
        return tuple(epilogue.target for epilogue in self.epilogues)


class Placing(Protocol):
    """Where values lie, as the stages know it.

    Attributes:
        values: by number, those placed so far.
        uses: by number, the nodes that read a value.
        kept: numbers of the graph's outputs.
        shared: what several products have in common.
        constants: what must lie in the unified buffer.
    """

    graph: Graph
    machine: Machine
    values: dict[int, Placed]
    uses: dict[int, list[Node]]
    kept: set[int]
    shared: Shared
    constants: list[tuple[Placed, Array]]

    def read(self, value: Value) -> Placed:
        """Where an operand lies."""
        ...

    def fresh(self, value: Value, hint: Layout | None = None) -> Placed:
        """A place for a result; `hint` is a layout that it may have."""
        ...

    def scratch(self, size_bytes: int) -> Buffer:
        """A buffer for a constant of the stage to come."""
        ...


def product(placing: Placing, node: Node) -> Product:
    """The stage of a product.

    Raises:
        UnsupportedError: no format of the array computes it, or no access descriptor reads the
            operand's layout.
    """
    graph, machine = placing.graph, placing.machine
    x, form = placing.read(node.operands[0]), product_format(graph, node, machine.formats)
    convolves = node.kind in CONVOLUTIONS
    swapped = machine.dataflow == INPUTS and _exchanges(node, form)
    if convolves:
        # where inputs stay, groups that share a tile would move their zeros as if of use
        array = (1, 1) if swapped else (machine.rows, machine.cols)
        blocks = conv_blocks(graph, node, x, array, form.weights, placing.shared)
    else:
        blocks = matmul_blocks(graph, node, x, form.weights, placing.shared)
    moving = _moving(placing, blocks, form) if swapped else None
    if swapped:
        blocks = [replace(b, descriptor=_signed(b.descriptor)) for b in blocks]
    channels = node.result.shape[1] if convolves else node.result.shape[-1]
    rows = node.result.elements // channels
    macs = node.result.elements * node.operands[1].elements // channels
    epilogues = _epilogues(placing, node, form, _bias(placing, node, form, blocks))
    return Product(node.name, node.kind, macs, rows, x, blocks, epilogues, form, moving)


def requantizers(placing: Placing, node: Node) -> list[Node]:
    """The nodes that requantise a product's accumulators."""
    uses = placing.uses.get(node.result.index, [])
    return [use for use in uses if is_epilogue(placing.graph, node, use)]


def is_epilogue(graph: Graph, product: Node, use: Node) -> bool:
    """Whether RQ requantises a product's sums as this node does."""
    if use.kind != "qnn.requantize" or product.kind not in PRODUCTS:
        return False
    scale, rank = use.operands[1], len(product.result.shape)
    channel = 1 if product.kind in CONVOLUTIONS else rank - 1
    return (
        graph.is_weight(scale)
        and use.str("dtype") in RESULTS
        and (scale.shape == (1,) or use.int("axis") % rank == channel)
        and bool(np.isfinite(constant(graph, scale)).all())
    )


def _exchanges(node: Node, form: Format) -> bool:
    """Whether the activations of a format can stay in the array, and its weights move.

    Both operands need one type; and what LUW reads in the padding must fit a byte.
    """
    if form.name == "int8" or form.real:
        return True
    return form.name == "int16" and -128 <= node.int("x_zero_point") <= 127


def _moving(placing: Placing, blocks: list[Block], form: Format) -> Placed:
    """The weights as a constant in the unified buffer, a row for each output channel."""
    rows = [
        block.weights.T.ravel() for block in blocks if not isinstance(block.weights, Moving)
    ]
    held = np.concatenate(rows)
    place = Placed(placing.scratch(held.nbytes), held.shape, (), form.weights)
    placing.constants.append((place, held))
    return place


def _signed(d: Descriptor) -> Descriptor:
    """The descriptor by which LUW reads int8."""
    return replace(d, zero_x=_OFFSET) if d.unsigned else d


def _bias(placing: Placing, node: Node, form: Format, blocks: list[Block]) -> Array:
    """What RQ adds: the bias less the zero point's share, x_zero_point x sum of weights."""
    given = constant(placing.graph, node.operands[2]) if len(node.operands) > 2 else None
    channels = node.result.shape[1 if node.kind in CONVOLUTIONS else -1]
    if form.real:
        return np.zeros(channels, np.float32) if given is None else given.astype(np.float32)
    total = np.zeros(channels, np.int64) if given is None else given.astype(np.int64)
    for block in blocks:
        if not isinstance(block.weights, Moving):
            zero = node.int("x_zero_point") - block.descriptor.zero_x
            sums = _sums(placing.shared, block.weights)
            total[block.first : block.first + len(sums)] -= zero * sums
    return table_bias(total, form)


def table_bias(total: Array, form: Format) -> Array:
    """Integers as the requantise table holds them.

    Raises:
        UnsupportedError: they exceed it, and the sums do not wrap as they would.
    """
    if form.wide and np.abs(total).max(initial=0) >= 2**31:
        raise UnsupportedError(
            f"a bias of {np.abs(total).max()} steps, more than the table's 32 bits hold: "
            "quantise this layer with fewer bits"
        )
    return total.astype(np.int32)  # sums of 32 bits wrap, and so may their bias


def _sums(held: Shared, weights: Array) -> Array:
    """Of each column; the weights are held too, so that no other has their identity."""
    key = "sums", id(weights)
    return shared(held, key, lambda: np.asarray(weights.sum(axis=0, dtype=np.int64)))


def _epilogues(placing: Placing, node: Node, form: Format, held: Array) -> list[Epilogue]:
    """One for each requantise, and the sums themselves where others read them."""
    if form.real:
        return [_rounded(placing, node, held)]
    scaled = requantizers(placing, node)
    found = []
    for use in scaled:
        scale = np.broadcast_to(constant(placing.graph, use.operands[1]), held.shape)
        low, high, zero = (use.int(name) for name in ("low", "high", "zero_point"))
        target = _result(placing, use.result)
        unsigned = use.str("dtype") == "ui8"
        offset, _, stride = rows_of(target, row_order(node))
        stride *= target.element_bytes
        table = RequantizeRow(stride, zero, low, high, unsigned, held, scale)
        found.append(Epilogue(target, table, raw=False, offset=offset))
    uses = placing.uses.get(node.result.index, [])
    if len(uses) > len(scaled) or node.result.index in placing.kept or not uses:
        target = _result(placing, node.result)
        one = np.ones(held.shape, np.float32)
        offset, _, stride = rows_of(target, row_order(node))
        table = RequantizeRow(stride * target.element_bytes, 0, 0, 0, False, held, one)
        found.append(Epilogue(target, table, raw=True, offset=offset))
    return found


def row_order(node: Node) -> tuple[int, ...]:
    """The axes of a product's result: its rows in order, and its columns."""
    return ROWS if node.kind in CONVOLUTIONS else tuple(range(len(node.result.shape)))


def _rounded(placing: Placing, node: Node, held: Array) -> Epilogue:
    """Of float sums: bias and ReLU in float32, then the result's own type."""
    target = _result(placing, node.result)
    offset, _, stride = rows_of(target, row_order(node))
    table = float_table(node, stride * target.element_bytes, held)
    return Epilogue(target, table, raw=False, offset=offset)


def float_table(node: Node, stride: int, held: Array) -> RequantizeRow:
    """The row of a float product; `stride` in bytes."""
    low, high = CLAMPS[node.str("activation")]
    one, clamped = np.ones(held.shape, np.float32), (low, high) != CLAMPS["none"]
    return RequantizeRow(stride, 0, low, high, False, held, one, clamped)


def _result(placing: Placing, value: Value) -> Placed:
    target = placing.fresh(value)
    placing.values[value.index] = target
    return target
