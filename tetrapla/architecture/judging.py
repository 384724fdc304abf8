"""Which finalist wins, and what the difference of two networks on the same images means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from tetrapla.simulators.yield_ import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Validated:
    """A finalist after cross-validation on the training part, run on the target.

    Attributes:
        label: of its shape.
        cost: the mean of its folds.
        errors: wrong answers over all folds; of a noisy machine the mean over its chips.
        samples: answers in all.
    """

    label: str
    cost: float
    errors: float
    samples: int


def winner(finalists: Sequence[Validated], baseline: Validated) -> Validated:
    """The cheapest finalist that is as good as any, as far as the samples can tell.

    As good is within one standard error of the fewest errors (L. Breiman et al.,
    "Classification and Regression Trees", 1984, section 3.4.3); the baseline's shape, trained
    alike, is one of them, and wins where nothing cheaper is as good.
    """
    every = [baseline, *finalists]
    least = min(every, key=lambda each: each.errors / each.samples)
    share = least.errors / least.samples
    # a share of 0 has no spread of its own: half an error stands for it
    spread = max(share, 0.5 / least.samples)
    most = share + sqrt(spread * (1 - spread) / least.samples)
    good = [each for each in every if each.errors / each.samples <= most]
    return min(good, key=lambda each: (each.cost, each.errors))


def paired(
    winner_right: NDArray[np.bool_], baseline_right: NDArray[np.bool_]
) -> dict[str, Any]:
    """McNemar's exact test of two networks on the same images.

    Q. McNemar, Psychometrika 12 (1947); exact by the binomial of the images that one of the
    two alone has right.
    """
    gained = int(np.count_nonzero(winner_right & ~baseline_right))
    lost = int(np.count_nonzero(baseline_right & ~winner_right))
    return {
        "only_winner_right": gained,
        "only_baseline_right": lost,
        "p_value": binomial_p(min(gained, lost), gained + lost),
    }


def binomial_p(fewer: int, count: int) -> float:
    """The two-sided chance of so few heads, or fewer, of a fair coin."""
    tail = sum(comb(count, k) for k in range(fewer + 1))
    return min(1.0, 2 * float(tail) / float(2**count))


def interval(right: NDArray[np.bool_]) -> dict[str, Any]:
    """How many answers are right, with Wilson's 95 % interval of their share."""
    return {
        "right": int(np.count_nonzero(right)),
        "samples": int(right.size),
        "interval_95": list(wilson(int(np.count_nonzero(right)), int(right.size))),
    }
