"""The PEs, every register in every cycle, as plain NumPy: what the wires do, and no formula.

Operands enter at the edge and move one PE a cycle, so that what enters row r (or column c) is
r (or c) cycles late; swap, shift, start and capture bits travel with them and reach PE (r, c)
after r + c cycles.

`fast` has the same two functions compiled; they are tested equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from tetrapla.ir.graph import Array

WINDOW = 2048  # cycles that are stepped in one call at most, assumed: they fit the caches

_BLOCK_BITS = 2**18  # assumed: a quarter of a mebibyte

Stepper: TypeAlias = Callable[["Registers", "Edge", int, Array], None]
"""(registers, edge, first row of the edge's logs, out): steps len(out) cycles."""


@dataclass
class Registers:
    """What the PEs hold, (rows, columns) each but where said.

    Attributes:
        left: operands moving right; (planes, rows, columns), four planes where a 2:4 sparse
            PE picks one of four.
        weight, shadow, passed: weights in use, being shifted in, and on their way down; an
            output-stationary array has those on their way down in `weight`.
        place, shadow_place, passed_place: which plane they pick; not there with one plane.
        sums: moving down, or staying; (1 + rows, columns), of which the first row is the zero
            that enters at the top.
        first, second: drain registers of an output-stationary array; `second` as `sums`.
    """

    left: Array
    weight: Array
    shadow: Array
    passed: Array
    place: Array
    shadow_place: Array
    passed_place: Array
    sums: Array
    first: Array
    second: Array


@dataclass
class Edge:
    """What enters, by cycle: values (planes, rows), weights (columns), places, two bits.

    A weight-stationary array takes `begin` as swap and `end` as shift, an output-stationary
    one as start and capture.
    """

    values: Array
    weights: Array
    places: Array
    begin: Array
    end: Array


def step_weight_stationary(x: Registers, edge: Edge, start: int, out: Array) -> None:
    """Weights in place: activations move right, sums and shadow weights down."""
    sparse = len(x.left) > 1
    for first, count in _blocks(x, len(out)):
        times = start + first + np.arange(count)
        late = _Late(x, edge, times)
        for n in range(count):
            x.left[..., 1:] = x.left[..., :-1]
            x.left[..., 0] = late.values[n]
            if late.begins[n]:
                np.copyto(x.weight, x.shadow, where=late.begin[n])
                if sparse:
                    np.copyto(x.place, x.shadow_place, where=late.begin[n])
            taken = x.left[0]
            if sparse:
                taken = np.take_along_axis(x.left, x.place[None].astype(np.intp), 0)[0]
            x.sums[1:] = x.sums[:-1] + np.multiply(taken, x.weight, dtype=x.sums.dtype)
            if late.ends[n]:
                shift = late.end[n]
                _shift(x.shadow, x.passed, late.weights[n], shift)
                if sparse:
                    _shift(x.shadow_place, x.passed_place, late.places[n], shift)
            out[first + n] = x.sums[-1]


def step_output_stationary(x: Registers, edge: Edge, start: int, out: Array) -> None:
    """Sums in place: activations move right, weights down, finished sums down two a row."""
    sums = x.sums[1:]
    for first, count in _blocks(x, len(out)):
        times = start + first + np.arange(count)
        late = _Late(x, edge, times)
        for n in range(count):
            x.left[..., 1:] = x.left[..., :-1]
            x.left[..., 0] = late.values[n]
            x.weight[1:] = x.weight[:-1]
            x.weight[0] = late.weights[n]
            if late.begins[n]:
                sums[late.begin[n]] = 0
            sums += np.multiply(x.left[0], x.weight, dtype=sums.dtype)
            above = x.second[:-1].copy()
            x.second[1:] = x.first
            x.first[...] = above
            if late.ends[n]:
                np.copyto(x.first, sums, where=late.end[n])
            out[first + n] = x.first[-1]


class _Late:
    """What enters the PEs themselves: row r of the edge r cycles late, column c c cycles."""

    def __init__(self, x: Registers, edge: Edge, times: Array) -> None:
        rows, cols = x.weight.shape
        r, c = np.arange(rows), np.arange(cols)
        lag = times[:, None, None] - (r[:, None] + c)
        self.values = np.moveaxis(edge.values[times[:, None] - r, :, r], 2, 1)
        self.weights = edge.weights[times[:, None] - c, c]
        self.places = edge.places[times[:, None] - c, c]
        self.begin, self.end = edge.begin[lag], edge.end[lag]
        self.begins: Array = np.any(self.begin, axis=(1, 2))
        self.ends: Array = np.any(self.end, axis=(1, 2))


def _blocks(x: Registers, cycles: int) -> list[tuple[int, int]]:
    """First cycles and lengths of stretches whose bits for every PE fit a cache."""
    most = max(1, _BLOCK_BITS // x.weight.size)
    return [(n, min(most, cycles - n)) for n in range(0, cycles, most)]


def _shift(held: Array, passed: Array, fed: Array, shift: Array) -> None:
    """Shadow weights move down by way of the pass registers."""
    above = np.concatenate([fed[None], passed[:-1]])
    np.copyto(passed, held, where=shift)
    np.copyto(held, above, where=shift)


@dataclass
class Numbers:
    """Types of one kind of sums: of the operands in the PEs, and of the sums."""

    operand: type[np.generic]
    sums: type[np.generic]


NUMBERS = {
    "i32": Numbers(np.int16, np.int32),
    "i64": Numbers(np.int32, np.int64),
    "f32": Numbers(np.float32, np.float32),
}


@dataclass
class Grid:
    """One array of PEs for one type of sums, with the logs of what enters and leaves.

    Cycles are counted from 0; entries of a cycle are given before `advance` passes it, and
    what left is kept for `history` cycles: the most that a sum is on its way.
    """

    rows: int
    cols: int
    numbers: Numbers
    stepper: Stepper
    planes: int = 1
    registers: Registers = field(init=False)
    edge: Edge = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.rows, self.cols)
        operand, sums = self.numbers.operand, self.numbers.sums

        below = (1 + self.rows, self.cols)
        self.registers = Registers(
            left=np.zeros((self.planes, *shape), operand),
            weight=np.zeros(shape, operand),
            shadow=np.zeros(shape, operand),
            passed=np.zeros(shape, operand),
            place=np.zeros(shape, np.uint8),
            shadow_place=np.zeros(shape, np.uint8),
            passed_place=np.zeros(shape, np.uint8),
            sums=np.zeros(below, sums),
            first=np.zeros(shape, sums),
            second=np.zeros(below, sums),
        )
        self.history = 2 * self.rows + self.cols
        size = self.history + WINDOW + 2
        self.edge = Edge(
            np.zeros((size, self.planes, self.rows), operand),
            np.zeros((size, self.cols), operand),
            np.zeros((size, self.cols), np.uint8),
            np.zeros(size, np.bool_),
            np.zeros(size, np.bool_),
        )
        self._out = np.zeros((size, self.cols), sums)
        self._first = 0  # the cycle that is entry `_history` of the logs
        self._done = 0  # cycles before this one are over

    def at(self, cycle: int) -> int:
        """The place of a cycle in the logs."""
        place = cycle - self._first + self.history
        if place >= len(self.edge.begin):
            self._slide()
            place = cycle - self._first + self.history
        return place

    def left_from(self, cycle: int, count: int = 1, pace: int = 1) -> Array:
        """Rows of sums, one every `pace` cycles: what left column c at the end of cycle + c."""
        first, c = cycle - self._first + self.history, np.arange(self.cols)
        return np.asarray(self._out[first + pace * np.arange(count)[:, None] + c, c])

    def advance(self, end: int) -> None:
        """Step every cycle before `end`."""
        while self._done < end:
            room = self._first + WINDOW + 1
            if self._done == room:
                self._slide()
                continue
            count = min(end, room) - self._done
            start = self._done - self._first + self.history
            self.stepper(self.registers, self.edge, start, self._out[start : start + count])
            self._done += count

    def make_room(self, cycles: int) -> None:
        """See to it that nothing leaves the logs in the next cycles, at most half a window."""
        if self._done - self._first + cycles > WINDOW:
            self._slide()

    def _slide(self) -> None:
        """Make room: what is over and old leaves the logs."""
        shift = self._done - self._first
        edge = self.edge
        for log in (edge.values, edge.weights, edge.places, edge.begin, edge.end, self._out):
            kept = len(log) - shift
            log[:kept] = log[shift:].copy()
            log[kept:] = 0
        self._first = self._done
