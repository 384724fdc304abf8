"""Sums over all inferences of a run, per layer; read as means per inference."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.cells import Activity
from tetrapla.simulators.spiking.counters import sent
from tetrapla.simulators.spiking.meter import Events, Meter
from tetrapla.simulators.spiking.program import Core, Population, Program
from tetrapla.simulators.spiking.spec import SpikingSpec
from tetrapla.simulators.spiking.traffic import Fanout

# the two halves of a timestep, and what each half consists of
_HALVES = (("neurons", "spikes", "packets out"), ("synapses", "packets in"))


class Tally:
    """Events, saturations and busy seconds so far."""

    def __init__(self, program: Program, spec: SpikingSpec) -> None:
        self._spec = spec
        self._steps = program.chip_timesteps
        self._inferences = 0
        self._seconds = 0.0
        self._counts: dict[str, dict[str, int]] = {p.name: {} for p in program.populations}
        self._saturated = {p.name: 0 for p in program.populations}
        self._busy: dict[int, dict[str, float]] = {}
        self._neurons: dict[int, int] = {}  # of a core, copies among them
        self._cores: dict[str, list[Core]] = {p.name: [] for p in program.populations}
        for core in program.cores:
            self._cores[core.population].append(core)
        per_tile = spec.mesh.cores_per_tile
        self._tiles = len({core.index // per_tile for core in program.cores})

    def add(
        self,
        population: Population,
        core: Core,
        events: Events,
        busy_s: Mapping[str, float],
    ) -> None:
        """Note one core's events of one chunk."""
        batch = events.updated.shape[1]
        each = self._spec.core.compartments_per_neuron

        def count(action: str, events: int) -> None:
            self._count(population, action, events)

        self._neurons[core.index] = events.neurons
        count("soma.access", events.neurons * each * self._steps * batch)
        count("soma.update", int(events.updated.sum()) * each)
        count("soma.fire", int(events.fired.sum()))
        count("network.packet_out", int(events.packets_out.sum()))
        for _, form, packets, synops in events.arrivals:
            count(f"synapse.{form}", int(synops.sum()))
            count("network.packet_in", int(packets.sum()))
        held = self._busy.setdefault(core.index, {})
        for cause, seconds in busy_s.items():
            held[cause] = held.get(cause, 0.0) + seconds * batch

    def travelled(self, population: Population, done: Activity, fanout: Fanout) -> None:
        """Note the links that a population's spikes cross, and its saturations."""
        self._saturated[population.name] += done.saturated
        if population.fires:
            spikes = sent(population, done.train).sum(axis=(0, 1), dtype=np.int64)
            for axis, hops in (
                ("east_west", fanout.hops_east_west),
                ("north_south", fanout.hops_north_south),
            ):
                self._count(population, f"network.hop_{axis}", int(spikes @ hops))

    def finish(self, meter: Meter, detailed_s: Array | None = None) -> None:
        """Note the durations of one chunk: the meter's, or [T, B] where they are given."""
        if detailed_s is None:
            seconds = meter.seconds(self._tiles)
        else:
            seconds = np.asarray(detailed_s.sum(axis=0))
        self._inferences += len(seconds)
        self._seconds += float(seconds.sum())

    @property
    def time_s(self) -> float:
        """Mean seconds of an inference."""
        return self._seconds / self._inferences

    def actions(self, population: Population) -> dict[str, float]:
        """Mean events of an inference."""
        counts = self._counts[population.name]
        return {action: n / self._inferences for action, n in sorted(counts.items())}

    def utilization_frac(self, population: Population) -> float:
        """Share of its cores' compartments that its neurons take."""
        core = self._spec.core
        cores = len(self._cores[population.name])
        if not cores:  # an input's spikes come from outside
            return 0.0
        used = sum(self._neurons[each.index] for each in self._cores[population.name])
        used *= core.compartments_per_neuron
        return used / (cores * core.compartments)

    def bound_by(self, population: Population) -> str:
        """What the layer's slowest core spends most of its time on, or the barrier."""
        if not self._cores[population.name]:
            return "host"
        halves = [
            (sum(busy[cause] for cause in half), {cause: busy[cause] for cause in half})
            for core in self._cores[population.name]
            for half, busy in ((half, self._busy[core.index]) for half in _HALVES)
        ]
        seconds, parts = max(halves, key=lambda half: half[0])
        barrier_s = self._spec.barrier.seconds(self._tiles) * self._steps * self._inferences
        if barrier_s >= seconds:
            return "barrier"
        cause = max(parts, key=lambda part: parts[part])
        return cause.split(" ")[0]

    def warnings(self) -> tuple[str, ...]:
        """Layers whose membranes met their limit."""
        return tuple(
            f"layer {name}: membranes saturated {count} times in {self._inferences} "
            "inferences; its activations may be off"
            for name, count in self._saturated.items()
            if count
        )

    def _count(self, population: Population, action: str, events: int) -> None:
        counts = self._counts[population.name]
        counts[action] = counts.get(action, 0) + events
