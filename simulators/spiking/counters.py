"""Events of every core, from spikes: trains times tables, whatever the fan-out is.

A spike's events depend on its neuron alone, so what it costs is looked up per neuron: the
packets that it sends, the links that they cross, the synapses that it meets on each core.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.axons import Reach
from tetrapla.simulators.spiking.cells import Activity
from tetrapla.simulators.spiking.meter import FORMATS, Events
from tetrapla.simulators.spiking.program import Core, Population, Program
from tetrapla.simulators.spiking.traffic import Fanout


def sent(p: Population, train: Array) -> Array:
    """How many spikes the elements of a train are; a payload makes no difference."""
    graded = p.words.get("code") == "graded" or train.dtype.kind == "f"
    many = p.words.get("spikes") == "many" or (p.feed is not None and not p.feed.code)
    if graded or not many:
        return np.asarray(train != 0)
    return np.abs(train.astype(np.int16))


def core_events(
    program: Program,
    p: Population,
    done: Mapping[str, Activity],
    reach: Reach,
    fanout: Fanout,
) -> Iterator[tuple[Core, Events]]:
    """What each core of a population does and hears: by timestep and inference [T, B]."""
    held = {each.name: each for each in program.populations}
    own = [core for core in program.cores if core.population == p.name]
    mine = done[p.name]
    spikes = sent(p, mine.train) if p.fires else None
    lists = [
        _arrivals(held[s.source], done[s.source].train, fan, heard)
        for s, fan, heard in zip(p.synapses, reach.fans, reach.packets, strict=True)
    ]
    for place, core in enumerate(own):
        copies = reach.copies[core.neurons]
        updated = _sum(mine.updated[:, :, core.neurons], copies)
        if spikes is None:
            fired = packets = np.zeros_like(updated)
        else:
            here = spikes[:, :, core.neurons]
            fired = _sum(here, copies)
            packets = weighted(here, fanout.packets[core.neurons][:, None])[:, :, 0]
        events = Events(int(copies.sum()), updated, fired, packets, p.latency)
        for s, (arriving, synops) in zip(p.synapses, lists, strict=True):
            source = held[s.source]
            start = source.depth + source.latency
            events.arrivals.append(
                (start, s.form or FORMATS[s.kind], arriving[:, :, place], synops[:, :, place])
            )
        yield core, events


def _arrivals(
    source: Population, train: Array, fan: Array, heard: Array
) -> tuple[Array, Array]:
    """Packets into, and synaptic events on, each core [T, B, cores]."""
    spikes = sent(source, train)
    return weighted(spikes, heard), weighted(spikes, fan)


def _sum(events: Array, copies: Array) -> Array:
    """Over the neurons, [T, B], every copy of them counted."""
    if copies.max(initial=1) == 1:
        return np.asarray(events.sum(axis=2, dtype=np.int64))
    return weighted(events, copies[:, None])[:, :, 0]


def weighted(spikes: Array, table: Array) -> Array:
    """Sums of integers over the neurons that fired, [T, B, columns]; exact in float64."""
    rows = spikes.reshape(prod(spikes.shape[:2]), spikes.shape[2]).astype(np.float64)
    total = np.rint(rows @ table.astype(np.float64)).astype(np.int64)
    return total.reshape(*spikes.shape[:2], table.shape[1])
