"""Synapses as the engine sums them: dense rows, or lists that equal sources share.

Per source a row of weights where a fifth or more of the targets are reached, which adds with
vector instructions; else a list of targets (16 bits) and weights (8 bits). Lists that are equal
but for where they begin are held once: a convolution has a few lists for each channel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.program import Core, Population, Synapses
from tetrapla.simulators.spiking.wiring import (
    Connections,
    Sorted,
    by_source,
    connections,
    narrowest,
)

# below this share of synapses lists are faster; measured, about a fifth on x86 with AVX-512
DENSE_FRAC = 0.2
Sort: TypeAlias = Callable[[Connections, int, int], Sorted]
_SHARED = ("conv2d", "sum_pool2d")


@dataclass(frozen=True)
class Lists:
    """Source s reaches ``base[s] + offset[i]`` for i in list ``which[s]``.

    Attributes:
        which, base: i32 [sources].
        start: i64 [lists + 1], where each list begins in `offset` and `weight`.
        offset: u16 or u32, ascending within a list.
        weight: of the synapse.
    """

    which: Array
    base: Array
    start: Array
    offset: Array
    weight: Array

    def of(self, sources: Array) -> tuple[Array, Array, Array]:
        """Of chosen sources, in their order: how many synapses each, targets, weights."""
        first, last = self.start[self.which[sources]], self.start[self.which[sources] + 1]
        counts = last - first
        ends = np.cumsum(counts)
        at = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - ends + counts, counts)
        return counts, np.repeat(self.base[sources], counts) + self.offset[at], self.weight[at]


@dataclass(frozen=True)
class Singles:
    """One synapse per neuron: ``source[i]`` reaches ``target[i]``, all different.

    `in_order` says that both are all neurons in their order.
    """

    source: Array
    target: Array
    weight: Array
    in_order: bool


@dataclass(frozen=True)
class Table:
    """Synapses of one source that take the same time.

    Attributes:
        held: dense rows [sources, targets], lists, or single synapses.
        targets: how many neurons the population has.
        most: the largest sum of magnitudes of weights that end on one neuron.
    """

    source: str
    lag: int
    exponent: int
    held: Array | Lists | Singles
    targets: int
    most: float

    @property
    def is_float(self) -> bool:
        """Whether the weights are float32."""
        weight = self.held if isinstance(self.held, np.ndarray) else self.held.weight
        return weight.dtype.kind == "f"


@dataclass(frozen=True)
class Wired:
    """What reaches one population.

    Attributes:
        tables: by group and lag.
        fans: of each group, i64 [sources, cores of the population]: the synapses of a source
            on a core.
        heard: of each group, bool of that shape: whether a core has an axon of a source.
    """

    tables: tuple[Table, ...]
    fans: tuple[Array, ...]
    heard: tuple[Array, ...]


def wired(
    population: Population,
    cores: Sequence[Core],
    sources: dict[str, int],
    sort: Sort = by_source,
) -> Wired:
    """The population's synapses by core, as far as axons carry their spikes.

    Args:
        population: whose.
        cores: those that hold its neurons.
        sources: neurons of every population, by name.
        sort: `by_source`, or its compiled twin.
    """
    tables: list[Table] = []
    fans: list[Array] = []
    heard: list[Array] = []
    for group, synapses in enumerate(population.synapses):
        size = sources[synapses.source]
        fan = np.zeros((size, len(cores)), np.int64)
        axons = np.zeros((size, len(cores)), np.bool_)
        parts: list[Connections] = []
        for place, core in enumerate(cores):
            axons[core.axons[group], place] = True
            listed = connections(synapses, population.shape, core.neurons)
            # a spike that no axon carries never arrives
            if len(core.axons[group]) < size:
                listed = listed.chosen(axons[listed.source, place])
            fan[:, place] = np.bincount(listed.source, minlength=size)
            parts.append(listed._replace(target=core.neurons[listed.target]))
        whole = Connections(*(np.concatenate(each) for each in zip(*parts, strict=True)))
        if not population.model.startswith("maximum"):
            tables += _tables(synapses, whole, size, population.neurons, sort)
        fans.append(fan)
        heard.append(axons)
    return Wired(tuple(tables), tuple(fans), tuple(heard))


def _tables(
    synapses: Synapses, whole: Connections, size: int, targets: int, sort: Sort
) -> Iterator[Table]:
    alike = whole.lag.size > 0 and whole.lag.min() == whole.lag.max()
    for lag in whole.lag[:1] if alike else np.unique(whole.lag):
        part = whole if alike else whole.chosen(whole.lag == lag)
        sums = np.bincount(part.target, np.abs(part.weight), targets)
        held: Array | Lists | Singles
        if synapses.kind == "scale":
            everyone = np.arange(targets)
            ordered = size == targets and all(
                np.array_equal(each, everyone) for each in (part.source, part.target)
            )
            held = Singles(part.source, part.target, part.weight, ordered)
        elif len(part.source) >= DENSE_FRAC * size * targets:
            held = _rows(part, size, targets)
        else:
            listed = sort(part, size, targets)
            held = _lists(listed, targets, shared=synapses.kind in _SHARED)
        largest = float(sums.max(initial=0))
        yield Table(synapses.source, int(lag), synapses.exponent, held, targets, largest)


def _rows(part: Connections, size: int, targets: int) -> Array:
    rows = np.zeros((size, targets), part.weight.dtype)
    np.add.at(rows, (part.source, part.target), part.weight)
    return _narrow(rows)


def _lists(ordered: Sorted, targets: int, *, shared: bool) -> Lists:
    start, target, weight = ordered.start, ordered.target, _narrow(ordered.weight)
    size, index = len(start) - 1, narrowest(targets)
    if not shared:
        which, base = np.arange(size), np.zeros(size, np.int32)
        return Lists(which.astype(np.int32), base, start, target.astype(index), weight)
    base = np.zeros(size, np.int32)
    which = np.zeros(size, np.int32)
    known: dict[bytes, int] = {}
    offsets: list[Array] = []
    weights: list[Array] = []
    for s in range(size):
        here = slice(start[s], start[s + 1])
        base[s] = target[here][0] if start[s] < start[s + 1] else 0
        offset = (target[here] - base[s]).astype(index)
        key = offset.tobytes() + weight[here].tobytes()
        which[s] = known.setdefault(key, len(known))
        if which[s] == len(offsets):
            offsets.append(offset)
            weights.append(weight[here])
    ends = np.cumsum([0, *map(len, offsets)])
    return Lists(which, base, ends, np.concatenate(offsets), np.concatenate(weights))


def _narrow(weight: Array) -> Array:
    """Integers in as few bits as hold them; vectors then hold more."""
    if weight.dtype.kind == "f":
        return weight
    for narrow in (np.int8, np.int16):
        limits = np.iinfo(narrow)
        if weight.min(initial=0) >= limits.min and weight.max(initial=0) <= limits.max:
            return weight.astype(narrow)
    return weight.astype(np.int32)
