"""A product whose weights move, in strips of output channels: some of the weights at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tetrapla.backends.systolic.layout import Moving
from tetrapla.backends.systolic.pieces import Piece, Pieces, Where, joined, moved, reads
from tetrapla.backends.systolic.products import Product
from tetrapla.backends.systolic.stages import Stage
from tetrapla.backends.systolic.windows import even


@dataclass(frozen=True)
class Channels:
    """A product of one block, whose weights lie a row for each output channel.

    Operand and results stay whole: the rows of the strips are the rows of the weights.
    """

    stage: Product

    @staticmethod
    def of(stage: Product) -> list[Channels]:
        """The way to cut a product, if there is one."""
        one = stage.moving is not None and len(stage.blocks) == 1
        return [Channels(stage)] if one and stage.blocks[0].shape[1] > 1 else []

    @property
    def rows(self) -> int:
        """How many channels."""
        return self.stage.blocks[0].shape[1]

    def strips(self, most: int) -> list[tuple[int, int]]:
        """First channel and end of each strip."""
        return even(self.rows, most)

    def pieces(self, first: int, end: int) -> Pieces:
        """Rows of the weights, and all of the rest."""
        stage, taps = self.stage, self.stage.blocks[0].shape[0]
        assert stage.moving is not None, "only such products are cut"
        moving = stage.moving.buffer
        read = [Piece(b, 0, b.size_bytes) for b in reads(stage) if b is not moving]
        read.append(Piece(moving, first * taps, end * taps))
        made = [Piece(e.target.buffer, 0, e.target.buffer.size_bytes) for e in stage.epilogues]
        return joined(read), joined(made)

    def part(self, first: int, end: int, where: Where) -> Stage:
        """The product of the channels alone."""
        there = moved(self.stage, where)
        assert isinstance(there, Product), "moving changes no kind"
        (block,) = there.blocks
        assert not isinstance(block.weights, Moving), "constants"
        own = replace(
            block,
            weights=block.weights[:, first:end],
            first=block.first + first,
            at=None if block.at is None else block.at + first,
        )
        macs = there.macs * (end - first) // self.rows
        return replace(there, macs=macs, blocks=[own])
