"""How far a run is from what its spec says, in standard errors with honest tails.

Every test sums independent terms of known variance. A sum T of terms with variance V whose
tails are no heavier than sub-gamma with scale c has P(|T| >= sqrt(2 V x) + c x) <= 2 exp(-x)
(Bernstein; Boucheron, Lugosi and Massart, "Concentration Inequalities", 2013, chapter 2).
`sigmas` solves that for x and gives sqrt(2 x): |T| / sqrt(V) where c is nothing, less where a
few large terms decide. So P(sigmas >= z) <= 2 exp(-z^2 / 2), and over n tests

    bound = sqrt(2 ln(2 n / FAILING))

is exceeded by one sound run in a million at most. It depends on the number of tests alone.

* Cells (`of_cells`), by level: the mean, with the variance n s^2 of normals whose tails are no
  lighter; the spread, sum of e^2 - v, with the variance n (m4 - v^2) and the scale 2 s^2 (as
  chi-squared has, Laurent and Massart 2000); and the farthest of n cells, where
  P(max >= t s) <= 2 n exp(-t^2 / 2). What is broken is counted (`broken`); weights that target
  levels do not stand for, and levels that do not follow from the cells, are mismatches.
* Accumulators (`of_sums`): the mean error of every output; the error along what every tile,
  every slice of each sign and every digit should have added, so that a part that is missing,
  doubled, shifted or swapped shows as a multiple of itself; and the spread, sum of g (e^2 - V),
  to either side: squares are not negative, so a sum that is too small has a normal's tail with
  the variance sum of g^2 E[e^4], and one that is too large the scale of its largest term.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Final

import numpy as np

from tetrapla.backends.analog import broken, flicker, predict, recovered, uneven
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.cells import Cells
from tetrapla.simulators.analog.mapping import columns, targets
from tetrapla.simulators.analog.program import Product, Tile
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key

FAILING: Final = 1e-6
_AT_ONCE: Final = 1 << 10  # cells whose moments are found together
_ROUNDED: Final = 1e-9  # of a level: what float64 does to a conductance and back


@dataclass(frozen=True)
class Deviations:
    """Of one product or of all: each test's deviation, and what must be equal and is not."""

    sigmas: tuple[float, ...] = ()
    mismatches: int = 0

    def __add__(self, other: Deviations) -> Deviations:
        return Deviations(self.sigmas + other.sigmas, self.mismatches + other.mismatches)

    @property
    def largest(self) -> float:
        """The largest deviation, 0 where nothing is random."""
        return max(self.sigmas, default=0.0)

    @property
    def bound(self) -> float:
        """What the largest may be."""
        return sqrt(2 * log(2 * max(1, len(self.sigmas)) / FAILING))


def sigmas(total: float, variance: float, scale: float, slack: float = 0.0) -> float:
    """sqrt(2 x) with sqrt(2 variance x) + scale x = |total| - slack."""
    t = max(0.0, abs(total) - slack)
    below = sqrt(variance) + sqrt(variance + 2 * scale * t)
    return float(2 * t / below) if below else 0.0


def of_cells(
    product: Product, spec: AnalogSpec, cells: Sequence[Cells], key: Key
) -> Deviations:
    """Programmed cells of every tile against their targets, and what wires make of them."""
    tally, mismatches = _Tally(spec), 0
    for number, (tile, held) in enumerate(zip(product.tiles, cells, strict=True)):
        address = key.at(layer=product.number, tile=product.first_tile + number)
        goal, gain = recovered.aimed(product, tile, spec, held.order)
        mismatches += _misplaced(product, tile, spec) + recovered.misrouted(held)
        made = columns(product, tile, spec)
        mismatches += recovered.misreferenced(made, spec, held, goal, gain, address)
        mismatches += _miswired(product, tile, spec, held)
        mismatches += _misread(spec, held, goal, address)
        mismatches += broken.mismatches(spec, held)
        alone = broken.working(held)
        unit = (spec.device.g_max_siemens - spec.device.g_min_siemens) / spec.array.top_level
        aim = goal * unit + spec.device.g_min_siemens
        stays = flicker.shift(spec, aim, address, spec.device.time_s) / unit
        tally.add(goal[alone], (broken.landed(spec, held) - stays)[alone])
    found, off = tally.deviations()
    tests = broken.shares(spec, cells) + broken.converters(spec, cells)
    tests += uneven.tables(spec, cells)
    found += [sigmas(*test) for test in tests if test[1] > 0]
    off += sum(test[1] == 0 != test[0] for test in tests)
    return Deviations(tuple(found), mismatches + off)


class _Tally:
    """Errors of cells by the level that their target is nearest to."""

    def __init__(self, spec: AnalogSpec) -> None:
        self._spec = spec
        self._table = predict.cell_moments(spec)
        many = len(self._table.mean)
        self._count, self._total, self._excess, self._farthest = np.zeros((4, many))
        self._tail, self._square, self._largest = np.zeros((3, many))
        self._certain = np.zeros(many)

    def add(self, goal: Array, found: Array) -> None:
        """Cells of target levels `goal` that are at `found`."""
        levels, many = np.rint(goal).astype(np.intp), len(self._count)
        if np.array_equal(levels, goal):
            mean, variance, fourth, tail = (one[levels] for one in _each(self._table))
        else:
            mean, variance, fourth, tail = self._of(goal)
        error, moves = found - mean, tail > 0
        np.maximum.at(self._certain, levels[~moves], np.abs(error[~moves]))
        levels, error, v, tail = levels[moves], error[moves], variance[moves], tail[moves]
        self._count += np.bincount(levels, minlength=many)
        self._total += np.bincount(levels, error, many)
        self._excess += np.bincount(levels, error * error - v, many)
        self._tail += np.bincount(levels, tail * tail, many)
        self._square += np.bincount(levels, fourth[moves] - v * v, many)
        np.maximum.at(self._largest, levels, tail)
        np.maximum.at(self._farthest, levels, np.abs(error) / tail)

    def deviations(self) -> tuple[list[float], int]:
        """Of mean, spread and the farthest cell of every level; cells that must not err."""
        found: list[float] = []
        for level, n in enumerate(self._count.tolist()):
            if not n and not self._table.tail[level]:
                continue
            beyond = float(self._farthest[level]) ** 2 - 2 * log(max(n, 1))
            scale = 2 * float(self._largest[level]) ** 2
            found += [
                sigmas(float(self._total[level]), float(self._tail[level]), 0.0),
                sigmas(float(self._excess[level]), float(self._square[level]), scale),
                sqrt(max(0.0, beyond)),
            ]
        return found, int(np.count_nonzero(self._certain > _ROUNDED))

    def _of(self, goal: Array) -> tuple[Array, ...]:
        """Moments of targets between the levels, [n] each; some at a time for the memory."""
        parts = [
            _each(predict.cell_moments(self._spec, goal[start : start + _AT_ONCE]))
            for start in range(0, len(goal), _AT_ONCE)
        ]
        return tuple(np.concatenate(one) for one in zip(*parts, strict=True))


def _each(moments: predict.CellMoments) -> tuple[Array, ...]:
    return moments.mean, moments.variance, moments.fourth, moments.tail


def _misplaced(product: Product, tile: Tile, spec: AnalogSpec) -> int:
    """Weights that the target levels do not stand for."""
    part, goal = product.part(tile), targets(product, tile, spec)
    stands_for = predict.weights_of(goal, columns(product, tile, spec))
    return int(np.count_nonzero(stands_for != part))


def _miswired(product: Product, tile: Tile, spec: AnalogSpec, held: Cells) -> int:
    """Entries of the levels that do not follow from the cells; a grid's step may round them."""
    expected = predict.through(columns(product, tile, spec), spec, held.placed)
    if held.reference is not None:
        expected = held.reference.levels(expected)
    away = np.abs(held.levels.astype(np.float64) - expected)
    return int(np.count_nonzero(away > held.grid * (0.5 + 2.0**-20)))


def _misread(spec: AnalogSpec, held: Cells, goal: Array, address: Key) -> int:
    """Cells whose noise of reads is not what the spec says of them."""
    expected = predict.read_sd(spec, held, goal, address)
    found = np.zeros_like(expected) if held.read_sd is None else held.read_sd
    return int(np.count_nonzero(np.abs(found - expected) > 1e-9 * (1 + expected)))


def of_sums(expected: predict.Expected, sums: Array) -> Deviations:
    """Sums [samples, outputs] against what is expected of them, given the cells."""
    error, variance = sums - expected.mean, expected.variance
    # where nothing is random the sum is known: whole numbers, exact in float64
    mismatches = int(np.count_nonzero(error[variance == 0]))
    if not variance.any():
        return Deviations((), mismatches)
    slack = len(error) * expected.slack
    by_output = zip(error.sum(axis=0), variance.sum(axis=0), slack, strict=True)
    largest = expected.largest
    found = [sigmas(float(t), float(v), largest, float(a)) for t, v, a in by_output]
    found += [_along(expected, error, part) for part in expected.parts]
    found += [_too_quiet(expected, error), _too_loud(expected, error)]
    return Deviations(tuple(found), mismatches)


def _along(expected: predict.Expected, error: Array, part: predict.Part) -> float:
    """Of the error along what some conversions should have added."""
    at = slice(part.start, part.stop)
    size = np.abs(part.mean)
    variance = float((expected.variance[:, at] * size**2).sum())
    most = float(size.max(initial=0))
    for one in expected.shared:
        # an error that outputs have in common counts as the sum of their sizes
        low, high = max(one.start, part.start), min(one.stop, part.stop)
        within = part.mean[:, low - part.start : high - part.start]
        if high > low:
            alike = within.sum(axis=1) ** 2 - (within**2).sum(axis=1)
            variance += float((one.variance * alike).sum())
            most = max(most, float(np.abs(within).sum(axis=1).max()))
    along = float((error[:, at] * part.mean).sum())
    slack = float((size * expected.slack[at]).sum())
    return sigmas(along, max(variance, 0.0), expected.largest * most, slack)


def _too_quiet(expected: predict.Expected, error: Array) -> float:
    """Sum of g (e^2 - V) below 0, with g = V / var(e^2), which shows missing noise best."""
    variance, fourth = expected.variance[:, expected.alone], expected.fourth[:, expected.alone]
    error, square_slack = error[:, expected.alone], expected.square_slack[expected.alone]
    square = 2 * variance**2 + fourth  # at least var(e^2)
    g = np.divide(variance, square, out=np.zeros_like(square), where=square > 0)
    total = float((g * (error**2 - variance)).sum())
    slack = float((g * square_slack).sum())
    return sigmas(min(total, 0.0), float((g**2 * (square + variance**2)).sum()), 0.0, slack)


def _too_loud(expected: predict.Expected, error: Array) -> float:
    """Sum of g (e^2 - V) above 0, with g so small where V is that a single flip counts 1."""
    variance, fourth = expected.variance[:, expected.alone], expected.fourth[:, expected.alone]
    error, square_slack = error[:, expected.alone], expected.square_slack[expected.alone]
    square = 2 * variance**2 + fourth
    g = variance / np.maximum(square + expected.largest**2 * variance, 1e-300)
    total = float((g * (error**2 - variance)).sum())
    slack = float((g * square_slack).sum())
    scale = float((g * (2 * variance + expected.largest**2)).max())
    return sigmas(max(total, 0.0), float((g**2 * square).sum()), scale, slack)
