"""A batched product in strips: some of its matrices, or some rows of one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from tetrapla.backends.systolic.array.products import Product
from tetrapla.backends.systolic.array.tiling import Block
from tetrapla.backends.systolic.layout import Moving, Placed
from tetrapla.backends.systolic.memory.pieces import Piece, Pieces, Where, joined, moved
from tetrapla.backends.systolic.memory.windows import Grid, Part, even
from tetrapla.backends.systolic.stages import Stage
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.systolic.tables import Descriptor


@dataclass(frozen=True)
class Matrices:
    """A product whose blocks have results in places of their own, one block after another.

    A strip holds whole blocks, or rows of one.
    """

    stage: Product

    @property
    def groups(self) -> int:
        """One."""
        return 1

    @property
    def rows(self) -> int:
        """Of all blocks."""
        return len(self.stage.blocks) * self._grid.rows

    @cached_property
    def _grid(self) -> Grid:
        """Of one block."""
        return Grid.of(self.stage.blocks[0].descriptor, self.stage.rows)

    def strips(self, most: int) -> list[tuple[int, int]]:
        """First row and end of each strip."""
        height = self._grid.rows
        if most >= height:
            ends = even(len(self.stage.blocks), most // height)
            return [(a * height, b * height) for a, b in ends]
        parts = self._grid.strips(most)
        return [
            (start + a, start + b) for start in range(0, self.rows, height) for a, b in parts
        ]

    def pieces(self, first: int, end: int) -> Pieces:
        """What the rows read of both operands, and where their results go."""
        stage, (blocks, low, high) = self.stage, self._blocks(first, end)
        read, made = [], []
        for block in blocks:
            read.append(_rows(stage.source, block.descriptor, self._grid, low, high))
            if isinstance(block.weights, Moving):
                weights = block.weights
                rows = weights.shape[1] if weights.transpose else weights.shape[0]
                read.append(_extent(weights.source, weights.descriptor, rows))
            above, count = low * self._grid.pixels, (high - low) * self._grid.pixels
            for e in stage.epilogues:
                start = (e.offset + block.start) * e.width + above * e.table.stride
                last = start + (count - 1) * e.table.stride + block.shape[1] * e.width
                made.append(Piece(e.target.buffer, start, last))
        if stage.moving is not None:
            read.append(Piece(stage.moving.buffer, 0, stage.moving.buffer.size_bytes))
        return joined(read), joined(made)

    def part(self, first: int, end: int, where: Where) -> Stage:
        """The product of the rows alone."""
        stage, (blocks, low, high) = self.stage, self._blocks(first, end)
        there = moved(replace(stage, blocks=blocks), where)
        assert isinstance(there, Product), "moving changes no kind"
        least = min(block.start for block in blocks)
        own = []
        for to, block in zip(there.blocks, blocks, strict=True):
            part = Part.of(block.descriptor, self._grid, low, high)
            d = part.descriptor(block.descriptor, where[stage.source.buffer][1])
            weights = _operand(to.weights, block.weights, where)
            own.append(replace(to, descriptor=d, weights=weights, at=block.start - least))
        above = low * self._grid.pixels
        epilogues = []
        for to_epilogue, e in zip(there.epilogues, stage.epilogues, strict=True):
            start = (e.offset + least) * e.width + above * e.table.stride
            offset = (start - where[e.target.buffer][1]) // e.width
            epilogues.append(replace(to_epilogue, offset=offset))
        macs = stage.macs * (end - first) // self.rows
        pixels = (high - low) * self._grid.pixels
        return replace(there, macs=macs, rows=pixels, blocks=own, epilogues=epilogues)

    def _blocks(self, first: int, end: int) -> tuple[list[Block], int, int]:
        """Which blocks, and the rows of each."""
        height = self._grid.rows
        number, low = divmod(first, height)
        if end - first < height:
            return [self.stage.blocks[number]], low, low + end - first
        return self.stage.blocks[number : end // height], 0, height


def _rows(source: Placed, d: Descriptor, grid: Grid, first: int, end: int) -> Piece:
    """What a descriptor reads for some rows."""
    part = Part.of(d, grid, first, end)
    start = d.base + part.skipped_bytes
    last = d.channels * DTYPES[source.dtype].itemsize
    return Piece(source.buffer, start, start + part.span_bytes + last)


def _extent(source: Placed, d: Descriptor, pixels: int) -> Piece:
    """All that a descriptor may read for so many pixels."""
    images = -(-pixels // (d.out_h * d.out_w))
    span = (images - 1) * d.image_stride
    span += (d.height - 1) * d.row_stride + (d.width - 1) * d.pixel_stride
    end = d.base + span + d.channels * DTYPES[source.dtype].itemsize
    return Piece(source.buffer, d.base, end)


def _operand(to: Array | Moving, own: Array | Moving, where: Where) -> Array | Moving:
    """Weights in the unified buffer, read where their piece lies."""
    if not isinstance(to, Moving) or not isinstance(own, Moving):
        return to
    base = own.descriptor.base - where[own.source.buffer][1]
    return replace(to, descriptor=replace(own.descriptor, base=base))
