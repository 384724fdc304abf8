"""Timesteps with messages on links: SANA-FE's "detailed" model, here L1.

A core sends its messages in the order of its neurons; a message carries the time that the core
spent since the one before. Links hold a share of every message in flight; where a route holds
more than its buffers, the sender waits, and where the network is dense a message takes longer::

    along    = sum of density over the message's links, where one in flight adds 1 / (hops + 2)
    wait     = (along - buffer (hops + 1)) mean, if positive; mean: of processing, in flight
    network  = max(least hop time, along mean / (hops + 1))
    received = max(receiver's finish, sent + network)
    finish   = max(receiver's finish, sent + network) + processing

Links are each tile's: the source's is its core's output, later ones are in the direction of the
hop that led there. Source: SANA-FE 2.2.9, timing model "detailed"; agrees with its stored runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from heapq import heappop, heappush
from typing import TypeAlias

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.cells import Activity
from tetrapla.simulators.spiking.counters import sent
from tetrapla.simulators.spiking.flits import Flits
from tetrapla.simulators.spiking.layout import Wired
from tetrapla.simulators.spiking.messages import HOST, Message
from tetrapla.simulators.spiking.meter import FORMATS, synapse_seconds
from tetrapla.simulators.spiking.program import Core, Program
from tetrapla.simulators.spiking.spec import SpikingSpec

Link: TypeAlias = tuple[int, int, str]


class Detailed:
    """The durations of a program's timesteps, message by message, or (`flit`) flit by flit.

    Args:
        program: placed.
        spec: of its chip.
        wired: what reaches each population.
    """

    def __init__(self, program: Program, spec: SpikingSpec, wired: Mapping[str, Wired]) -> None:
        self._program, self._spec = program, spec
        self._held = {p.name: p for p in program.populations}
        self._ways = _ways(program, spec, wired)
        per_tile = spec.mesh.cores_per_tile
        tiles = len({core.index // per_tile for core in program.cores})
        self._barrier_s = spec.barrier.seconds(tiles)

    def seconds(self, done: Mapping[str, Activity]) -> Array:
        """By timestep of the chip and inference, [T, B]."""
        batch = next(iter(done.values())).train.shape[1]
        found = np.empty((self._program.chip_timesteps, batch))
        for t, b in np.ndindex(*found.shape):
            queues = self.queues(done, t, b)
            whole = self._spec.noc.model == "flit"
            network = Flits(self._spec) if whole else Network(self._spec)
            found[t, b] = network.last_s(queues) + self._barrier_s
        return found

    def queues(self, done: Mapping[str, Activity], t: int, b: int) -> dict[int, list[Message]]:
        """What every core sends in a timestep, and in `flit` the host."""
        found = {
            core.index: [*self._messages(core, done, t, b)] for core in self._program.cores
        }
        if self._spec.noc.model == "flit":
            found[HOST] = [*self._fed(done, t, b)]
        return found

    def _fed(self, done: Mapping[str, Activity], t: int, b: int) -> Iterable[Message]:
        """An input's spikes: they are there when the timestep begins."""
        for p in self._program.populations:
            if p.feed is None:
                continue
            fired = _row(sent(p, done[p.name].train), t - p.depth, b, np.arange(p.neurons))
            for n in np.flatnonzero(fired):
                for to, processing_s in self._ways[p.name][n] * int(fired[n]):
                    yield Message(0.0, to, processing_s)
        yield Message(0.0, None, 0.0)

    def _messages(
        self, core: Core, done: Mapping[str, Activity], t: int, b: int
    ) -> Iterable[Message]:
        p, timing = self._held[core.population], self._spec.timing
        each = self._spec.core.compartments_per_neuron
        here = t - p.depth
        mine = done[p.name]
        updated = _row(mine.updated, here, b, core.neurons)
        fired = _row(sent(p, mine.train), here - p.latency, b, core.neurons) * p.fires
        spent = 0.0
        for n, busy, spikes in zip(core.neurons, updated, fired, strict=True):
            spent += each * (timing.access_s + timing.update_s * bool(busy))
            for _ in range(int(spikes)):
                spent += timing.fire_s
                for to, processing_s in self._ways[p.name][n]:
                    yield Message(spent + timing.packet_out_s, to, processing_s)
                    spent = 0.0
        yield Message(spent, None, 0.0)


def _row(array: Array, t: int, b: int, neurons: Array) -> Array:
    """A timestep's values; nothing before and behind the population's own."""
    inside = 0 <= t < len(array)
    return array[t, b, neurons] if inside else np.zeros(len(neurons), np.int8)


def _ways(
    program: Program, spec: SpikingSpec, wired: Mapping[str, Wired]
) -> dict[str, list[list[tuple[int, float]]]]:
    """By neuron of each population: the cores that hear it, ascending, and what each spends."""
    found: dict[str, list[list[tuple[int, float]]]] = {
        p.name: [[] for _ in range(p.neurons)] for p in program.populations
    }
    for p in program.populations:
        own = [core.index for core in program.cores if core.population == p.name]
        for s, fan, heard in zip(
            p.synapses, wired[p.name].fans, wired[p.name].heard, strict=True
        ):
            synapse_s = synapse_seconds(spec.timing, s.form or FORMATS[s.kind])
            for n, place in zip(*np.nonzero(heard), strict=True):
                processing_s = spec.timing.packet_in_s + int(fan[n, place]) * synapse_s
                found[s.source][n].append((own[place], processing_s))
    for ways in found.values():
        for way in ways:
            way.sort()
    return found


class Network:
    """The links of one timestep."""

    def __init__(self, spec: SpikingSpec) -> None:
        self._spec = spec
        self._density: dict[Link, float] = {}
        self._flight: list[tuple[float, int, tuple[Link, ...], float]] = []
        self._mean_s = 0.0
        self._count = 0
        self._finish_s: dict[int, float] = {}
        self._route = cache(self._links)

    def last_s(self, queues: Mapping[int, list[Message]]) -> float:
        """When the last core has done everything, by each core's messages in order."""
        waiting: list[tuple[float, int, int, int]] = []
        count = 0
        for count, (core, messages) in enumerate(queues.items()):
            heappush(waiting, (messages[0].spent_s, count, core, 0))
        last = 0.0
        while waiting:
            now, _, core, at = heappop(waiting)
            self._arrived(now)
            message = queues[core][at]
            last = max(last, now)
            if message.core is not None:
                now, finish = self._sent(now, core, message.core, message.processing_s)
                last = max(last, finish)
            if at + 1 < len(queues[core]):
                count += 1
                following = now + queues[core][at + 1].spent_s
                heappush(waiting, (following, count, core, at + 1))
        return last

    def _arrived(self, now: float) -> None:
        """Take what has been received off the links."""
        while self._flight and self._flight[0][0] <= now:
            count = len(self._flight)
            _, _, links, processing_s = heappop(self._flight)
            for link in links:
                self._density[link] -= 1 / (len(links) + 1)
            if count > 1:
                self._mean_s += (self._mean_s - processing_s) / (count - 1)
            else:
                self._mean_s = 0.0

    def _sent(
        self, now: float, source: int, target: int, processing_s: float
    ) -> tuple[float, float]:
        """Send a message; when that was, and when its core has processed it."""
        links = self._route(source, target)
        along = sum(self._density.get(link, 0.0) for link in links)
        room = self._spec.noc.link_buffer * len(links)
        if along > room:
            now += (along - room) * self._mean_s
        network_s = max(self._hops_s(source, target), along * self._mean_s / len(links))
        received = max(self._finish_s.get(target, 0.0), now + network_s)
        self._finish_s[target] = received + processing_s
        for link in links:
            self._density[link] = self._density.get(link, 0.0) + 1 / (len(links) + 1)
        self._mean_s += (processing_s - self._mean_s) / (len(self._flight) + 1)
        self._count += 1  # orders what is received at once
        heappush(self._flight, (received, self._count, links, processing_s))
        return now, self._finish_s[target]

    def _hops_s(self, source: int, target: int) -> float:
        (x, y), (to_x, to_y) = self._spec.position(source), self._spec.position(target)
        noc = self._spec.noc
        return abs(x - to_x) * noc.hop_east_west_s + abs(y - to_y) * noc.hop_north_south_s

    def _links(self, source: int, target: int) -> tuple[Link, ...]:
        """Of a route, first along x and then along y."""
        (x, y), (to_x, to_y) = self._spec.position(source), self._spec.position(target)
        links: list[Link] = [(x, y, f"core {source % self._spec.mesh.cores_per_tile}")]
        while (x, y) != (to_x, to_y):
            if x != to_x:
                step, way = (1, "east") if to_x > x else (-1, "west")
                x += step
            else:
                step, way = (1, "north") if to_y > y else (-1, "south")
                y += step
            links.append((x, y, way))
        return tuple(links)
