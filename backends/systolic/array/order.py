"""Tiles of a product in order, for each dataflow and any number of arrays.

What stays in the array is `columns` wide: output channels, or output pixels where the inputs
stay. What moves has `rows`: output pixels, or output channels. The taps are innermost, so that
sums accumulate where they are; where one tile holds all taps, it stays over all rows.

Several arrays either take columns of their own, all rows (spread), or the same columns and a
share of the rows each; per group of columns whichever takes fewer cycles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from tetrapla.backends.systolic.array.sparsity import Span, dense, spans
from tetrapla.backends.systolic.array.tiling import Block
from tetrapla.backends.systolic.design import OUTPUTS, Machine
from tetrapla.backends.systolic.layout import Moving


class Tile(NamedTuple):
    """One pass of what moves through one tile of what stays.

    Attributes:
        block: number of the block.
        column: first column; `columns` how many.
        tap: first tap; `taps` how many.
        row: first row; `rows` how many.
        first: it begins the sums; `last`: it completes them.
        sparse: the tile is compressed.
        spread: each array has columns of its own.
    """

    block: int
    column: int
    columns: int
    tap: int
    taps: int
    row: int
    rows: int
    first: bool
    last: bool
    sparse: bool
    spread: bool


def tiles(
    blocks: list[Block], rows: int, machine: Machine, pace: int, swapped: bool
) -> Iterator[Tile]:
    """Every tile of a product.

    Args:
        blocks: of the product.
        rows: output pixels, M.
        machine: what it runs on.
        pace: cycles for a row of what moves.
        swapped: the inputs stay.
    """
    for number, block in enumerate(blocks):
        channels = block.shape[1]
        columns, moving = (rows, channels) if swapped else (channels, rows)
        for column in range(0, columns, machine.units * machine.cols):
            count = min(machine.units * machine.cols, columns - column)
            own = _spans(block, column, count, machine, swapped)
            if _spreads(machine, pace, moving, own, count, swapped):
                yield from _passes(number, column, count, moving, own, machine, True)
                continue
            for start in range(column, column + count, machine.cols):
                width = min(machine.cols, column + count - start)
                own = _spans(block, start, width, machine, swapped)
                yield from _passes(number, start, width, moving, own, machine, False)


def _spans(
    block: Block, column: int, columns: int, machine: Machine, swapped: bool
) -> list[Span]:
    if isinstance(block.weights, Moving) or not block.known or block.groups > 1:
        return dense(block.shape[0], machine.rows)
    if swapped:  # the weights move, whole
        return spans(block.weights, machine.rows, False)
    part = block.weights[:, column : column + columns]
    return spans(part, machine.rows, machine.compressed)


def _passes(
    number: int,
    column: int,
    columns: int,
    moving: int,
    own: list[Span],
    machine: Machine,
    spread: bool,
) -> Iterator[Tile]:
    share = _share(machine, moving, spread)
    if len(own) == 1:  # the tile stays, so that RQ of some rows may run beside MM of the next
        share = _even(moving, min(share, machine.leaving_cycles))
    for row in range(0, moving, share):
        for place, span in enumerate(own):
            yield Tile(
                number,
                column,
                columns,
                span.tap,
                span.taps,
                row,
                min(share, moving - row),
                place == 0,
                place == len(own) - 1,
                span.sparse,
                spread,
            )


def _share(machine: Machine, moving: int, spread: bool) -> int:
    """Rows of one pass: what accumulators, or PEs that keep their sums, hold; evenly."""
    most = machine.most_rows
    if machine.dataflow == OUTPUTS:
        most = min(most, machine.rows * (1 if spread else machine.units))
    return _even(moving, most)


def _even(count: int, most: int) -> int:
    """The size of parts of at most `most`, as even as they come."""
    return ceil(count / ceil(count / most))


def _spreads(
    machine: Machine, pace: int, moving: int, own: list[Span], columns: int, swapped: bool
) -> bool:
    """Whether arrays with columns of their own take fewer cycles than with a share of rows."""
    used = ceil(columns / machine.cols)
    if machine.units == 1 or used == 1:
        return False
    if swapped and used < machine.units:  # every array shifts a tile that LUW must fill
        return False
    work = _Work(machine, pace, moving, own, swapped)
    return work.cycles(used, spread=True) < used * work.cycles(1, spread=False)


@dataclass(frozen=True)
class _Work:
    """The passes of one group of columns."""

    machine: Machine
    pace: int
    moving: int
    own: list[Span]
    swapped: bool

    def cycles(self, loaded: int, spread: bool) -> float:
        """What they take where `loaded` tiles are filled for each."""
        machine = self.machine
        share = _share(machine, self.moving, spread)
        slots = machine.weight_tiles // (machine.units if spread else 1)
        total = 0.0
        for row in range(0, self.moving, share):
            rows = min(share, self.moving - row)
            rows = rows if spread else ceil(rows / machine.units)
            fresh = row == 0 or len(self.own) > slots
            for span in self.own:
                busy = self._busy(rows, span)
                filled = self._filled(span, loaded, slots) if fresh else 0.0
                total += max(busy, filled) if slots > 1 else busy + filled
        return total

    def _busy(self, rows: int, span: Span) -> float:
        """Cycles of the array."""
        if self.machine.dataflow == OUTPUTS:
            return max(self.pace * span.taps, self.machine.rows)
        return max(self.pace * rows, self.machine.rows)

    def _filled(self, span: Span, loaded: int, slots: int) -> float:
        """Cycles until its tiles are in their slots, and in the array where LUW fills them."""
        machine = self.machine
        if self.swapped:
            return loaded * max(span.taps, machine.cols) + machine.rows
        moved = loaded * span.taps * machine.cols * machine.byte_cycles
        # as many are under way as there are slots beside the one in use
        return max(moved, (moved + machine.latency_cycles) / max(1, slots - 1))
