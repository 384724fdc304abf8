"""How many chips of a noisy kind are good enough, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np

QUANTILES: Final = (0.05, 0.5, 0.95)
_Z: Final = 1.959963984540054  # two-sided 95 % of a normal


@dataclass(frozen=True)
class Yield:
    """Chips of one kind, each with errors, drift and faults of its own.

    Attributes:
        chips: how many were simulated.
        least_accuracy: what a good chip has at least, 0..1.
        good_frac: the share of good chips.
        interval_95: between which shares the kind's own lies, with 95 % confidence (Wilson).
        accuracy_quantiles: by share of the chips, the accuracy that so many do not exceed.
    """

    chips: int
    least_accuracy: float
    good_frac: float
    interval_95: tuple[float, float]
    accuracy_quantiles: Mapping[str, float]


def yield_of(accuracies: Sequence[float], least: float) -> Yield:
    """The yield of chips with these accuracies.

    Args:
        accuracies: one for each chip, at least one.
        least: what a good one has.
    """
    good = sum(each >= least for each in accuracies)
    found = np.quantile(np.asarray(accuracies), QUANTILES)
    return Yield(
        chips=len(accuracies),
        least_accuracy=least,
        good_frac=good / len(accuracies),
        interval_95=wilson(good, len(accuracies)),
        accuracy_quantiles={f"{q:g}": float(v) for q, v in zip(QUANTILES, found, strict=True)},
    )


def wilson(good: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of which `good` of `count` were seen.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927).
    """
    share, z2 = good / count, _Z * _Z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z * sqrt(share * (1 - share) / count + z2 / (4 * count * count)) / (1 + z2 / count)
    # at the ends the formula is exact but for rounding
    low = 0.0 if good == 0 else middle - half
    high = 1.0 if good == count else middle + half
    return low, high
