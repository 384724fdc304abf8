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
from importlib.util import find_spec
from typing import TypeAlias

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.cells import Activity
from tetrapla.simulators.spiking.counters import sent
from tetrapla.simulators.spiking.flits import Flits
from tetrapla.simulators.spiking.layout import Wired
from tetrapla.simulators.spiking.messages import HOST, Message, ways
from tetrapla.simulators.spiking.program import Core, Program
from tetrapla.simulators.spiking.spec import SpikingSpec

Link: TypeAlias = tuple[int, int, str]

# packets below which Python is done before compiled code is loaded, assumed
_WORTH_COMPILING = 2**15


class Detailed:
    """The durations of a program's timesteps, message by message, or (`flit`) flit by flit.

    Args:
        program: placed.
        spec: of its chip.
        wired: what reaches each population.
        fast: whether to compile (extra `fast`); None where it is there and worth it. The
            times of `detailed` are the same, bit by bit; `flit` decides for itself.
    """

    def __init__(
        self,
        program: Program,
        spec: SpikingSpec,
        wired: Mapping[str, Wired],
        *,
        fast: bool | None = None,
    ) -> None:
        self._program, self._spec, self._fast = program, spec, fast
        self._held = {p.name: p for p in program.populations}
        self._ways = ways(program, spec, wired)
        per_tile = spec.mesh.cores_per_tile
        tiles = len({core.index // per_tile for core in program.cores})
        self._barrier_s = spec.barrier.seconds(tiles)

    def seconds(self, done: Mapping[str, Activity]) -> Array:
        """By timestep of the chip and inference, [T, B]."""
        batch = next(iter(done.values())).train.shape[1]
        found = np.empty((self._program.chip_timesteps, batch))
        trains = self.trains(done)
        step = self._compiled if self._is_fast(trains) else self._plain
        for t, b in np.ndindex(*found.shape):
            found[t, b] = step(done, trains, t, b) + self._barrier_s
        return found

    def trains(self, done: Mapping[str, Activity]) -> dict[str, Array]:
        """How many spikes each neuron sends, [T, B, n] by population."""
        return {p.name: sent(p, done[p.name].train) for p in self._program.populations}

    def queues(
        self, done: Mapping[str, Activity], trains: Mapping[str, Array], t: int, b: int
    ) -> dict[int, list[Message]]:
        """What every core sends in a timestep, and in `flit` the host."""
        found = {
            core.index: [*self._messages(core, done, trains, t, b)]
            for core in self._program.cores
        }
        if self._spec.noc.model == "flit":
            found[HOST] = [*self._fed(trains, t, b)]
        return found

    def _is_fast(self, trains: Mapping[str, Array]) -> bool:
        if self._fast is not None or self._spec.noc.model == "flit":
            return bool(self._fast) and self._spec.noc.model != "flit"
        packets = sum(
            int(trains[name].sum(axis=(0, 1)) @ np.diff(held.start))
            for name, held in self._ways.items()
            if self._held[name].fires
        )
        return packets >= _WORTH_COMPILING and find_spec("numba") is not None

    def _plain(
        self, done: Mapping[str, Activity], trains: Mapping[str, Array], t: int, b: int
    ) -> float:
        network = Flits(self._spec) if self._spec.noc.model == "flit" else Network(self._spec)
        return network.last_s(self.queues(done, trains, t, b))

    def _compiled(
        self, done: Mapping[str, Activity], trains: Mapping[str, Array], t: int, b: int
    ) -> float:
        from tetrapla.simulators.spiking import links

        timing, mesh, noc = self._spec.timing, self._spec.mesh, self._spec.noc
        each = float(self._spec.core.compartments_per_neuron)
        spent_s = (timing.access_s, timing.update_s, timing.fire_s, timing.packet_out_s)
        parts: list[tuple[Array, Array, Array]] = []
        for core in self._program.cores:
            held = self._ways[core.population]
            busy, fired = self._did(core, done, trains, t, b)
            count = int(fired @ np.diff(held.start)[core.neurons]) + 1
            out = (np.empty(count), np.empty(count, np.int64), np.empty(count))
            links.send(core.neurons, busy, fired, tuple(held), (each, *spent_s), out)
            parts.append(out)
        begin = np.cumsum([0, *(len(part[0]) for part in parts)])
        message = tuple(np.concatenate(column) for column in zip(*parts, strict=True))
        senders = np.array([core.index for core in self._program.cores])
        sizes = (mesh.tiles_x, mesh.tiles_y, mesh.cores_per_tile)
        hop = (float(noc.link_buffer), noc.hop_east_west_s, noc.hop_north_south_s)
        return links.last(senders, begin, message, sizes, hop)

    def _fed(self, trains: Mapping[str, Array], t: int, b: int) -> Iterable[Message]:
        """An input's spikes: they are there when the timestep begins."""
        for p in self._program.populations:
            if p.feed is None:
                continue
            fired = _row(trains[p.name], t - p.depth, b, np.arange(p.neurons))
            for n in np.flatnonzero(fired):
                for _ in range(int(fired[n])):
                    for to, work_s in self._ways[p.name].of(int(n)):
                        yield Message(0.0, to, work_s)
        yield Message(0.0, None, 0.0)

    def _did(
        self,
        core: Core,
        done: Mapping[str, Activity],
        trains: Mapping[str, Array],
        t: int,
        b: int,
    ) -> tuple[Array, Array]:
        """Of a core's neurons who was busy (bool), and who sent how many spikes (i64)."""
        p = self._held[core.population]
        here = t - p.depth
        busy = _row(done[p.name].updated, here, b, core.neurons)
        fired = _row(trains[p.name], here - p.latency, b, core.neurons)
        return busy.astype(np.bool_), fired.astype(np.int64) * p.fires

    def _messages(
        self,
        core: Core,
        done: Mapping[str, Activity],
        trains: Mapping[str, Array],
        t: int,
        b: int,
    ) -> Iterable[Message]:
        timing, held = self._spec.timing, self._ways[core.population]
        each = self._spec.core.compartments_per_neuron
        spent = 0.0
        for n, busy, spikes in zip(
            core.neurons, *self._did(core, done, trains, t, b), strict=True
        ):
            spent += each * (timing.access_s + timing.update_s * bool(busy))
            for _ in range(int(spikes)):
                spent += timing.fire_s
                for to, work_s in held.of(int(n)):
                    yield Message(spent + timing.packet_out_s, to, work_s)
                    spent = 0.0
        yield Message(spent, None, 0.0)


def _row(array: Array, t: int, b: int, neurons: Array) -> Array:
    """A timestep's values; nothing before and behind the population's own."""
    inside = 0 <= t < len(array)
    return array[t, b, neurons] if inside else np.zeros(len(neurons), np.int8)


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
        along = 0.0
        for link in links:  # one by one: `sum` of floats is not a sum in order
            along += self._density.get(link, 0.0)
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
