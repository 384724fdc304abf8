"""Which addresses a layer asks its scratchpads for, in which cycle, as SCALE-Sim 3.0.0 does.

A fold of the layer is a part that the array holds at once; folds follow one another without
a gap. What moves through the array is skewed: lane j is j cycles late. Before anything is asked
for, an operand has an order in which it is to be fetched: its folds one below the other, filled
up to the array's width, read by diagonals where the lanes are skewed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tetrapla.simulators.systolic.scalesim.closed_form import Counts, Dataflow, Layers


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

    def layers(self) -> Layers:
        """The layer as a matrix product, a list of one."""
        ifmap = (self.height, self.width, self.filter_height, self.filter_width)
        row = np.array([[*ifmap, self.channels, self.filters, self.stride]], np.int64)
        return Layers.of_convolutions(row)

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
class Stream:
    """Addresses in the order of a fold's cycles and lanes, and those cycles."""

    cycles: Counts
    addresses: Counts

    @classmethod
    def of(cls, demand: Counts, first: int) -> Stream:
        """Of lines x lanes, -1 where a lane reads nothing, from a cycle of the fold on."""
        line, lane = np.nonzero(demand >= 0)
        return cls(first + line, demand[line, lane])


@dataclass(frozen=True)
class Fetches:
    """The order in which an operand is to be fetched.

    Attributes:
        folds: its folds one below the other, lines x lanes, -1 where a lane has no address.
        by_diagonals: whether they are read by diagonals, and not line by line.
    """

    folds: Counts
    by_diagonals: bool

    def order(self) -> Counts:
        """The addresses, one after the other."""
        placed = _skewed(self.folds) if self.by_diagonals else self.folds
        found: Counts = placed[placed >= 0]
        return found


@dataclass
class Demand:
    """What the array asks for.

    Attributes:
        lines: cycles of a fold.
        ifmap_fetches, filter_fetches: what is to be fetched.
        ifmap, filter: what each fold reads; a fold that reads what another does is the same
            object.
        writes: by fold, results per cycle.
    """

    lines: int
    ifmap_fetches: Fetches
    filter_fetches: Fetches
    ifmap: list[Stream] = field(default_factory=list)
    filter: list[Stream] = field(default_factory=list)
    writes: list[Counts] = field(default_factory=list)


def demand(layer: Windows, rows: int, cols: int, dataflow: Dataflow) -> Demand:
    """What a layer asks for on an array of rows x cols."""
    plans = {"os": _output_stationary, "ws": _weight_stationary, "is": _input_stationary}
    return plans[dataflow](layer.ifmap(), layer.filter(), rows, cols)


def _output_stationary(x: Counts, w: Counts, rows: int, cols: int) -> Demand:
    xs, ws = _blocks(x.T, rows), _blocks(w, cols)
    taps, lines = w.shape[0], rows + cols + w.shape[0] - 2
    found = Demand(lines, Fetches(_stacked(xs, rows), True), Fetches(_stacked(ws, cols), True))
    late = [Stream.of(_skewed(a), 0) for a in xs]
    for b in ws:
        stream = Stream.of(_skewed(b), 0)
        for a, held in zip(xs, late, strict=True):
            found.ifmap.append(held)
            found.filter.append(stream)
            results = np.full((rows, b.shape[1]), -1, np.int64)
            results[rows - a.shape[1] :] = 0  # drained from the bottom, empty rows first
            found.writes.append(_per_line(_skewed(results), taps - 1, lines))
    return found


def _weight_stationary(x: Counts, w: Counts, rows: int, cols: int) -> Demand:
    xs, ws = _blocks(x, rows), _blocks(w, cols)
    lines = 2 * rows + cols + x.shape[0] - 2
    found = Demand(lines, Fetches(_stacked(xs, rows), True), Fetches(_stacked(ws, cols), False))
    late = [Stream.of(_skewed(a), rows) for a in xs]
    for b in ws:
        results = _skewed(np.zeros((x.shape[0], b.shape[1]), np.int64))
        written = _per_line(results, 2 * rows - 1, lines)
        for a, part in zip(late, _blocks(b.T, rows), strict=True):
            found.ifmap.append(a)
            found.filter.append(Stream.of(part.T[::-1], rows - part.shape[1]))
            found.writes.append(written)
    return found


def _input_stationary(x: Counts, w: Counts, rows: int, cols: int) -> Demand:
    xs, ws = _blocks(x.T, cols), _blocks(w.T, rows)
    lines = 2 * rows + cols + w.shape[1] - 2
    found = Demand(lines, Fetches(_stacked(xs, cols), False), Fetches(_stacked(ws, rows), True))
    late = [Stream.of(_skewed(b), rows) for b in ws]
    for a in xs:
        results = _skewed(np.zeros((w.shape[1], a.shape[1]), np.int64))
        written = _per_line(results, 2 * rows - 1, lines)
        for part, b in zip(_blocks(a.T, rows), late, strict=True):
            found.ifmap.append(Stream.of(part.T[::-1], rows - part.shape[1]))
            found.filter.append(b)
            found.writes.append(written)
    return found


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
