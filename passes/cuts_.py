"""Where to cut a histogram: the interval that an activation's integers should span.

Every rule takes the counts of equal bins over a value's whole interval and returns an interval
inside it.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from tetrapla.ir.graph import Array

Interval: TypeAlias = tuple[float, float]

# resolution of the methods: ONNX Runtime's percentile and TensorRT's entropy have as many bins
BINS = 2048
# what the entropy method quantises to: the magnitudes that eight signed bits hold, or unsigned
SIGNED_LEVELS, UNSIGNED_LEVELS = 128, 256
# the entropy method tries so many thresholds at most
ENTROPY_TRIALS = 128
# and merges bins until this many values fall into one on average: the divergence of a sparse
# histogram is its sampling noise, which grows with the threshold (assumed; the noise of a count
# of 32 is a sixth of it)
BIN_VALUES = 32
# stands for an empty bin, so that the divergence stays finite (as in ONNX Runtime)
SMOOTHING = 1e-4
# shares of either side of an interval that the error method tries
SHARES = tuple(float(share) for share in np.linspace(1.0, 0.1, 37))


def percentile(counts: Array, extreme: Interval, percentile_pct: float) -> Interval:
    """The interval between the bins where the tails' shares are used up."""
    tail = (1 - percentile_pct / 100) / 2 * float(counts.sum())
    low, high = extreme
    step = (high - low) / BINS
    below = int(np.searchsorted(np.cumsum(counts), tail, side="right"))
    above = int(np.searchsorted(np.cumsum(counts[::-1]), tail, side="right"))
    if below + above >= BINS:
        return extreme
    return low + below * step, high - above * step


def entropy(counts: Array, extreme: Interval) -> Interval:
    """The threshold on the magnitude whose coarse histogram says least about the fine one less.

    Migacz, "8-bit inference with TensorRT", GTC 2017: of the histogram of magnitudes, cut at a
    threshold with all beyond it counted at the last bin (P), and its merger into 128 levels
    spread again over the bins that are not empty (Q), the threshold with the least
    Kullback-Leibler divergence of Q from P is taken. As in NVIDIA's pytorch-quantization, the
    bin at zero counts as its neighbour (the zeros of a ReLU, which every threshold keeps, would
    outweigh all else), and values of one sign have twice the levels.
    """
    low, high = extreme
    top = max(abs(low), abs(high))
    if top == 0 or low == high:
        return extreme
    middles = low + (np.arange(BINS) + 0.5) * ((high - low) / BINS)
    folded, _ = np.histogram(np.abs(middles), bins=BINS, range=(0, top), weights=counts)
    levels = UNSIGNED_LEVELS if low >= 0 or high <= 0 else SIGNED_LEVELS
    folded[0] = folded[1]
    while len(folded) > levels and folded.sum() < BIN_VALUES * len(folded):
        folded = folded.reshape(-1, 2).sum(axis=1)
    stride = max(1, len(folded) // ENTROPY_TRIALS)
    # not so low that nothing is left
    least = max(levels, int(np.argmax(folded > 0)) + 1)
    kept = [*range(least, len(folded), stride), len(folded)]
    bins = min(kept, key=lambda i: (_divergence(folded, i, levels), -i))
    threshold = top * bins / len(folded)
    return max(low, -threshold), min(high, threshold)


def squared_error(counts: Array, extreme: Interval, levels: int) -> Interval:
    """The interval with the least mean-squared error of so many integers, clipping included.

    Both sides are tried from a tenth of their length to the whole, one and then the other.

    Args:
        counts: of the bins.
        extreme: what the bins span.
        levels: the steps of the integers, 255 for eight bits.
    """
    low, high = extreme
    low, high = min(low, 0.0), max(high, 0.0)
    start, end = extreme
    middles = start + (np.arange(BINS) + 0.5) * ((end - start) / BINS)

    def cost(interval: Interval) -> float:
        return _squared_error(counts, middles, interval, levels)

    if start == end:
        return extreme
    best = (low, high)
    for _ in range(2):
        best = min(((low * share, best[1]) for share in SHARES), key=cost)
        best = min(((best[0], high * share) for share in SHARES), key=cost)
    return max(best[0], start), min(best[1], end)


def _squared_error(counts: Array, x: Array, interval: Interval, levels: int) -> float:
    low, high = interval
    scale = (high - low) / levels
    if scale == 0:
        return float((counts * x**2).sum())
    zero_point = np.rint(-low / scale)
    made = (np.clip(np.rint(x / scale) + zero_point, 0, levels) - zero_point) * scale
    return float((counts * (x - made) ** 2).sum())


def _divergence(folded: Array, bins: int, levels: int) -> float:
    """KL(P || Q) of the histogram cut after so many bins."""
    p = folded[:bins].astype(np.float64)
    level = np.arange(bins) * levels // bins
    filled = p > 0
    merged = np.bincount(level, weights=p, minlength=levels)
    shared = np.bincount(level, weights=filled, minlength=levels)
    q = np.where(filled, (merged / np.maximum(shared, 1))[level], 0.0)
    p[-1] += folded[bins:].sum()
    p, q = _smoothed(p), _smoothed(q)
    return float((p * np.log(p / q)).sum())


def _smoothed(counts: Array) -> Array:
    """As shares, empty bins taken to hold almost nothing."""
    shares = np.where(counts > 0, counts / max(counts.sum(), 1e-30), SMOOTHING)
    return np.asarray(shares / shares.sum())
