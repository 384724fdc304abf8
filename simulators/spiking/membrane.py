"""The neurons of one core through all timesteps, in 32-bit integers.

Arrays are [T, B, n]: timesteps, inferences side by side, neurons of the core.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tetrapla.ir.graph import Array


class Activity(NamedTuple):
    """What the neurons of a core did.

    `train` holds the spikes, or as its only row a readout's membrane; `updated` [T, B] says
    how many neurons had a charge or an input, `saturated` how often a membrane met its limit.
    """

    train: Array
    updated: Array
    saturated: int


def integrate(
    current: Array,
    driven: Array,
    threshold: Array | None,
    *,
    initial: str,
    reset: str,
    compare: str,
    state_bits: int,
) -> Activity:
    """Integrate and fire; without a threshold the membrane only gathers.

    Args:
        current: i32 [T, B, n], bias included.
        driven: bool (n,), the neurons that have a bias.
        threshold: i32 (n,), or None for a readout, whose train is its state i32 [1, B, n].
        initial: "half" a threshold or "zero".
        reset: "subtract" or "zero".
        compare: "ge" or "gt".
        state_bits: of the membrane, with sign; it saturates.
    """
    limit = 2 ** (state_bits - 1) - 1
    steps, batch, n = current.shape
    v = np.zeros((batch, n), np.int32)
    if threshold is not None and initial == "half":
        v += threshold >> 1
    train = np.zeros((steps if threshold is not None else 1, batch, n), np.int8)
    updated = np.empty((steps, batch), np.int64)
    saturated = 0
    for t in range(steps):
        updated[t] = np.count_nonzero((v != 0) | (current[t] != 0) | driven, axis=1)
        v += current[t]
        saturated += _clamp(v, limit)
        if threshold is None:
            continue
        train[t] = _spend(v, threshold, reset, compare)
    return Activity(v[None] if threshold is None else train, updated, saturated)


def maximum(arriving: Array, starts: Array, fed: Array, neurons: int) -> Activity:
    """Fire as often as the most active input of each neuron.

    Args:
        arriving: i8 [T, B, synapses], the spike at each synapse, target by target.
        starts: first synapse of each fed neuron.
        fed: the neurons that have synapses.
        neurons: how many there are.
    """
    steps, batch, _ = arriving.shape
    counts = np.zeros(arriving.shape[1:], np.int32)
    most = np.zeros((batch, neurons), np.int32)
    train = np.zeros((steps, batch, neurons), np.int8)
    updated = np.zeros((steps, batch), np.int64)
    for t in range(steps):
        if not len(fed):
            break
        counts += arriving[t]
        now = most.copy()
        now[:, fed] = np.maximum.reduceat(counts, starts, axis=1)
        charged = np.add.reduceat(counts, starts, axis=1) != 0
        updated[t] = np.count_nonzero(charged, axis=1)
        train[t] = now - most
        most = now
    return Activity(train, updated, 0)


def _spend(v: Array, threshold: Array, reset: str, compare: str) -> Array:
    """Which neurons fire; what that costs is taken from `v`."""
    fired: Array = v >= threshold if compare == "ge" else v > threshold
    if reset == "subtract":
        v -= fired * threshold
    else:
        v[fired] = 0
    return fired


def _clamp(v: Array, limit: int) -> int:
    if v.size == 0 or (int(v.max()) <= limit and int(v.min()) >= -limit):
        return 0
    over = int(np.count_nonzero((v > limit) | (v < -limit)))
    np.clip(v, -limit, limit, out=v)
    return over
