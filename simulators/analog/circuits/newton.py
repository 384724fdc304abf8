"""Arrays of cells with any law, by Newton's method around the linear solution.

Unknown are the voltages d of the cells (`network`): F(d) = d + Z f(d) - e = 0, with f the law.
Currents in the wires are sums of cell currents, so Kirchhoff's current law holds by
construction, and F is what is missing in his voltage law: it is brought below 1e-13 of the
largest input. A step solves (1 + Z D) s = -F, D = diag f'(d), for the currents w = D s,

    (Z + 1/D) w = -F,

by conjugate gradients with the linear array, (Z + 1/g)^-1, as preconditioner: a handful of
products per step, all vectors at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol, TypeAlias

import numpy as np

from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.cells import LINEAR, Cell
from tetrapla.simulators.analog.circuits.network import SIGNS, Network, Rails
from tetrapla.simulators.analog.circuits.wires import Solution, Wires, checked, driven

_BALANCED: Final = 1e-13  # of the largest input: a tenth of the contract, 1e-12
_STEPS: Final = 60  # Newton's, and _INNER of a step's: assumed; tests need fewer than 10
_INNER: Final = 80
_HALVINGS: Final = 30  # of a step
_FORCING: Final = 1e-2  # of F, what a step's linear solution may leave
_FLATTEST: Final = 1e-3  # of g: a slope below it is replaced, so that steps stay downhill
_HELD: Final = 1 << 19  # cell voltages at once


def nonlinear(
    g: Array,
    volts: Array,
    wires: Wires,
    law: Cell = LINEAR,
    g_minus: Array | None = None,
) -> Solution:
    """Currents and power of an `input_source` array, or with `g_minus` an `interleaved` one.

    Currents balance to 1e-12 of the largest; with a linear law they are those of `effective`.

    Args:
        g: cells, siemens [rows, columns], or [..., rows, columns] with volts of equal leading
            axes.
        volts: inputs, [..., vectors, rows].
        wires: of a word line per row, driven at column 0.
        law: of every cell.
        g_minus: cells at second word lines, which carry the negated inputs.

    Raises:
        SpecError: bad conductances, shapes or inputs.
        UnsupportedError: a law so steep that no step lowers the imbalance.
    """
    cells, inputs = _aligned(g, g_minus, volts)
    found = _Found(inputs, cells)
    for array in np.ndindex(cells.shape[:-3]):
        network = Network(cells[array], wires)
        for some in _chunks(array, cells, inputs):
            given = inputs[some]
            found.put(some, _balanced(network, network.sources(given), law), given)
    return found.solution()


def nonlinear_gated(
    g: Array,
    selected: Array,
    volts: float,
    wires: Wires,
    law: Cell = LINEAR,
    g_minus: Array | None = None,
) -> Solution:
    """The same of a `gated` array, or with `g_minus` a `gated_interleaved` one.

    The preconditioner is the cells, each alone with its wires: a bit line is a small network.

    Args:
        g: cells, siemens [..., rows, columns].
        selected: [..., vectors, rows]; a row's cells conduct where it is not 0.
        volts: of the supply rails.
        wires: `row_ohm` and `driver_ohm` are a rail's; each bit line has its own.
        law: of every cell.
        g_minus: cells at second rails, at minus `volts`.

    Raises:
        SpecError: bad conductances or shapes.
        UnsupportedError: a law so steep that no step lowers the imbalance.
    """
    cells, chosen = _aligned(g, g_minus, selected)
    supplies = np.full(chosen.shape, float(volts))
    found = _Found(chosen, cells)
    for array in np.ndindex(cells.shape[:-3]):
        for some in _chunks(array, cells, chosen):
            rails = Rails(cells[array], chosen[some], wires)
            signs = SIGNS[: len(rails.cells), None, None, None]
            series = np.broadcast_to(volts * signs, rails.cells.shape)
            found.put(some, _balanced(rails, series, law), supplies[some])
    return found.solution()


def _aligned(g: Array, g_minus: Array | None, inputs: Array) -> tuple[Array, Array]:
    """Cells [..., P, rows, columns] and inputs [..., vectors, rows] of equal leading axes."""
    cells = checked(g, g_minus)
    given = driven(inputs, cells.shape[-2])
    lead = np.broadcast_shapes(cells.shape[:-3], given.shape[:-2])
    return (
        np.broadcast_to(cells, (*lead, *cells.shape[-3:])),
        np.broadcast_to(given, (*lead, *given.shape[-2:])),
    )


_Some: TypeAlias = tuple[int | slice, ...]  # an array and some of its vectors


def _chunks(array: tuple[int, ...], cells: Array, inputs: Array) -> Iterator[_Some]:
    step = max(1, _HELD // int(np.prod(cells.shape[-3:])))
    for start in range(0, inputs.shape[-2], step):
        yield (*array, slice(start, start + step))


class _Found:
    """Outputs and power, filled chunk by chunk."""

    def __init__(self, inputs: Array, cells: Array) -> None:
        self._currents = np.empty((*inputs.shape[:-1], cells.shape[-1]))
        self._watts = np.empty(inputs.shape[:-1])

    def put(self, some: _Some, flowing: Array, volts: Array) -> None:
        """Cell currents [P, rows, columns, vectors] with sources [vectors, rows]."""
        self._currents[some] = flowing.sum(axis=(0, 1)).T
        drawn = np.tensordot(SIGNS[: len(flowing)], flowing.sum(axis=2), 1)
        self._watts[some] = (volts * drawn.T).sum(axis=-1)

    def solution(self) -> Solution:
        """All of them."""
        return Solution(self._currents, self._watts)


class _Wired(Protocol):
    """Arrays of cells with their wires, for some vectors."""

    @property
    def cells(self) -> Array: ...

    def currents(self, series: Array) -> Array: ...

    def near(self, series: Array, slopes: Array) -> Array: ...

    def drops(self, currents: Array) -> Array: ...

    def part(self, vectors: Array) -> _Wired: ...


# what overflows is missing more than before, and is stepped back from
@np.errstate(over="ignore", invalid="ignore")
def _balanced(network: _Wired, series: Array, law: Cell) -> Array:
    """Cell currents [P, rows, columns, vectors] that agree with the wires."""
    volts = series - network.drops(network.currents(series))
    flowing = law.currents(network.cells, volts)
    missing = volts + network.drops(flowing) - series
    largest = _largest(series)
    # a law so steep that the linear solution says less than none
    far = ~(_largest(missing) <= largest)
    volts[..., far], flowing[..., far], missing[..., far] = 0, 0, -series[..., far]
    bound = _BALANCED * largest
    for _ in range(_STEPS):
        left = np.flatnonzero(_largest(missing) > bound)
        if not np.isfinite(missing).all():
            break
        if not len(left):
            return flowing
        state = volts[..., left], missing[..., left], series[..., left]
        part = network.part(left)
        direction = _direction(part, state[1], law.slopes(part.cells, state[0]))
        found = _downhill(part, law, state, direction)
        volts[..., left], flowing[..., left], missing[..., left] = found
    worst = float(np.abs(missing).max() / largest.max())
    raise UnsupportedError(
        f"the cell law {law} must let the currents balance, not miss {worst:.2g} of the input; "
        "use lower voltages or a flatter law"
    )


def _direction(network: _Wired, missing: Array, slopes: Array) -> Array:
    """Solve (1 + Z D) s = -F to `_FORCING`, by preconditioned conjugate gradients."""
    cells = network.cells
    slopes = np.maximum(slopes, _FLATTEST * cells)
    ohms = np.divide(1, slopes, out=np.zeros_like(slopes), where=cells > 0)
    left = np.where(cells > 0, -missing, 0.0)
    found = np.zeros_like(left)
    goal = _FORCING * _largest(left)
    search, before = np.zeros_like(left), np.ones(left.shape[-1])
    for _ in range(_INNER):
        if (_largest(left) <= goal).all():
            break
        near = network.near(left, slopes)
        norm = np.einsum("prcb,prcb->b", left, near)
        search *= norm / before
        search += near
        image = network.drops(search) + ohms * search
        along = np.einsum("prcb,prcb->b", search, image)
        # a vector that is done has a search of zeros
        length = np.divide(norm, along, out=np.zeros_like(norm), where=along > 0)
        found += length * search
        left -= length * np.where(cells > 0, image, 0.0)
        before = np.where(norm > 0, norm, 1.0)
    # of what CG leaves, e, s = w / D leaves e and s = -F - Z w leaves Z D e, the lesser where
    # wires take little; where there is no cell, the second is exact
    mild = _largest(network.drops(slopes * left)) < _largest(left)
    return np.where(mild | ~(cells > 0), -missing - network.drops(found), ohms * found)


def _downhill(
    network: _Wired, law: Cell, state: tuple[Array, Array, Array], direction: Array
) -> tuple[Array, Array, Array]:
    """Voltages, currents and imbalance after the longest halved step that lowers it."""
    volts, missing, series = state
    length = np.ones(volts.shape[-1])
    halvings = 0
    while True:
        moved = volts + length * direction
        flowing = law.currents(network.cells, moved)
        new = moved + network.drops(flowing) - series
        worse = ~(_largest(new) < _largest(missing))
        if halvings == _HALVINGS or not worse.any():
            return moved, flowing, new
        length[worse] *= 0.5
        halvings += 1


def _largest(x: Array) -> Array:
    return np.asarray(np.maximum(x.max(axis=(0, 1, 2)), -x.min(axis=(0, 1, 2))))
