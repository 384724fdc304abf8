"""What is broken on a chip for good: stuck cells, open and shorted lines, spread of devices.

A tile is a physical array, and everything here is drawn from its address, so neither the order
of tiles nor what runs on them changes it. In this order:

* a device is off by a factor of its own, max(0, 1 + spread n), read for read;
* a share of the cells is stuck at g_min, another at g_max, whatever they were given;
* an open word line drives no cell, and an open bit line carries no current: 0 S;
* a word line that touches the next one has half of both voltages, since drivers are alike
  (assumed), and bit lines that touch share their current evenly; n in a row share among n.
  Both are averages of conductances: sum_i g_i (x_1 + ... + x_n) / n = sum_i g x_i with
  g = (g_1 + ... + g_n) / n. The last line of an array has no next one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite
from typing import Final

import numpy as np

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import noise
from tetrapla.simulators.random_ import Key

_FRACTIONS: Final = (
    "stuck_low_frac",
    "stuck_high_frac",
    "open_row_frac",
    "open_column_frac",
    "short_row_frac",
    "short_column_frac",
)


@dataclass(frozen=True)
class Faults:
    """How much is broken, on average.

    Attributes:
        stuck_low_frac, stuck_high_frac: of the cells.
        open_row_frac, open_column_frac: of the lines.
        short_row_frac, short_column_frac: of the lines, to the next one.
        spread_frac: standard deviation of a device's factor.
    """

    stuck_low_frac: float = 0.0
    stuck_high_frac: float = 0.0
    open_row_frac: float = 0.0
    open_column_frac: float = 0.0
    short_row_frac: float = 0.0
    short_column_frac: float = 0.0
    spread_frac: float = 0.0

    def __post_init__(self) -> None:
        for name in _FRACTIONS:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise SpecError(f"{name} must be a share from 0 to 1, not {value}; 0 for none")
        if self.stuck_low_frac + self.stuck_high_frac > 1:
            raise SpecError(
                "stuck_low_frac and stuck_high_frac must be 1 together at most, not "
                f"{self.stuck_low_frac + self.stuck_high_frac:g}; a cell is stuck at one end"
            )
        if not (isfinite(self.spread_frac) and self.spread_frac >= 0):
            raise SpecError(
                f"spread_frac must be a finite number from 0 up, not {self.spread_frac}; "
                "0 makes all devices alike"
            )

    @property
    def none(self) -> bool:
        """Whether nothing is broken and all devices are alike."""
        return not any(getattr(self, entry.name) for entry in fields(self))


@dataclass(frozen=True)
class Defects:
    """Of one array of R rows and C columns.

    Attributes:
        factor: of every device, [R, C]; None where all are alike.
        stuck: -1 at g_min, 1 at g_max, 0 for a cell that works, int8 [R, C].
        open_rows, open_columns: bool [R] and [C].
        row_group, column_group: the number of the first line that a line touches, [R] and [C].
    """

    factor: Array | None
    stuck: Array
    open_rows: Array
    open_columns: Array
    row_group: Array
    column_group: Array

    def applied(self, held: Array, g_min_siemens: float, g_max_siemens: float) -> Array:
        """What cells conduct, siemens [R, C], that hold `held`."""
        g = held if self.factor is None else held * self.factor
        g = np.where(self.stuck < 0, g_min_siemens, np.where(self.stuck > 0, g_max_siemens, g))
        return self.lines(g)

    def variance(self, read_sigma: Array) -> Array:
        """Of a read of every cell, [R, C]: stuck cells are silent, lines as in `applied`.

        A lone line's is exact. Of n word lines that touch it is at least the true one: n
        inputs' mean squared is taken for the square of their mean.
        """
        sigma = read_sigma if self.factor is None else read_sigma * self.factor
        return self.lines(np.where(self.stuck != 0, 0.0, sigma * sigma))

    def lines(self, cells: Array) -> Array:
        """Cells [R, C] with the open lines taken out and touching ones averaged."""
        working = ~self.open_rows[:, None] & ~self.open_columns[None, :]
        cells = np.where(working, cells, 0.0)
        return _averaged(_averaged(cells, self.row_group).T, self.column_group).T


def defects(faults: Faults, key: Key, rows: int, columns: int) -> Defects:
    """What is broken of the array at `key`'s chip, layer and tile."""
    stuck = np.zeros((rows, columns), np.int8)
    if faults.stuck_low_frac or faults.stuck_high_frac:
        # one number a cell: the two kinds exclude each other, and each keeps its cells
        chance = noise.chances(key, noise.STUCK, (rows, columns))
        stuck[chance < faults.stuck_low_frac] = -1
        stuck[chance > 1 - faults.stuck_high_frac] = 1
    factor = None
    if faults.spread_frac:
        z = noise.of_cells(key, noise.SPREAD, (rows, columns))
        factor = np.maximum(1 + faults.spread_frac * z, 0.0)
    return Defects(
        factor,
        stuck,
        _struck(faults.open_row_frac, key, noise.OPEN_ROW, rows),
        _struck(faults.open_column_frac, key, noise.OPEN_COLUMN, columns),
        _groups(_struck(faults.short_row_frac, key, noise.SHORT_ROW, rows)),
        _groups(_struck(faults.short_column_frac, key, noise.SHORT_COLUMN, columns)),
    )


def _struck(share: float, key: Key, purpose: int, lines: int) -> Array:
    if not share:
        return np.zeros(lines, bool)
    return np.asarray(noise.chances(key, purpose, (lines,)) < share)


def _groups(touches_next: Array) -> Array:
    """The first line of the run that a line is in."""
    first = np.ones(len(touches_next), bool)
    first[1:] = ~touches_next[:-1]
    return np.asarray(np.flatnonzero(first)[np.cumsum(first) - 1])


def _averaged(cells: Array, group: Array) -> Array:
    """Rows replaced by the mean of their group; those on their own stay as they are."""
    size = np.bincount(group, minlength=len(group))
    if (size <= 1).all():
        return cells
    total = np.zeros_like(cells)
    np.add.at(total, group, cells)
    return np.asarray(
        np.where(size[group][:, None] > 1, (total / np.maximum(size, 1)[:, None])[group], cells)
    )
