"""Where spikes go: per neuron, how many cores hear it and how many links that takes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.axons import axons_of
from tetrapla.simulators.spiking.program import Program
from tetrapla.simulators.spiking.spec import SpikingSpec


class Fanout(NamedTuple):
    """Per neuron (int64), its copies together: packets per spike, and the links they cross."""

    packets: Array
    hops_east_west: Array
    hops_north_south: Array


def fanouts(program: Program, spec: SpikingSpec) -> dict[str, Fanout]:
    """The fan-out of every population's neurons: one packet per axon that listens."""
    x, y = _positions(program, spec)
    found = {
        p.name: Fanout(*(np.zeros(p.neurons, np.int64) for _ in range(3)))
        for p in program.populations
    }
    held = {p.name: p for p in program.populations}
    for core in program.cores:
        here_x, here_y = spec.position(core.index)
        for synapses, heard in zip(held[core.population].synapses, core.axons, strict=True):
            fanout = found[synapses.source]
            sent = axons_of(held[core.population], synapses, heard, spec.core)
            across = np.abs(x[synapses.source][heard] - here_x)
            along = np.abs(y[synapses.source][heard] - here_y)
            fanout.packets[heard] += sent
            fanout.hops_east_west[heard] += sent * across
            fanout.hops_north_south[heard] += sent * along
    return found


def _positions(
    program: Program, spec: SpikingSpec
) -> tuple[dict[str, Array], dict[str, Array]]:
    x = {p.name: np.zeros(p.neurons, np.int64) for p in program.populations}
    y = {p.name: np.zeros(p.neurons, np.int64) for p in program.populations}
    for core in program.cores:
        x[core.population][core.neurons], y[core.population][core.neurons] = spec.position(
            core.index
        )
    return x, y
