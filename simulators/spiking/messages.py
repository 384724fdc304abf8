"""What cores send in a timestep, in order, and how long the receivers work on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.axons import axons_of
from tetrapla.simulators.spiking.layout import Wired
from tetrapla.simulators.spiking.meter import FORMATS, synapse_seconds
from tetrapla.simulators.spiking.program import Program
from tetrapla.simulators.spiking.spec import SpikingSpec

HOST = -1
"""The sender of an input's spikes; it sits beside tile 0 (assumed)."""


class Message(NamedTuple):
    """Of one core: what it spent since the one before; the last one goes nowhere."""

    spent_s: float
    core: int | None
    processing_s: float


class Ways(NamedTuple):
    """Where a population's spikes go: neuron n's are from ``start[n]`` to ``start[n + 1]``.

    Attributes:
        start: i64 [neurons + 1].
        core: i64, ascending for each neuron.
        work_s: f64, what the core spends on the spike.
    """

    start: Array
    core: Array
    work_s: Array

    def of(self, neuron: int) -> Iterator[tuple[int, float]]:
        """The cores that hear a neuron, and what each spends."""
        here = slice(self.start[neuron], self.start[neuron + 1])
        return zip(self.core[here].tolist(), self.work_s[here].tolist(), strict=True)


def ways(program: Program, spec: SpikingSpec, wired: Mapping[str, Wired]) -> dict[str, Ways]:
    """By population where its spikes go."""
    found: dict[str, list[tuple[Array, Array, Array]]] = {
        p.name: [] for p in program.populations
    }
    for p in program.populations:
        own = np.array([c.index for c in program.cores if c.population == p.name], np.int64)
        held = wired[p.name]
        for s, fan, heard in zip(p.synapses, held.fans, held.heard, strict=True):
            synapse_s = synapse_seconds(spec.timing, s.form or FORMATS[s.kind])
            neuron, place = np.nonzero(heard)
            work_s = spec.timing.packet_in_s + fan[neuron, place] * synapse_s
            found[s.source].append((neuron, own[place], work_s))
            if spec.core.axon_types:  # a packet for each further axon; the first has the work
                more = axons_of(p, s, neuron, spec.core) - 1
                parts = (np.repeat(neuron, more), np.repeat(own[place], more))
                found[s.source].append((*parts, np.full(more.sum(), spec.timing.packet_in_s)))
    return {p.name: _ways(found[p.name], p.neurons) for p in program.populations}


def _ways(parts: list[tuple[Array, Array, Array]], neurons: int) -> Ways:
    none = np.zeros(0, np.int64)
    given = zip(*parts, strict=True) if parts else (none, none, np.zeros(0))
    neuron, core, work_s = (np.concatenate(each) if parts else each for each in given)
    order = np.lexsort((work_s, core, neuron))
    start = np.searchsorted(neuron[order], np.arange(neurons + 1))
    return Ways(start, core[order], work_s[order])
