"""Convolutions and matrix products as stages: their weights, and what RQ makes of the sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tetrapla.backends.systolic.layout import Placed, constant
from tetrapla.backends.systolic.tiling import Block, bias, conv_blocks, matmul_blocks
from tetrapla.ir.graph import Array, Graph, Node, Value
from tetrapla.simulators.systolic.tables import RequantizeRow


@dataclass(frozen=True)
class Epilogue:
    """What RQ does with the accumulators: to `target`, `table` for all channels at once."""

    target: Placed
    table: RequantizeRow
    raw: bool


@dataclass(frozen=True)
class Product:
    """A convolution or matrix product with its epilogues."""

    name: str
    op: str
    macs: int
    rows: int
    source: Placed
    blocks: list[Block]
    epilogues: list[Epilogue]


class Placing(Protocol):
    """Where values lie, as the stages know it.

    Attributes:
        array: rows and columns.
        values: by number, those placed so far.
        uses: by number, the nodes that read a value.
        kept: numbers of the graph's outputs.
    """

    graph: Graph
    array: tuple[int, int]
    values: dict[int, Placed]
    uses: dict[int, list[Node]]
    kept: set[int]

    def read(self, value: Value) -> Placed:
        """Where an operand lies."""
        ...

    def fresh(self, value: Value) -> Placed:
        """A place for a result."""
        ...


def product(placing: Placing, node: Node) -> Product:
    """The stage of a product.

    Raises:
        UnsupportedError: no access descriptor reads the operand's layout.
    """
    x = placing.read(node.operands[0])
    if node.kind == "qnn.conv2d":
        blocks = conv_blocks(placing.graph, node, x, placing.array)
    else:
        blocks = matmul_blocks(placing.graph, node, x)
    weights = node.operands[1].shape
    taps = int(np.prod(weights[1:])) if node.kind == "qnn.conv2d" else weights[0]
    channels = weights[0] if node.kind == "qnn.conv2d" else weights[1]
    rows = node.result.elements // channels
    epilogues = _epilogues(placing, node, bias(placing.graph, node, blocks))
    return Product(node.name, node.kind, rows * taps * channels, rows, x, blocks, epilogues)


def requantizers(placing: Placing, node: Node) -> list[Node]:
    """The nodes that requantise a product's accumulators."""
    uses = placing.uses.get(node.result.index, [])
    return [use for use in uses if use.kind == "qnn.requantize"]


def _epilogues(placing: Placing, node: Node, held: Array) -> list[Epilogue]:
    """One for each requantise, and the accumulators themselves where others read them."""
    scaled = requantizers(placing, node)
    found = []
    for use in scaled:
        scale = np.broadcast_to(constant(placing.graph, use.operands[1]), held.shape)
        target = placing.fresh(use.result)
        placing.values[use.result.index] = target
        table = RequantizeRow(
            len(held),
            use.int("zero_point"),
            use.int("low"),
            use.int("high"),
            use.str("dtype") == "ui8",
            held,
            scale,
        )
        found.append(Epilogue(target, table, raw=False))
    uses = placing.uses.get(node.result.index, [])
    if len(uses) > len(scaled) or node.result.index in placing.kept or not uses:
        target = placing.fresh(node.result)
        placing.values[node.result.index] = target
        one = np.ones(held.shape, np.float32)
        table = RequantizeRow(4 * len(held), 0, 0, 0, False, held, one)
        found.append(Epilogue(target, table, raw=True))
    return found
