"""Weights on a crossbar of bits: a pass that approximates them and tells what it loses.

An axon has one of a few types, and a neuron one weight for each type; the crossbar says which
axons a neuron hears. A source that takes A axons of different types gives a neuron any sum
of A of its weights. Sources that are alike are given the same types, and a neuron's weights
are fitted by least squares (Lloyd's iteration). Every tap of a channel has its types: where
an axon is on a core is the same for all places of a feature map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.spec import CoreSection

_ROUNDS = 8  # of an iteration that only ever gets better; it is at rest before (assumed)
_MOST_MANTISSA = 127


@dataclass(frozen=True)
class Synapses:
    """Integer weights of one group: a matmul's [sources, neurons] or a conv2d's, OIHW."""

    kind: str
    weight: Array

    @property
    def fan(self) -> tuple[int, int]:
        """Channels that a neuron hears, and sources of a channel."""
        if self.kind == "conv2d":
            return int(self.weight.shape[1]), int(np.prod(self.weight.shape[2:]))
        return int(self.weight.shape[0]), 1

    @property
    def rows(self) -> Array:
        """By source (a channel of a conv2d), neuron (a filter) and tap."""
        if self.kind == "conv2d":
            filters, channels = self.weight.shape[:2]
            return np.moveaxis(self.weight.reshape(filters, channels, -1), 0, 1)
        return self.weight[:, :, None]

    def shaped(self, rows: Array) -> Array:
        """The weight again of its rows."""
        if self.kind == "conv2d":
            return np.ascontiguousarray(np.moveaxis(rows, 1, 0)).reshape(self.weight.shape)
        return np.ascontiguousarray(rows[:, :, 0])


@dataclass(frozen=True)
class Fitted:
    """Weights that the crossbar has, the fewest axons of a source, and the loss."""

    weights: tuple[Array, ...]
    axons: int
    loss_frac: float
    """Root of the squared differences over that of the squared weights."""


def fitted(groups: Sequence[Synapses], core: CoreSection, singles: int = 0) -> Fitted:
    """The nearest weights found that `core`'s axon types can make.

    Args:
        groups: what one population hears; the integers share one unit.
        core: with a crossbar.
        singles: further groups whose weight is one number.
    """
    rows = [np.asarray(row, np.int64) for g in groups for row in g.rows]
    each, more = core.axons_per_source([g.fan for g in groups], singles)
    types = core.types_left(singles)
    means = np.array([row.mean(axis=1) for row in rows])
    held = np.concatenate(
        [_types(means[:more], each + 1, types), _types(means[more:], each, types)]
    )
    # a row per source, of the sums that its types make
    bits = np.array(list(product((0, 1), repeat=types)), np.int64)
    taps = [row.shape[1] for row in rows]
    open_ = (bits[None] <= held[:, None]).all(axis=2).repeat(taps, axis=0)
    made = np.stack(
        [
            _nearest(np.concatenate([row[n] for row in rows]), bits, open_)
            for n in range(len(rows[0]))
        ]
    )
    pieces = np.split(made, np.cumsum(taps)[:-1], axis=1)
    lost = sum(float(((a - b) ** 2).sum()) for a, b in zip(rows, pieces, strict=True))
    whole = sum(float((row**2).sum()) for row in rows)
    weights: list[Array] = []
    start = 0
    for g in groups:
        count = len(g.rows)
        weights.append(g.shaped(np.array(pieces[start : start + count])).astype(np.int8))
        start += count
    return Fitted(tuple(weights), each, (lost / whole) ** 0.5 if whole else 0.0)


def _types(means: Array, axons: int, types: int) -> Array:
    """Which types each source's axons have, bool [sources, types]; alike sources share them."""
    sets = [range(i, i + axons) for i in range(0, types - axons + 1, axons)]
    held = np.zeros((len(means), types), np.bool_)
    if not len(means):
        return held
    centred = means - means.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    order = np.argsort(centred @ axes[0], kind="stable")
    for chosen, allowed in zip(np.array_split(order, len(sets)), sets, strict=True):
        for each in allowed:
            held[chosen, each] = True
    return held


def _nearest(values: Array, bits: Array, allowed: Array) -> Array:
    """The values as sums of some of a few integers that are fitted to them.

    Args:
        values: one neuron's weights.
        bits: [sums, types], the types that a sum has.
        allowed: [values, sums], which sums a value can be.
    """
    best, least = np.zeros_like(values), float((values**2).sum())
    for start in _starts(values, bits) if least else ():
        weights = start
        for _ in range(_ROUNDS):
            chosen = bits[_closest(values, bits @ weights, allowed)].astype(np.float64)
            weights = np.linalg.lstsq(chosen.T @ chosen, chosen.T @ values, rcond=None)[0]
        whole = _within(np.rint(weights).astype(np.int64), bits[allowed.any(axis=0)])
        sums = bits @ whole
        made = sums[_closest(values, sums, allowed)]
        error = float(((values - made) ** 2).sum())
        if error < least:
            best, least = made, error
    return best


def _closest(values: Array, sums: Array, allowed: Array) -> Array:
    """The number of the nearest allowed sum of each value."""
    apart = np.where(allowed, np.abs(values[:, None] - sums), np.inf)
    nearest: Array = apart.argmin(axis=1)
    return nearest


def _starts(values: Array, bits: Array) -> Array:
    """Weights to begin with: every sign of equal ones and of powers of two."""
    types = bits.shape[1]
    peak = float(np.abs(values).max())
    signs = 1 - 2 * bits
    halves = 2.0 ** -np.arange(types)
    return np.concatenate([signs * (peak / 2), signs * (peak / 2 * halves)])


def _within(weights: Array, bits: Array) -> Array:
    """Weights nearer to zero until no sum is beyond a mantissa."""
    held = weights.copy()
    while (over := np.abs(bits @ held)).max() > _MOST_MANTISSA:
        worst = np.abs(bits[over.argmax()] * held).argmax()
        held[worst] -= np.sign(held[worst])
    return held
