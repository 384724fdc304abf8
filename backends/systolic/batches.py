"""A batched product in strips of whole matrices."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tetrapla.backends.systolic.layout import Moving, Placed
from tetrapla.backends.systolic.pieces import Piece, Where, joined, moved
from tetrapla.backends.systolic.products import Product
from tetrapla.backends.systolic.stages import Stage
from tetrapla.backends.systolic.tiling import Block
from tetrapla.backends.systolic.windows import even
from tetrapla.ir.graph import DTYPES
from tetrapla.simulators.systolic.tables import Descriptor


@dataclass(frozen=True)
class Matrices:
    """A product whose rows are its blocks, each with results in a place of their own."""

    stage: Product

    @property
    def rows(self) -> int:
        """How many blocks."""
        return len(self.stage.blocks)

    def strips(self, most: int) -> list[tuple[int, int]]:
        """First block and end of each strip."""
        return even(self.rows, most)

    def pieces(self, first: int, end: int) -> tuple[list[Piece], list[Piece]]:
        """What the blocks read of both operands, and where their results go."""
        stage, blocks = self.stage, self.stage.blocks[first:end]
        read = [_extent(stage.source, b.descriptor, stage.rows) for b in blocks]
        for block in blocks:
            if isinstance(block.weights, Moving):
                weights = block.weights
                rows = weights.shape[1] if weights.transpose else weights.shape[0]
                read.append(_extent(weights.source, weights.descriptor, rows))
        if stage.moving is not None:
            read.append(Piece(stage.moving.buffer, 0, stage.moving.buffer.size_bytes))
        made = []
        for e in stage.epilogues:
            below = (stage.rows - 1) * e.table.stride
            for block in blocks:
                start = (e.offset + block.start) * e.width
                last = start + below + block.shape[1] * e.width
                made.append(Piece(e.target.buffer, start, last))
        return joined(read), joined(made)

    def part(self, first: int, end: int, where: Where) -> Stage:
        """The product of the blocks alone."""
        stage = self.stage
        there = moved(stage, where)
        assert isinstance(there, Product), "moving changes no kind"
        least = min(block.start for block in stage.blocks[first:end])
        pairs = list(zip(there.blocks, stage.blocks, strict=True))[first:end]
        blocks = [_taken(to, block, stage.source, least, where) for to, block in pairs]
        epilogues = [
            replace(to, offset=e.offset + least - where[e.target.buffer][1] // e.width)
            for to, e in zip(there.epilogues, stage.epilogues, strict=True)
        ]
        macs = stage.macs * (end - first) // self.rows
        return replace(there, macs=macs, blocks=blocks, epilogues=epilogues)


def _extent(source: Placed, d: Descriptor, pixels: int) -> Piece:
    """All that a descriptor may read for so many pixels."""
    images = -(-pixels // (d.out_h * d.out_w))
    span = (images - 1) * d.image_stride
    span += (d.height - 1) * d.row_stride + (d.width - 1) * d.pixel_stride
    end = d.base + span + d.channels * DTYPES[source.dtype].itemsize
    return Piece(source.buffer, d.base, end)


def _taken(to: Block, block: Block, source: Placed, least: int, where: Where) -> Block:
    """A block whose operands and results begin where their pieces do."""
    d, weights = block.descriptor, to.weights
    if isinstance(weights, Moving) and isinstance(block.weights, Moving):
        own = block.weights
        base = own.descriptor.base - where[own.source.buffer][1]
        weights = replace(weights, descriptor=replace(own.descriptor, base=base))
    return replace(
        to,
        descriptor=replace(d, base=d.base - where[source.buffer][1]),
        weights=weights,
        at=block.start - least,
    )
