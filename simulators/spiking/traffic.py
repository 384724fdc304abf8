"""Where spikes go: per neuron, how many cores hear it and how many links that takes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.program import Program
from tetrapla.simulators.spiking.spec import SpikingSpec


class Fanout(NamedTuple):
    """Per neuron of a population (int64): packets per spike, and the links they cross, XY."""

    packets: Array
    hops_east_west: Array
    hops_north_south: Array


def fanouts(program: Program, spec: SpikingSpec) -> dict[str, Fanout]:
    """The fan-out of every population's neurons: one packet per core that listens."""
    x, y = _positions(program, spec)
    found = {
        p.name: Fanout(*(np.zeros(p.neurons, np.int64) for _ in range(3)))
        for p in program.populations
    }
    groups = {p.name: p.synapses for p in program.populations}
    for core in program.cores:
        here_x, here_y = spec.position(core.index)
        for synapses, heard in zip(groups[core.population], core.axons, strict=True):
            fanout = found[synapses.source]
            fanout.packets[heard] += 1
            fanout.hops_east_west[heard] += np.abs(x[synapses.source][heard] - here_x)
            fanout.hops_north_south[heard] += np.abs(y[synapses.source][heard] - here_y)
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
