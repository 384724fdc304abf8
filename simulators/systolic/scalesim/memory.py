"""SCALE-Sim's stall cycles under ``InterfaceBandwidth: USER``, by its own memory model.

SCALE-Sim 3.0.0 (memory/read_buffer.py, memory/write_buffer.py) fetches an operand in a fixed
order into a scratchpad of a hundred sets. Half of them are active; an address that is in none
of the active sets moves the window on by the other half, again and again until it is in, and
each move ends a fixed time after the last one. Results leave their scratchpad by halves. Which
moves happen depends on the order of the addresses alone; when they end, on the stalls so far.
What is odd there is odd here: a positive wait counts twice, a negative one shortens the line's
stall.

Only this mode needs the addresses; without stalls, `scalesim` has the closed form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tetrapla.simulators.systolic.scalesim.closed_form import Counts, Dataflow, Layers, cycles

MOST_WORDS = 2**24  # of an operand, assumed: the lists of its addresses take a few hundred MB
MOST_CYCLES = 2**24
_SETS = 100
_FIRST_BLOCK, _LAST_BLOCK = 2**8, 2**18  # addresses that are looked up at once


@dataclass(frozen=True)
class Windows:
    """The addresses of one layer: its ifmap, with its padding, and the filters over it."""

    height: int
    width: int
    filter_height: int
    filter_width: int
    channels: int
    filters: int
    stride: int

    def sizes(self) -> tuple[Counts, Counts, Counts]:
        """M, N and K, each of one entry."""
        ifmap = (self.height, self.width, self.filter_height, self.filter_width)
        row = np.array([[*ifmap, self.channels, self.filters, self.stride]], np.int64)
        found = Layers.of_convolutions(row)
        return found.m, found.n, found.k

    def ifmap(self) -> Counts:
        """Addresses of each window, (windows, taps); -1 outside of the ifmap."""
        down = np.arange(-(-(self.height - self.filter_height + self.stride) // self.stride))
        across = np.arange(-(-(self.width - self.filter_width + self.stride) // self.stride))
        shape = (self.filter_height, self.filter_width, self.channels)
        row, col, channel = (axis.ravel() for axis in np.indices(shape))
        y = (down[:, None, None] * self.stride + row).astype(np.int64)
        x = across[None, :, None] * self.stride + col
        address = (y * self.width + x) * self.channels + channel
        inside = (y < self.height) & (x < self.width)
        return np.where(inside, address, -1).reshape(-1, row.size)

    def filter(self) -> Counts:
        """Addresses of the weights, (taps, filters)."""
        taps = self.filter_height * self.filter_width * self.channels
        return np.arange(taps * self.filters, dtype=np.int64).reshape(taps, self.filters)


@dataclass(frozen=True)
class Scratchpads:
    """Sizes in words, and words per cycle from and to the DRAM."""

    ifmap_words: int
    filter_words: int
    ofmap_words: int
    ifmap_bandwidth: int
    filter_bandwidth: int
    ofmap_bandwidth: int


@lru_cache(maxsize=256)  # networks repeat their layers
def stall_cycles(
    layer: Windows, rows: int, cols: int, dataflow: Dataflow, pads: Scratchpads
) -> int | None:
    """The stalls of a layer; None where it is larger than the limits above."""
    m, n, k = (int(size[0]) for size in layer.sizes())
    total = int(cycles(Layers(*layer.sizes()), rows, cols, dataflow)[0])
    if max(m * k, k * n) > MOST_WORDS or total > MOST_CYCLES:
        return None
    plans = {"os": _output_stationary, "ws": _weight_stationary, "is": _input_stationary}
    plan = plans[dataflow](layer.ifmap(), layer.filter(), rows, cols)
    ifmap = _Reads(plan.ifmap_order, pads.ifmap_words, pads.ifmap_bandwidth)
    filters = _Reads(plan.filter_order, pads.filter_words, pads.filter_bandwidth)
    moves = (
        ifmap.moves(plan.ifmap_folds, plan.lines),
        filters.moves(plan.filter_folds, plan.lines),
    )
    results = _Writes(pads.ofmap_words, pads.ofmap_bandwidth)
    return _served(moves, (ifmap, filters), np.concatenate(plan.writes), results)


@dataclass(frozen=True)
class _Stream:
    """Addresses in the order of a fold's cycles and lanes, and those cycles."""

    cycles: Counts
    addresses: Counts

    @classmethod
    def of(cls, demand: Counts, first: int) -> _Stream:
        """Of lines x lanes, -1 where a lane reads nothing, from a cycle of the fold on."""
        line, lane = np.nonzero(demand >= 0)
        return cls(first + line, demand[line, lane])


@dataclass
class _Plan:
    """What the array asks for.

    Attributes:
        lines: cycles of a fold.
        ifmap_order, filter_order: addresses as they are fetched, -1 among them.
        ifmap_folds, filter_folds: what each fold reads.
        writes: by fold, results per cycle.
    """

    lines: int
    ifmap_order: Counts
    filter_order: Counts
    ifmap_folds: list[_Stream] = field(default_factory=list)
    filter_folds: list[_Stream] = field(default_factory=list)
    writes: list[Counts] = field(default_factory=list)


def _output_stationary(x: Counts, w: Counts, rows: int, cols: int) -> _Plan:
    xs, ws = _blocks(x.T, rows), _blocks(w, cols)
    taps, lines = w.shape[0], rows + cols + w.shape[0] - 2
    plan = _Plan(
        lines, _skewed(_stacked(xs, rows)).ravel(), _skewed(_stacked(ws, cols)).ravel()
    )
    late = [_Stream.of(_skewed(a), 0) for a in xs]
    for b in ws:
        stream = _Stream.of(_skewed(b), 0)
        for a, held in zip(xs, late, strict=True):
            plan.ifmap_folds.append(held)
            plan.filter_folds.append(stream)
            results = np.full((rows, b.shape[1]), -1, np.int64)
            results[rows - a.shape[1] :] = 0  # drained from the bottom, empty rows first
            plan.writes.append(_per_line(_skewed(results), taps - 1, lines))
    return plan


def _weight_stationary(x: Counts, w: Counts, rows: int, cols: int) -> _Plan:
    xs, ws = _blocks(x, rows), _blocks(w, cols)
    lines = 2 * rows + cols + x.shape[0] - 2
    plan = _Plan(lines, _skewed(_stacked(xs, rows)).ravel(), _stacked(ws, cols).ravel())
    late = [_Stream.of(_skewed(a), rows) for a in xs]
    for b in ws:
        results = _skewed(np.zeros((x.shape[0], b.shape[1]), np.int64))
        for a, part in zip(late, _blocks(b.T, rows), strict=True):
            plan.ifmap_folds.append(a)
            plan.filter_folds.append(_Stream.of(part.T[::-1], rows - part.shape[1]))
            plan.writes.append(_per_line(results, 2 * rows - 1, lines))
    return plan


def _input_stationary(x: Counts, w: Counts, rows: int, cols: int) -> _Plan:
    xs, ws = _blocks(x.T, cols), _blocks(w.T, rows)
    lines = 2 * rows + cols + w.shape[1] - 2
    plan = _Plan(lines, _stacked(xs, cols).ravel(), _skewed(_stacked(ws, rows)).ravel())
    late = [_Stream.of(_skewed(b), rows) for b in ws]
    for a in xs:
        results = _skewed(np.zeros((w.shape[1], a.shape[1]), np.int64))
        for part, b in zip(_blocks(a.T, rows), late, strict=True):
            plan.ifmap_folds.append(_Stream.of(part.T[::-1], rows - part.shape[1]))
            plan.filter_folds.append(b)
            plan.writes.append(_per_line(results, 2 * rows - 1, lines))
    return plan


def _blocks(matrix: Counts, width: int) -> list[Counts]:
    return [matrix[:, i : i + width] for i in range(0, matrix.shape[1], width)]


def _stacked(blocks: list[Counts], width: int) -> Counts:
    """One below the other, filled up to the width with -1."""
    found = np.full((len(blocks), blocks[0].shape[0], width), -1, np.int64)
    for target, block in zip(found, blocks, strict=True):
        target[:, : block.shape[1]] = block
    return found.reshape(-1, width)


def _skewed(matrix: Counts) -> Counts:
    """Lane j is j lines late; read line by line, that is the matrix by its diagonals."""
    lines, lanes = matrix.shape
    found = np.full((lines + lanes - 1, lanes), -1, np.int64)
    for lane in range(lanes):
        found[lane : lane + lines, lane] = matrix[:, lane]
    return found


def _per_line(results: Counts, first: int, lines: int) -> Counts:
    found = np.zeros(lines, np.int64)
    found[first : first + len(results)] = (results >= 0).sum(1)
    return found


class _Reads:
    """One operand's scratchpad: the sets that its order fills, and the active ones."""

    def __init__(self, order: Counts, words: int, bandwidth: int) -> None:
        fetched = order[order >= 0]
        a_set, half = -(-words // _SETS), words - words // 2
        self.sets = fetched.size // a_set + 1
        self.active = min(-(-half // a_set), self.sets)
        self.step = min(-(-(words - half) // a_set), self.sets - self.active)
        keys = fetched * self.sets + np.arange(fetched.size) // a_set
        # a number that no key reaches ends the search
        self.keys = np.append(np.unique(keys), np.iinfo(np.int64).max)
        self.wait = -(-(words - half) // bandwidth) + 1  # of a move, with a cycle of latency
        self.ready = -1  # cycle in which the last move ended

    def moves(self, folds: Iterable[_Stream], lines: int) -> dict[int, int]:
        """How often the window moves on in each line in which it does."""
        found: dict[int, int] = {}
        if self.active == self.sets:
            return found
        start, block = 0, _FIRST_BLOCK
        for number, fold in enumerate(folds):
            addresses, place = fold.addresses, 0
            while place < addresses.size:
                held = self._active(addresses[place : place + block], start)
                if held.all():
                    place, block = place + held.size, min(2 * block, _LAST_BLOCK)
                    continue
                place, block = place + int(held.argmin()), _FIRST_BLOCK
                line = number * lines + int(fold.cycles[place])
                while not self._active(addresses[place : place + 1], start)[0]:
                    start = (start + self.step) % self.sets
                    found[line] = found.get(line, 0) + 1
        return found

    def _active(self, addresses: Counts, start: int) -> NDArray[np.bool_]:
        """Whether a set with the address lies in the window, which may wrap around."""
        base, end = addresses * self.sets, start + self.active
        after = self.keys[np.searchsorted(self.keys, base + start)]
        held: NDArray[np.bool_] = after < base + min(end, self.sets)
        if end > self.sets:
            held |= self.keys[np.searchsorted(self.keys, base)] < base + end - self.sets
        return held

    def stall(self, cycle: int, moves: int) -> int:
        """Cycles by which a line is late after so many moves."""
        offset = 1  # a hit takes one
        for _ in range(moves):
            self.ready += self.wait
            late = self.ready - (cycle + offset)
            offset += late + max(late, 0)
        return offset - 1


class _Writes:
    """The results' scratchpad: one half drains while the other fills."""

    def __init__(self, words: int, bandwidth: int) -> None:
        self.words, self.bandwidth = words, bandwidth
        self.active = words - words // 2
        self.free = words
        self.drained = 0  # cycle in which a drain ends
        self.rows = self.sent = self.column = 0
        self.short: dict[int, int] = {}  # words of rows that were sent before they were full

    def take(self, cycle: int, count: int) -> int:
        """Store so many words; the cycle in which the last is in."""
        while count:
            draining = cycle < self.drained
            calm = min(count, max(self.free - (1 if draining else self.active), 0))
            self._store(calm)
            count -= calm
            if not count:
                break
            self._store(1)
            count -= 1
            if draining:
                cycle = self.drained
            else:
                self._drain(cycle)
        return cycle

    def _store(self, count: int) -> None:
        self.free -= count
        full, self.column = divmod(self.column + count, self.bandwidth)
        self.rows += full

    def _drain(self, cycle: int) -> None:
        if self.column:
            self.short[self.rows] = self.column
            self.rows, self.column = self.rows + 1, 0
        end = min(self.sent + -(-(self.words - self.active) // self.bandwidth), self.rows)
        count = end - self.sent
        last = self.short.get(end - 1, self.bandwidth)
        self.free += (count - 1) * self.bandwidth + last
        self.sent, self.drained = end, cycle + count - 1


def _served(
    moves: tuple[dict[int, int], dict[int, int]],
    reads: tuple[_Reads, _Reads],
    writes: Counts,
    results: _Writes,
) -> int:
    """All lines one after the other; only those that move or write can stall."""
    stalls = 0
    for line in _busy(moves, writes, int(writes.sum()) >= results.words):
        cycle = line + stalls
        late = [
            each.stall(cycle, held.get(line, 0))
            for each, held in zip(reads, moves, strict=True)
        ]
        written = results.take(cycle, int(writes[line])) - cycle
        stalls += max(*late, written)
    return stalls


def _busy(
    moves: tuple[dict[int, int], dict[int, int]], writes: Counts, fills: bool
) -> Iterator[int]:
    moved = np.array(sorted({line for held in moves for line in held}), np.int64)
    lines = np.union1d(moved, np.nonzero(writes)[0]) if fills else moved
    yield from map(int, lines)
