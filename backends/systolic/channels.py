"""A product in strips of output rows and of output channels: some of the weights at a time.

Rows outside: each strip goes over all the weights, and reads what it needs of the activations
once. Channels outside: each group of channels goes over all the activations, and its weights
are read once; the results must then be there whole, because a group writes a part of each row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tetrapla.backends.systolic.layout import Moving
from tetrapla.backends.systolic.pieces import Cut, Piece, Pieces, Where
from tetrapla.backends.systolic.products import Product
from tetrapla.backends.systolic.stages import Stage
from tetrapla.ir.graph import Array

_MOST_GROUPS = 8


@dataclass(frozen=True)
class Channels:
    """Strips of another cut, each for groups of channels.

    A strip `first` .. `end` of group g has the numbers ``first * groups + g`` and
    ``end * groups + g``.

    Attributes:
        inner: cuts the rows.
        weights: of each group.
        outside: whether the channels change last.
    """

    stage: Product
    inner: Cut
    weights: tuple[Array, ...]
    outside: bool

    @staticmethod
    def of(stage: Product, inner: Cut, least: int) -> list[Channels]:
        """The ways to cut a product of one block into 2, 4, ... groups of `least` channels.

        Rows outside is of use only where weights take room in the unified buffer: then any
        number of groups may be needed; else a few show whether it is worth it.
        """
        block, found, count = stage.blocks[0], list[Channels](), 2
        if len(stage.blocks) > 1 or isinstance(block.weights, Moving) or block.groups > 1:
            return found
        channels, moves = block.shape[1], stage.moving is not None
        most = 2 * channels / least if moves else min(2 * channels / least, _MOST_GROUPS + 1)
        while count < most:
            each = -(-channels // count)
            parts = tuple(
                block.weights[:, start : start + each] for start in range(0, channels, each)
            )
            orders = (False, True) if moves else (True,)
            found += [Channels(stage, inner, parts, outside) for outside in orders]
            count *= 2
        return found

    @property
    def groups(self) -> int:
        """How many groups of channels."""
        return len(self.weights)

    @property
    def rows(self) -> int:
        """How many rows, each as often as there are groups."""
        return self.inner.rows * self.groups

    def strips(self, most: int) -> list[tuple[int, int]]:
        """The strips in order."""
        rows = self.inner.strips(max(1, most // self.groups))
        groups = range(self.groups)
        pairs = (
            [(strip, g) for g in groups for strip in rows]
            if self.outside
            else [(strip, g) for strip in rows for g in groups]
        )
        return [(a * self.groups + g, b * self.groups + g) for (a, b), g in pairs]

    def pieces(self, first: int, end: int) -> Pieces:
        """What the rows read and write, and of weights that move those of the group."""
        read, made = self.inner.pieces(first // self.groups, end // self.groups)
        moving = self.stage.moving
        if moving is not None:
            start, stop = self._channels(first % self.groups)
            taps = self.stage.blocks[0].shape[0]
            own = Piece(moving.buffer, start * taps, stop * taps)
            read = [own if piece.buffer is moving.buffer else piece for piece in read]
        return read, made

    def part(self, first: int, end: int, where: Where) -> Stage:
        """The product of the rows and the group alone."""
        there = self.inner.part(first // self.groups, end // self.groups, where)
        assert isinstance(there, Product), "a cut changes no kind"
        (block,), (start, stop) = there.blocks, self._channels(first % self.groups)
        own = replace(
            block,
            weights=self.weights[first % self.groups],
            first=block.first + start,
            at=None if block.at is None else block.at + start,
        )
        macs = there.macs * (stop - start) // self.stage.blocks[0].shape[1]
        return replace(there, macs=macs, blocks=[own])

    def _channels(self, group: int) -> tuple[int, int]:
        start = sum(part.shape[1] for part in self.weights[:group])
        return start, start + self.weights[group].shape[1]
