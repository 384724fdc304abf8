"""What a product becomes on an array of rows x cols, by the compiler's own rules.

`array/order.py` cuts products into passes, `array/slots.py` decides which tile stays in the
weight memory, `array/multiply.py` sends them; here is how many of each there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tetrapla.backends.systolic.array.multiply import MOST_AHEAD
from tetrapla.backends.systolic.closed.network import ProductShape
from tetrapla.simulators.systolic.tables import DESCRIPTOR_BYTES, HEADER

Floats: TypeAlias = NDArray[np.float64]

_COLUMN_BYTES = 8  # of a requantise row: bias and scale


@dataclass(frozen=True)
class Designs:
    """Machines, an entry each, in cycles where they are a time.

    Attributes:
        rows, cols: of the array.
        accumulators: rows of sums.
        tiles: slots of the weight memory.
        lanes: of the vector unit.
        byte_cycles, latency_cycles: of DRAM.
        host_byte_cycles, host_latency_cycles: of the link to the host.
        paces: cycles for a row of activations, by format.
    """

    rows: Floats
    cols: Floats
    accumulators: Floats
    tiles: Floats
    lanes: Floats
    byte_cycles: Floats
    latency_cycles: Floats
    host_byte_cycles: Floats
    host_latency_cycles: Floats
    paces: dict[str, Floats]

    @property
    def ahead(self) -> Floats:
        """Tiles that are loaded before they are shifted in."""
        return np.minimum(self.tiles - 1, MOST_AHEAD)

    def only(self, which: NDArray[np.bool_]) -> Designs:
        """Some of them."""
        paces = {name: pace[which] for name, pace in self.paces.items()}
        columns = {
            name: getattr(self, name)[which]
            for name in self.__dataclass_fields__
            if name != "paces"
        }
        return Designs(**columns, paces=paces)

    def using(self, accumulators: Floats, tiles: Floats) -> Designs:
        """The same machines, of which the program uses no more than that."""
        return replace(self, accumulators=accumulators, tiles=tiles)


@dataclass(frozen=True)
class Tiles:
    """A product on each design.

    Attributes:
        down: tiles along the taps.
        across: along the output channels.
        passes: parts of the rows that accumulate together.
        share: rows of such a part; `last` of the last one.
        shifts: tiles shifted into the array.
        loads: tiles read from DRAM.
        weight_bytes, table_bytes: read from DRAM.
        busy: cycles of the array from its first row to its last one.
        part: cycles of the first part; `row` of its last pass alone.
        load_cycles: of all reads from DRAM.
    """

    down: Floats
    across: Floats
    passes: Floats
    share: Floats
    last: Floats
    shifts: Floats
    loads: Floats
    weight_bytes: Floats
    table_bytes: Floats
    busy: Floats
    part: Floats
    load_cycles: Floats


def tiles_of(shape: ProductShape, designs: Designs) -> Tiles:
    """A product's tiles."""
    rows, cols, pace = designs.rows, designs.cols, designs.paces[shape.format]
    down, across = np.ceil(shape.taps / rows), np.ceil(shape.columns / cols)
    alone = down == 1
    share = _even(shape.rows, np.maximum(1.0, np.floor(designs.accumulators / 2)))
    # a tile that holds all taps stays: results of some rows leave beside the next ones
    share = np.where(alone, _even(shape.rows, np.minimum(share, rows + cols)), share)
    passes = np.ceil(shape.rows / share)
    last = shape.rows - (passes - 1) * share
    shifts = across * np.where(alone, 1, down * passes)
    loads = across * (down + _again(down, passes, designs))
    tile = shape.taps * shape.columns * shape.stored_bytes / (down * across)
    tables = DESCRIPTOR_BYTES + len(shape.results) * (
        HEADER.size * across + _COLUMN_BYTES * shape.columns
    )
    # each tile and each row of a part: one is shifted in while the other passes
    first = np.where(alone, pace * share, down * np.maximum(pace * share, rows + 2))
    final = np.where(alone, pace * last, down * np.maximum(pace * last, rows + 2))
    width = sum(shape.results)
    held = np.maximum(1.0, np.floor(designs.accumulators / share))
    # sums make room once they have left the array and are requantised
    period = np.maximum(first, share * width)
    period = np.maximum(period, (first + rows + cols + share * width + 6) / held)
    column = (passes - 1) * period + final
    column = np.where(alone, np.maximum(column, rows + 2), column)
    return Tiles(
        down,
        across,
        passes,
        share,
        last,
        shifts,
        loads,
        tile * loads,
        tables,
        np.maximum(across * column, _mixed(shape, column, loads / across, designs)),
        first,
        (tile * loads + tables) * designs.byte_cycles + 0.5 * loads,
    )


def _again(down: Floats, passes: Floats, designs: Designs) -> Floats:
    """Loads of a column's tiles after the first pass.

    Belady's rule on a cycle of `down` tiles in fewer slots, of which those ahead must stay:
    of each round down / (down - ahead) tiles are there already.
    """
    fewer = (down > 1) & (passes > 1) & (down > designs.tiles)
    round_ = down * np.maximum(down - designs.tiles, 0) / np.maximum(down - designs.ahead, 1)
    return np.where(fewer, (passes - 1) * round_, 0.0)


def _mixed(shape: ProductShape, column: Floats, loads: Floats, designs: Designs) -> Floats:
    """Where full columns wait for their weights, and the narrow last one does not."""
    across = np.ceil(shape.columns / designs.cols)
    full = np.minimum(designs.cols, shape.columns)
    rest = shape.columns - (across - 1) * designs.cols
    bytes_ = shape.taps * shape.stored_bytes / np.ceil(shape.taps / designs.rows)
    whole = bytes_ * full * designs.byte_cycles + 0.5
    narrow = bytes_ * rest * designs.byte_cycles + 0.5
    total = (across - 1) * np.maximum(column, loads * whole)
    return total + np.maximum(column, loads * narrow) - designs.ahead * whole


def _even(count: float | Floats, most: Floats) -> Floats:
    """The size of parts of at most `most`, as even as they come."""
    found: Floats = np.ceil(count / np.ceil(count / most))
    return found
