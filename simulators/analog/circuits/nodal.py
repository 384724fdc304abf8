"""The judge: every node's potential by sparse LU, refined in extended precision.

Nothing here is shared with the fast methods but the drawing of the array (`wires`): a list of
branches, each a resistor or a cell in series with a voltage, between nodes of which one is
ground. Kirchhoff's current law is a residual, computed in `numpy.longdouble`, 80 bits on x86.
Needs SciPy, the extra `analog`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tetrapla.ir.errors import SpecError, UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.cells import LINEAR, Cell, Linear
from tetrapla.simulators.analog.circuits.wires import (
    TOPOLOGIES,
    Solution,
    Topology,
    Wires,
    checked,
    driven,
)

_STEPS: Final = 100  # of Newton and of refinement; tests need fewer than 15
_HALVINGS: Final = 40
_BALANCED: Final = 1e-13  # the contract
_FLATTEST: Final = 1e-3  # of a cell's conductance


@dataclass(frozen=True)
class Judged(Solution):
    """A solution and how well its currents balance.

    Attributes:
        imbalance: largest sum of currents at a node over the largest cell current.
    """

    imbalance: float


def judged(
    g: Array,
    volts: Array,
    wires: Wires,
    topology: Topology = "input_source",
    *,
    g_minus: Array | None = None,
    law: Cell = LINEAR,
    supply_volts: float = 0.0,
) -> Judged:
    """Currents and power of one array of any topology, with cells of any law.

    Args:
        g: cells, siemens [rows, columns].
        volts: [vectors, rows]; of gated arrays the selects, of which any but 0 counts.
        wires: as the topology has them.
        topology: see `wires`.
        g_minus: the second polarity, of the interleaved topologies alone.
        law: of every cell.
        supply_volts: of the rails of gated arrays.

    Raises:
        SpecError: bad conductances, inputs or shapes, or `g_minus` with a topology that has
            no place for it, or the other way round.
        UnsupportedError: SciPy is not installed, or the cells' law has no balance.
    """
    if topology not in TOPOLOGIES:
        raise SpecError(f"topology must be one of {', '.join(TOPOLOGIES)}, not {topology}")
    cells = checked(g, g_minus)
    if cells.ndim != 3 or (len(cells) == 2) != ("interleaved" in topology):
        raise SpecError(
            f"cells of a {topology} array must be one array [rows, columns] per polarity, not "
            f"{len(cells)} of shape {cells.shape[1:]}; solve arrays one by one"
        )
    inputs = driven(volts, cells.shape[1])
    gate = "gated" in topology
    net = _drawn(cells.shape, wires, rails=gate)
    currents, watts, worst = [], [], 0.0
    factor = None
    for vector in inputs:
        if gate:
            present, source = vector != 0, np.full(len(vector), float(supply_volts))
        else:
            present, source = np.ones(len(vector), bool), vector
        problem = _Problem(net, cells * present[:, None], source, law)
        if gate or not isinstance(law, Linear):
            factor = None
        flowing, residual, factor = problem.solved(factor)
        currents.append(flowing.sum(axis=(0, 1)))
        signed = flowing.sum(axis=2) * np.array((1, -1))[: len(flowing), None]
        watts.append((signed.sum(axis=0) * source).sum())
        worst = max(worst, residual)
    return Judged(np.array(currents, np.float64), np.array(watts, np.float64), worst)


@dataclass(frozen=True)
class _Net:
    """Branches of an array: wires first, then a cell each; node -1 is ground.

    Attributes:
        start, end: nodes of the branches; a branch's voltage is start - end + its source.
        siemens: of the wires.
        row: of the input whose source is in series, -1 for none.
        sign: of that source.
        nodes: their number without ground.
    """

    start: Array
    end: Array
    siemens: Array
    row: Array
    sign: Array
    nodes: int


@dataclass(frozen=True)
class _Point:
    """Where a branch begins: a node, or ground with an input's source."""

    node: int = -1
    row: int = -1
    sign: float = 0.0


class _Drawing:
    """Collects branches; an ideal wire joins its ends instead."""

    def __init__(self) -> None:
        self.nodes = 0
        self.wires: list[tuple[float, ...]] = []
        self.cells: list[tuple[float, ...]] = []

    def wire(self, start: _Point, ohm: float) -> _Point:
        """The node behind a resistor from `start`."""
        if not ohm:
            return start
        end = _Point(self.nodes)
        self.nodes += 1
        self.wires.append((start.node, end.node, 1 / ohm, start.row, start.sign))
        return end

    def chain(self, start: _Point, wires: tuple[float, float], count: int) -> list[_Point]:
        """Nodes along a wire: behind the first resistor, then each behind another one."""
        points = [self.wire(start, wires[0])]
        while len(points) < count:
            points.append(self.wire(points[-1], wires[1]))
        return points

    def net(self) -> _Net:
        table = np.array(self.wires + self.cells, np.float64).reshape(-1, 5)
        start, end, row = (table[:, k].astype(np.int64) for k in (0, 1, 3))
        return _Net(start, end, table[: len(self.wires), 2], row, table[:, 4], self.nodes)


def _drawn(shape: tuple[int, int, int], wires: Wires, *, rails: bool) -> _Net:
    """An array of cells [polarities, rows, columns], word lines or rails feeding them."""
    polarities, rows, columns = shape
    drawing = _Drawing()
    supply = wires.row_ohm + wires.driver_ohm, wires.row_ohm
    sense = wires.col_ohm + wires.sense_ohm, wires.col_ohm
    bits = [drawing.chain(_Point(), sense, rows)[::-1] for _ in range(columns)]
    for sign in (1.0, -1.0)[:polarities]:
        if rails:
            feeds = [drawing.chain(_Point(-1, 0, sign), supply, rows) for _ in range(columns)]
            feed = [[feeds[j][i] for j in range(columns)] for i in range(rows)]
        else:
            feed = [drawing.chain(_Point(-1, i, sign), supply, columns) for i in range(rows)]
        for i in range(rows):
            for j in range(columns):
                at = feed[i][j]
                drawing.cells.append((at.node, bits[j][i].node, 0.0, at.row, at.sign))
    return drawing.net()


class _Problem:
    """One vector's network: potentials n with every node's currents summing to zero."""

    def __init__(self, net: _Net, cells: Array, source: Array, law: Cell) -> None:
        self.net, self.cells, self.law = net, cells, law
        self.source = np.where(net.row >= 0, net.sign * source[net.row], 0.0)

    def solved(self, factor: Any) -> tuple[Array, float, Any]:
        """Cell currents, imbalance, and the factor that a linear network keeps."""
        net = self.net
        # the last entry is ground
        potentials = np.zeros(net.nodes + 1, np.longdouble)
        residual, flowing, across = self._residual(potentials)
        for _ in range(_STEPS):
            if not net.nodes:
                break
            if factor is None or not isinstance(self.law, Linear):
                factor = self._factor(across)
            step = np.zeros_like(potentials)
            step[:-1] = factor.solve(np.asarray(residual[:-1], np.float64))
            found = self._lower(potentials, step, np.abs(residual[:-1]).max())
            if found is None:
                break
            potentials, (residual, flowing, across) = found
        scale = float(np.abs(flowing).max(initial=0)) or 1.0
        worst = float(np.abs(residual[:-1]).max(initial=0)) / scale
        if not worst <= _BALANCED:
            raise UnsupportedError(
                f"the cell law {self.law} must let the currents balance, not leave "
                f"{worst:.1e} of the largest; use lower voltages or a flatter law"
            )
        return flowing.reshape(self.cells.shape), worst, factor

    def _lower(self, start: Array, step: Array, norm: Any) -> Any:
        """The longest halved step that lowers the residual, or None: it is at its floor."""
        for _ in range(_HALVINGS):
            moved = start + step
            found = self._residual(moved)
            if np.abs(found[0][:-1]).max() < norm:
                return moved, found
            step = step / 2
        return None

    def _residual(self, potentials: Array) -> tuple[Array, Array, Array]:
        """Current into every node, cell currents, voltages across cells; longdouble."""
        net, wires = self.net, len(self.net.siemens)
        across = potentials[net.start] - potentials[net.end] + self.source
        flowing = self.law.currents(self.cells.ravel(), across[wires:])
        every = np.concatenate((net.siemens * across[:wires], flowing))
        total = np.zeros_like(potentials)
        np.add.at(total, net.end, every)
        np.subtract.at(total, net.start, every)
        return total, flowing, across[wires:]

    def _factor(self, across: Array) -> Any:
        sparse, linalg = _scipy()
        net = self.net
        cells = self.cells.ravel()
        slopes = self.law.slopes(cells, np.asarray(across, np.float64))
        # a falling law would make the network singular or its steps uphill
        slopes = np.maximum(slopes, _FLATTEST * cells)
        every = np.concatenate((net.siemens, slopes))
        row = np.concatenate((net.start, net.end, net.start, net.end))
        column = np.concatenate((net.start, net.end, net.end, net.start))
        value = np.concatenate((every, every, -every, -every))
        inner = (row >= 0) & (column >= 0)
        shape = (net.nodes, net.nodes)
        matrix = sparse.csc_matrix((value[inner], (row[inner], column[inner])), shape)
        return linalg.splu(matrix)


def _scipy() -> tuple[Any, Any]:
    try:
        from scipy import sparse
        from scipy.sparse import linalg
    except ImportError as error:
        raise UnsupportedError(
            "nodal analysis needs SciPy, not an installation without it; "
            "pip install 'tetrapla[analog]'"
        ) from error
    return sparse, linalg
