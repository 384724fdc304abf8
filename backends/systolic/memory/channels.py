"""A product in strips of output rows and of output channels: some of the weights at a time.

Rows outside: each strip goes over all the weights, and reads what it needs of the activations
once. Channels outside: each group of channels goes over all the activations, and its weights
are read once; the results must then be there whole, because a group writes a part of each row.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tetrapla.backends.systolic.array.products import Product
from tetrapla.backends.systolic.design import Machine
from tetrapla.backends.systolic.layout import Moving
from tetrapla.backends.systolic.memory.pieces import Cut, Piece, Pieces, Where
from tetrapla.backends.systolic.stages import Stage
from tetrapla.ir.graph import Array

_MOST_STRIPS = 1024  # assumed: looking at more takes the compiler longer than it is worth


@dataclass(frozen=True)
class Channels:
    """Strips of another cut, each for groups of channels.

    A strip `first` .. `end` of group g has the numbers ``first * groups + g`` and
    ``end * groups + g``.

    Attributes:
        inner: cuts the rows.
        weights: of each group.
        outside: whether the channels change last.
        held: what is known of the rows, which is the same for each group.
    """

    stage: Product
    inner: Cut
    weights: tuple[Array, ...]
    outside: bool
    held: dict[tuple[int, int], Pieces] = field(
        default_factory=dict[tuple[int, int], Pieces], compare=False, repr=False
    )

    @staticmethod
    def of(stage: Product, inner: Cut, machine: Machine) -> list[Channels]:
        """The ways to cut a product of one block.

        Weights that move take room in the unified buffer: 2, 4, ... groups. Others are read
        once where the weight memory keeps those of a group.
        """
        block = stage.blocks[0]
        if len(stage.blocks) > 1 or isinstance(block.weights, Moving) or block.groups > 1:
            return []
        taps, channels = block.shape
        columns = -(-channels // machine.cols)
        if stage.moving is not None:
            counts = [2**n for n in range(1, columns.bit_length() + 1)]
            orders: tuple[bool, ...] = (False, True)
        else:
            kept = machine.weight_tiles // -(-taps // machine.rows)  # columns of tiles
            counts = [-(-columns // kept)] if 0 < kept < columns else []
            counts = [count for count in counts if count * inner.rows <= _MOST_STRIPS]
            orders = (True,)
        found = []
        for count in counts:
            each = -(-columns // count) * machine.cols
            if stage.moving is not None:
                each = max(1, -(-channels // count))
            starts = range(0, channels, each)
            parts = tuple(block.weights[:, start : start + each] for start in starts)
            found += [Channels(stage, inner, parts, outside) for outside in orders]
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
        rows = (first // self.groups, end // self.groups)
        if rows not in self.held:
            self.held[rows] = self.inner.pieces(*rows)
        read, made = self.held[rows]
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
