"""How far a run is from what its spec says, in standard errors with honest tails.

Every test sums independent terms of known variance. A sum T of terms with variance V whose
tails are no heavier than sub-gamma with scale c has P(|T| >= sqrt(2 V x) + c x) <= 2 exp(-x)
(Bernstein; Boucheron, Lugosi and Massart, "Concentration Inequalities", 2013, chapter 2).
`sigmas` solves that for x and gives sqrt(2 x): |T| / sqrt(V) where c is nothing, less where a
few large terms decide. So P(sigmas >= z) <= 2 exp(-z^2 / 2), and over n tests

    bound = sqrt(2 ln(2 n / FAILING))

is exceeded by one sound run in a million at most. It depends on the number of tests alone.

* Cells (`of_cells`), by level: the mean, with the variance n s^2 of the normals before
  clipping (clipping is 1-Lipschitz, so the tail is theirs); the spread, sum of e^2 - v, with
  the variance n (m4 - v^2) and the scale 2 s^2 (as chi-squared has, Laurent and Massart 2000);
  and the farthest of n cells, where P(max >= t s) <= 2 n exp(-t^2 / 2).
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

from tetrapla.backends.analog import predict
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.crossbar import Cells
from tetrapla.simulators.analog.program import Product
from tetrapla.simulators.analog.spec import AnalogSpec

FAILING: Final = 1e-6


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
    return 2 * t / below if below else 0.0


def of_cells(product: Product, spec: AnalogSpec, cells: Sequence[Cells]) -> Deviations:
    """Programmed cells of every tile against their targets."""
    moments = predict.cell_moments(spec)
    levels = len(moments.sd)
    count, total, square, farthest = (np.zeros(levels) for _ in range(4))
    grid = max((held.grid for held in cells), default=0.0)
    for tile, held in zip(product.tiles, cells, strict=True):
        goal = predict.target_levels(product, tile, spec).ravel()
        error = held.levels.astype(np.float64).ravel() - moments.mean[goal]
        count += np.bincount(goal, minlength=levels)
        total += np.bincount(goal, error, levels)
        square += np.bincount(goal, error * error, levels)
        np.maximum.at(farthest, goal, np.abs(error))
    found: list[float] = []
    mismatches = 0
    for level in range(levels):
        s, v = float(moments.sd[level]), float(moments.variance[level])
        # a rounded cell is off by half a grid step at most
        n, tail = float(count[level]), s * s + grid * grid / 4
        if s == 0:
            mismatches += int(farthest[level] > grid / 2)
            continue
        excess = float(square[level]) - n * (v + grid * grid / 12)
        beyond = float(farthest[level]) ** 2 / tail - 2 * log(max(n, 1))
        found += [
            sigmas(float(total[level]), n * tail, 0.0),
            sigmas(excess, n * (float(moments.fourth[level]) - v * v), 2 * tail),
            sqrt(max(0.0, beyond)),
        ]
    return Deviations(tuple(found), mismatches)


def of_sums(expected: predict.Expected, sums: Array) -> Deviations:
    """Sums [samples, outputs] against what is expected of them, given the cells."""
    error, variance = sums - expected.mean, expected.variance
    # where nothing is random the sum is known: whole numbers, exact in float64
    mismatches = int(np.count_nonzero(error[variance == 0]))
    if not variance.any():
        return Deviations((), mismatches)
    largest = expected.largest
    slack = len(error) * expected.slack
    by_output = zip(error.sum(axis=0), variance.sum(axis=0), slack, strict=True)
    found = [sigmas(float(t), float(v), largest, float(a)) for t, v, a in by_output]
    for part in expected.parts:
        at = slice(part.start, part.stop)
        size = np.abs(part.mean)
        found.append(
            sigmas(
                float((error[:, at] * part.mean).sum()),
                float((variance[:, at] * size**2).sum()),
                largest * float(size.max(initial=0)),
                float((size * expected.slack[at]).sum()),
            )
        )
    found += [_too_quiet(expected, error), _too_loud(expected, error)]
    return Deviations(tuple(found), mismatches)


def _too_quiet(expected: predict.Expected, error: Array) -> float:
    """Sum of g (e^2 - V) below 0, with g = V / var(e^2), which shows missing noise best."""
    variance = expected.variance
    square = 2 * variance**2 + expected.fourth  # at least var(e^2)
    g = np.divide(variance, square, out=np.zeros_like(square), where=square > 0)
    total = float((g * (error**2 - variance)).sum())
    slack = float((g * expected.square_slack).sum())
    return sigmas(min(total, 0.0), float((g**2 * (square + variance**2)).sum()), 0.0, slack)


def _too_loud(expected: predict.Expected, error: Array) -> float:
    """Sum of g (e^2 - V) above 0, with g so small where V is that a single flip counts 1."""
    variance = expected.variance
    square = 2 * variance**2 + expected.fourth
    g = variance / np.maximum(square + expected.largest**2 * variance, 1e-300)
    total = float((g * (error**2 - variance)).sum())
    slack = float((g * expected.square_slack).sum())
    scale = float((g * (2 * variance + expected.largest**2)).max())
    return sigmas(max(total, 0.0), float((g**2 * square).sum()), scale, slack)
