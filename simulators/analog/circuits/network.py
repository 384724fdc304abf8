"""A linear wired array, factored: cell currents for any voltages in series with its cells.

`effective` keeps what the ports see. Sensitivities and nonlinear cells need the inside: with e
the voltage in series with every cell, i the cell currents and Z i what these drop in the wires,

    i = g (e - Z i)

is solved for i in one pass over the rows and one back, products of [vectors, columns] with a
matrix per row. Z is positive semidefinite and applied by running sums, without any solution.
Arrays of vectors and cells are [polarities, rows, columns, vectors]: vectors are contiguous.
"""

from __future__ import annotations

from copy import copy
from typing import Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.lines import eliminated, inverse
from tetrapla.simulators.analog.circuits.wires import Wires

_MANY: Final = 4  # vectors from which whole slices are added; measured
SIGNS = np.array((1.0, -1.0))  # of a polarity's sources


class Network:
    """One array of `input_source` or `interleaved` type.

    Memory: (polarities + 1) rows columns^2 float64. Time: that of `effective`, once, and then
    4 (polarities + 1) rows columns^2 operations per solved vector.

    Attributes:
        cells: siemens [P, rows, columns, 1].
    """

    def __init__(self, cells: Array, wires: Wires) -> None:
        """Factor cells [polarities, rows, columns], siemens."""
        self.cells, self.wires = cells[..., None], wires
        polarities, rows, columns = cells.shape
        # what the lines leave between bit lines, and the steps of the walk
        self._blocks = np.empty((rows, polarities, columns, columns))
        self._steps = np.empty((rows, columns, columns))
        behind = np.zeros((columns, columns))
        for row, half in enumerate(eliminated(cells, wires).halves()):
            self._blocks[row] = half + np.swapaxes(half, -1, -2)
            behind = behind + self._blocks[row].sum(axis=0)
            behind = 0.5 * (behind + behind.T)
            self._steps[row] = inverse(np.eye(columns) + self._ohm(row) * behind)
            behind = self._steps[row] @ behind

    def _ohm(self, row: int) -> float:
        last = row == len(self._steps) - 1
        return self.wires.col_ohm + (self.wires.sense_ohm if last else 0.0)

    def currents(self, series: Array) -> Array:
        """Cell currents of series voltages, both [P, rows, columns, vectors]."""
        polarities, rows, columns, vectors = series.shape
        norton = np.empty((rows, columns, vectors))
        carried = np.zeros((columns, vectors))
        for row in range(rows):
            norton[row] = carried
            for p in range(polarities):
                norton[row] += self._blocks[row, p] @ series[p, row]
            carried = self._steps[row] @ norton[row]
        found = np.empty(series.shape)
        volts = np.zeros((columns, vectors))
        for row in range(rows - 1, -1, -1):
            volts = self._steps[row] @ (volts + self._ohm(row) * norton[row])
            for p in range(polarities):
                np.matmul(self._blocks[row, p], series[p, row] - volts, out=found[p, row])
        return found

    def sources(self, volts: Array) -> Array:
        """Series voltages [P, rows, columns, vectors] of inputs [vectors, rows]."""
        signed = SIGNS[: len(self.cells), None, None, None] * volts.T[:, None, :]
        return np.ascontiguousarray(
            np.broadcast_to(signed, (*self.cells.shape[:3], len(volts)))
        )

    def near(self, series: Array, slopes: Array) -> Array:
        """`currents`, whatever the slopes of the cells are by now."""
        del slopes
        return self.currents(series)

    def drops(self, currents: Array) -> Array:
        """Z i of cell currents, see `drops`."""
        return drops(currents, self.wires)

    def part(self, vectors: Array) -> Network:
        """The array for some vectors: it is the same for all."""
        del vectors
        return self


class Rails:
    """Gated arrays whose cells conduct where a vector selects their row.

    Attributes:
        cells: siemens [P, rows, columns, vectors], 0 where not selected.
    """

    def __init__(self, cells: Array, selected: Array, wires: Wires) -> None:
        """Of cells [P, rows, columns] and selects [vectors, rows]."""
        self.cells = cells[..., None] * (selected.T != 0)[:, None, :]
        self.wires = wires

    def part(self, vectors: Array) -> Rails:
        """For some of the vectors."""
        rails = copy(self)
        rails.cells = self.cells[..., vectors]
        return rails

    def currents(self, series: Array) -> Array:
        """Cell currents of series voltages, as if every cell were alone."""
        return self.near(series, self.cells)

    def near(self, series: Array, slopes: Array) -> Array:
        """The same of cells with other conductances, siemens."""
        wires, rows = self.wires, np.arange(self.cells.shape[1])[:, None, None]
        ohms = wires.driver_ohm + (rows + 1) * wires.row_ohm
        ohms = ohms + wires.sense_ohm + (len(rows) - rows) * wires.col_ohm
        return np.asarray(slopes / (1 + slopes * ohms) * series)

    def drops(self, currents: Array) -> Array:
        """Z i of cell currents [P, rows, columns, vectors]."""
        wires = self.wires
        # a rail is as a word line, along rows
        beyond = _running(currents, 1, backward=True)
        lost = wires.row_ohm * _running(beyond, 1)
        lost += wires.driver_ohm * beyond[:, :1]
        lost += _bit_line(currents, wires)
        return lost


def drops(currents: Array, wires: Wires) -> Array:
    """Z i: volts that cell currents [P, rows, columns, vectors] lose in the wires."""
    # a word line's segment carries what leaves at its end and beyond
    beyond = _running(currents, 2, backward=True)
    lost = _running(beyond, 2)
    lost *= wires.row_ohm
    if wires.driver_ohm:
        lost += wires.driver_ohm * beyond[:, :, :1]
    lost += _bit_line(currents, wires)
    return lost


def _bit_line(currents: Array, wires: Wires) -> Array:
    """Volts of bit lines [rows, columns, vectors] above 0 V."""
    carried = _running(currents.sum(axis=0) if len(currents) > 1 else currents[0], 0)
    bit = _running(carried, 0, backward=True)
    bit *= wires.col_ohm
    if wires.sense_ohm:
        bit += wires.sense_ohm * carried[-1]
    return bit


def _running(x: Array, axis: int, *, backward: bool = False) -> Array:
    """Running sums, as np.cumsum gives them; of many vectors 3 to 18 times as fast as it."""
    if x.shape[-1] < _MANY:
        if backward:
            return np.asarray(np.flip(np.cumsum(np.flip(x, axis), axis=axis), axis))
        return np.asarray(np.cumsum(x, axis=axis))
    sums = x.copy()
    slices = np.moveaxis(sums, axis, 0)
    if backward:
        slices = slices[::-1]
    for k in range(1, len(slices)):
        slices[k] += slices[k - 1]
    return sums
