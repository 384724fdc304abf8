"""Codes of converters whose steps differ in size, and their tables held against the spec.

A table has the thresholds of every converter (`simulators.analog.code_tables`). Of a sum
N(c, sd^2), with i thresholds below c,

    E[code]         = i + sum_{t > c} P(sum > t) - sum_{t < c} P(sum < t)
    E[(code - i)^2] = the r-th threshold from c to either side with the weight 2 r - 1

and both signs added, as `predict.code_moments` has it where every step is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tetrapla.backends.analog.normal import FAR, phi
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.adc import Mismatch
from tetrapla.simulators.analog.cells import Cells
from tetrapla.simulators.analog.spec import AnalogSpec


@dataclass(frozen=True)
class Codes:
    """Mean and variance [n, conversions], and how many thresholds noise may cross."""

    mean: Array
    variance: Array
    reach: int


def moments(centre: Array, sd: Array, converters: Mismatch) -> Codes:
    """Of the codes of sums in steps, gains and offsets in them already."""
    assert converters.thresholds is not None
    mean, variance = np.empty(centre.shape), np.zeros(centre.shape)
    many, farthest = len(converters.thresholds), 0
    for number, table in enumerate(converters.thresholds):
        own = slice(number, None, many)
        at, spread = centre[:, own] - converters.lowest, sd[:, own]
        below = np.searchsorted(table, at, side="right")
        moved, square = np.zeros(at.shape), np.zeros(at.shape)
        low, high = (
            np.searchsorted(table, at + sign * FAR * spread, side="right") for sign in (-1, 1)
        )
        reach = int(max((high - below).max(initial=0), (below - low).max(initial=0)))
        ends = np.concatenate([[-np.inf], table, [np.inf]])
        scale = 1 / np.where(spread > 0, spread, 1e-30)
        for r in range(1, reach + 1):
            above = phi((at - ends[np.minimum(below + r, len(ends) - 1)]) * scale)
            under = phi((ends[np.maximum(below + 1 - r, 0)] - at) * scale)
            moved += above - under
            square += (2 * r - 1) * (above + under)
        certain = spread <= 0
        moved[certain], square[certain] = 0, 0
        mean[:, own] = below + moved + converters.lowest
        variance[:, own] = square - moved * moved
        farthest = max(farthest, reach)
    return Codes(mean, variance, farthest)


def tables(spec: AnalogSpec, cells: Sequence[Cells]) -> list[tuple[float, float, float]]:
    """Sums of terms of mean 0, their variance and scale, as `broken.shares` has them.

    Of successive approximation the middle threshold, which nothing but its own capacitors
    moves; of the others the mean of all thresholds, which no order of them changes.
    """
    found = [held.converters for held in cells if held.converters is not None]
    own = [table.thresholds for table in found if table.thresholds is not None]
    if not own:
        return []
    if spec.converter.circuit == "ramp":
        own = [table[:1] for table in own]  # one ramp an array
    off = np.concatenate(own) - (np.arange(own[0].shape[1]) + 0.5)
    many, unit = off.shape[1] + 1, spec.adc.unit_frac
    if spec.converter.circuit == "sar":
        drawn, variance = off[:, many // 2 - 1], unit**2 * many / 4
    else:
        drawn = off.sum(axis=1)
        variance = unit**2 * (many**3 - many) / 12
        variance += spec.adc.comparator_steps**2 * (many - 1)
    z = drawn / np.sqrt(variance)
    return [
        (float(z.sum()), float(len(z)), 0.0),
        (float((z * z - 1).sum()), 2.0 * len(z), 2.0),
    ]
