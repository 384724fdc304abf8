"""Fewer packets from the same cores: neurons that hear the same sources go together.

A hyperedge is a source with the neurons that hear it; a spike of it takes one packet to each
core that holds one of them. Cuts are improved neuron by neuron (Fiduccia and Mattheyses, DAC
1982, between many parts; the best prefix of a pass is kept), from the cut that there is and
from cores grown around drawn neurons. Cores get no more neurons than the fullest one has, and
at most a quarter more work than the busiest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tetrapla.backends.spiking.activity import Spikes
from tetrapla.ir.graph import Array
from tetrapla.simulators.random_ import Key, uniforms
from tetrapla.simulators.spiking.program import Population
from tetrapla.simulators.spiking.wiring import connections

SEEDS = 0x4855  # the purpose of the draws

MOST_PINS = 2**19  # pairs of a source and a neuron, assumed: a few seconds of work
_WORK = 2**30  # passes x neurons^2 x cores in all, assumed: as long
_GROWN = 3  # cuts grown from drawn neurons, assumed
_PASSES = 8  # assumed: later ones hardly move a neuron
_PATIENCE = 64  # moves without a better cut after which a pass ends, assumed
_BUSIER = 1.25  # times the work of the busiest core that a core may have, assumed
_SPIKE = 2**10  # a packet, in axons: axons decide where packets do not


@dataclass(frozen=True)
class Pins:
    """Pairs of a source and a neuron that hears it, both ways round.

    Attributes:
        neurons: how many there are.
        weight: of each source, int64: its spikes, and a little for its axon.
        work: of each neuron, int64: the spikes that it hears, times their synapses.
        heard: sources, neuron by neuron; those of neuron v are ``heard[at[v] : at[v + 1]]``.
        hears: neurons, source by source, by `start` alike.
    """

    neurons: int
    weight: Array
    work: Array
    heard: Array
    at: Array
    hears: Array
    start: Array


def pins(population: Population, fired: Spikes) -> Pins | None:
    """The hypergraph of a population, or None where no cut is better or it is too large."""
    n = population.neurons
    targets: list[Array] = []
    sources: list[Array] = []
    weights: list[Array] = []
    first = 0
    for s in population.synapses:
        if s.kind == "matmul":
            continue  # every core hears everything
        if (s.weight.size if s.kind == "sparse" else n) > MOST_PINS:
            return None
        listed = connections(s, population.shape, np.arange(n))
        targets.append(listed.target)
        sources.append(listed.source + first)
        weights.append(fired[s.source])
        first += len(fired[s.source])
    if not targets:
        return None
    target, source, weight = (np.concatenate(each) for each in (targets, sources, weights))
    pairs = np.unique(target.astype(np.int64) * first + source)
    if len(pairs) > MOST_PINS:
        return None
    work = np.bincount(target, weight[source], n).astype(np.int64)
    target, source = np.divmod(pairs, first)
    turned = np.argsort(source, kind="stable")
    return Pins(
        n,
        weight.astype(np.int64) * _SPIKE + 1,
        work,
        source,
        np.searchsorted(target, np.arange(n + 1)),
        target[turned],
        np.searchsorted(source[turned], np.arange(first + 1)),
    )


def refined(held: Pins, part: Array, key: Key) -> Array:
    """A cut with fewer packets, or the one that there is.

    Args:
        held: the hypergraph.
        part: core of each neuron, counted within the population.
        key: of the draws.
    """
    sizes = np.bincount(part)
    limits = _Limits(int(sizes.max()), _BUSIER * np.bincount(part, held.work).max())
    best = part
    least = cost(held, part)
    passes = _WORK // (held.neurons**2 * len(sizes))
    draws = uniforms(key.at(purpose=SEEDS), (_GROWN, len(sizes)))[: max(0, passes - 1)]
    starts = [part, *(_grown(held, sizes, draw) for draw in draws)] if passes else []
    for start in starts:
        found = _improved(held, start, limits, min(_PASSES, passes // len(starts)))
        if limits.hold(held, found, len(sizes)) and cost(held, found) < least:
            best, least = found, cost(held, found)
    return best


def cost(held: Pins, part: Array) -> int:
    """Packets of the weighted sources, in 1024ths."""
    parts = int(part.max()) + 1
    pairs = np.unique(held.heard * parts + np.repeat(part, np.diff(held.at)))
    return int(held.weight[pairs // parts].sum())


@dataclass(frozen=True)
class _Limits:
    neurons: int
    work: float

    def hold(self, held: Pins, part: Array, parts: int) -> bool:
        sizes = np.bincount(part, minlength=parts)
        work = np.bincount(part, held.work, parts)
        return bool(sizes.max() <= self.neurons and sizes.min() and work.max() <= self.work)


class _Cut:
    """A cut and what every move would gain."""

    def __init__(self, held: Pins, part: Array, parts: int) -> None:
        self.held, self.part = held, part.copy()
        self.sizes = np.bincount(part, minlength=parts)
        self.work = np.bincount(part, held.work, parts)
        sources = len(held.weight)
        owner = np.repeat(np.arange(held.neurons), np.diff(held.at))
        flat = np.bincount(held.heard * parts + self.part[owner], minlength=sources * parts)
        self.counts = flat.reshape(sources, parts)
        weight = held.weight[held.heard]
        alone = self.counts[held.heard, self.part[owner]] == 1
        self.leaving = _summed(owner, weight * alone, held.neurons)
        self.entering = np.stack(
            [
                _summed(owner, weight * (self.counts[held.heard, c] == 0), held.neurons)
                for c in range(parts)
            ],
            axis=1,
        )

    def move(self, v: int, to: int) -> None:
        """Put a neuron on another core."""
        held, counts, here = self.held, self.counts, int(self.part[v])
        sources = held.heard[held.at[v] : held.at[v + 1]]
        counts[sources, here] -= 1
        counts[sources, to] += 1
        self.part[v] = to
        for core, by in ((here, -1), (to, 1)):
            self.sizes[core] += by
            self.work[core] += by * held.work[v]
        left, met = counts[sources, here], counts[sources, to]
        self._alter(self.entering[:, here], sources[left == 0], 1)
        self._alter(self.entering[:, to], sources[met == 1], -1)
        self._alone(sources[left == 1], here, 1)
        self._alone(sources[met == 2], to, -1, but=v)
        self.leaving[v] = held.weight[sources[met == 1]].sum()

    def _listeners(self, sources: Array) -> tuple[Array, Array]:
        """Who hears the sources, and each one's weight."""
        first, last = self.held.start[sources], self.held.start[sources + 1]
        counts = last - first
        ends = np.cumsum(counts)
        at = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - ends + counts, counts)
        return self.held.hears[at], np.repeat(self.held.weight[sources], counts)

    def _alter(self, gains: Array, sources: Array, sign: int) -> None:
        listeners, weight = self._listeners(sources)
        np.add.at(gains, listeners, sign * weight)

    def _alone(self, sources: Array, core: int, sign: int, but: int = -1) -> None:
        """One neuron of the core hears them, or no longer just one."""
        listeners, weight = self._listeners(sources)
        own = (self.part[listeners] == core) & (listeners != but)
        np.add.at(self.leaving, listeners[own], sign * weight[own])


def _improved(held: Pins, part: Array, limits: _Limits, passes: int) -> Array:
    parts = int(part.max()) + 1
    for _ in range(passes):
        after = _pass(held, part, parts, limits)
        if after is None:
            break
        part = after
    return part


def _pass(held: Pins, part: Array, parts: int, limits: _Limits) -> Array | None:
    """Every neuron moves at most once; the best cut on the way, or None."""
    cut = _Cut(held, part, parts)
    free = np.ones(held.neurons, np.bool_)
    slack = int(held.work.max(initial=0))  # on the way one neuron more is allowed
    rows = np.arange(held.neurons)
    gained = best = waited = 0
    valid = limits.hold(held, part, parts)
    found: Array | None = None
    while free.any() and waited < _PATIENCE:
        gains = cut.leaving[:, None] - cut.entering
        gains[~free] = _NEVER
        gains[rows, cut.part] = _NEVER
        gains[:, cut.sizes > limits.neurons] = _NEVER
        gains[:, cut.work > limits.work + slack] = _NEVER
        gains[cut.sizes[cut.part] == 1] = _NEVER
        chosen = int(gains.argmax())
        v, to = divmod(chosen, parts)
        gain = int(gains[v, to])
        if gain == _NEVER:
            break
        cut.move(v, to)
        free[v] = False
        gained += gain
        waited += 1
        fits = cut.sizes.max() <= limits.neurons and cut.work.max() <= limits.work
        if fits and (gained > best or not valid):
            found, best, waited, valid = cut.part.copy(), gained, 0, True
    return found


def _grown(held: Pins, sizes: Array, draw: Array) -> Array:
    """Cores grown around neurons: the next one shares the most with those that are there."""
    part = np.full(held.neurons, -1)
    total = _summed(
        np.repeat(np.arange(held.neurons), np.diff(held.at)),
        held.weight[held.heard],
        held.neurons,
    )
    for core, size in enumerate(sizes):
        shared = np.zeros(held.neurons, np.int64)
        known = np.zeros(len(held.weight), np.bool_)
        left = np.flatnonzero(part < 0)
        v = int(left[int(draw[core] * len(left))])
        for _ in range(int(size)):
            if part[v] >= 0:
                rest = np.flatnonzero(part < 0)
                share = shared[rest] / np.maximum(total[rest], 1)
                v = int(rest[share.argmax()])
            part[v] = core
            new = held.heard[held.at[v] : held.at[v + 1]]
            new = new[~known[new]]
            known[new] = True
            for s in new:
                shared[held.hears[held.start[s] : held.start[s + 1]]] += held.weight[s]
    return part


def _summed(place: Array, weight: Array, size: int) -> Array:
    """Exact sums of integers by place."""
    found = np.zeros(size, np.int64)
    np.add.at(found, place, weight)
    return found


_NEVER = -(2**62)
