"""A linear wired array, factored: cell currents for any voltages in series with its cells.

`effective` keeps what the ports see. Sensitivities and nonlinear cells need the inside: with e
the voltage in series with every cell, i the cell currents and Z i what these drop in the wires,

    i = g (e - Z i)

is solved for i in one pass over the rows and one back, products of [vectors, columns] with a
matrix per row. Z is positive semidefinite and applied by running sums, without any solution.
Arrays of vectors and cells are [polarities, rows, columns, vectors]: vectors are contiguous.
"""

from __future__ import annotations

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.lines import eliminated, inverse
from tetrapla.simulators.analog.circuits.wires import Wires

SIGNS = np.array((1.0, -1.0))  # of a polarity's sources


class Network:
    """One array of `input_source` or `interleaved` type.

    Memory: (polarities + 1) rows columns^2 float64. Time: that of `effective`, once, and then
    4 (polarities + 1) rows columns^2 operations per solved vector.
    """

    def __init__(self, cells: Array, wires: Wires) -> None:
        """Factor cells [polarities, rows, columns], siemens."""
        self.cells, self.wires = cells, wires
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
        last = row == self.cells.shape[1] - 1
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
        return np.ascontiguousarray(np.broadcast_to(signed, (*self.cells.shape, len(volts))))


def drops(currents: Array, wires: Wires) -> Array:
    """Z i: volts that cell currents [P, rows, columns, vectors] lose in the wires."""
    # a word line's segment carries what leaves at its end and beyond
    beyond = np.cumsum(currents[:, :, ::-1], axis=2)[:, :, ::-1]
    lost = np.cumsum(beyond, axis=2)
    lost *= wires.row_ohm
    if wires.driver_ohm:
        lost += wires.driver_ohm * beyond[:, :, :1]
    carried = np.cumsum(currents.sum(axis=0) if len(currents) > 1 else currents[0], axis=0)
    bit = np.cumsum(carried[::-1], axis=0)[::-1]
    bit *= wires.col_ohm
    if wires.sense_ohm:
        bit += wires.sense_ohm * carried[-1]
    lost += bit
    return lost
