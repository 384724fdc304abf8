"""Axons of a core, and the copies of neurons that drive them.

On a crossbar of bits a source takes several axons, of different types, and a neuron drives one:
what several axons hear has as many copies on its core, which hear, update and fire alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.layout import Wired
from tetrapla.simulators.spiking.program import Core, Population, Program, Synapses
from tetrapla.simulators.spiking.spec import CoreSection, SpikingSpec
from tetrapla.simulators.spiking.wiring import connections

_UNIFORM = ("scale", "sum_pool2d", "max_pool2d")  # one weight, so one axon type does
SHARED = ("conv2d", "sum_pool2d", "max_pool2d")


class Reach(NamedTuple):
    """What a spike meets, in the events of a chip.

    Attributes:
        copies: of each of the population's neurons, i64 [n].
        fans: of each group, i64 [sources, cores]: synapses of a source on a core, those on
            copies among them. A pair of neurons counts once, on however many axons.
        packets: of each group, i64 [sources, cores]: the axons of a source on a core.
    """

    copies: Array
    fans: tuple[Array, ...]
    packets: tuple[Array, ...]


def axons_of(population: Population, s: Synapses, heard: Array, core: CoreSection) -> Array:
    """Input axons of each heard source of a group: more than one on a crossbar alone."""
    if not core.axon_types or s.kind in _UNIFORM:
        return np.ones(len(heard), np.int64)
    own = [each for each in population.synapses if each.kind not in _UNIFORM]
    fans = [_fan(each) for each in own]
    each, more = core.axons_per_source(fans, len(population.synapses) - len(own))
    place = next(i for i, one in enumerate(own) if one is s)
    before = sum(channels for channels, _ in fans[:place])
    channel = heard // int(np.prod(s.source_shape[1:])) if s.kind == "conv2d" else heard
    held: Array = each + (before + channel % fans[place][0] < more)
    return held


def output_slots(population: Population, s: Synapses, heard: Array, core: CoreSection) -> Array:
    """Output axons of each heard source for one core that hears it through a group."""
    shared = core.axon_slots_shared if s.kind in SHARED else 1
    return shared * axons_of(population, s, heard, core)


def copies(program: Program, spec: SpikingSpec) -> dict[str, Array]:
    """How many there are of each neuron on its core, i64 [n] by population.

    One where a neuron drives any number of axons, and of what the host sends.
    """
    found = {p.name: np.ones(p.neurons, np.int64) for p in program.populations}
    each = spec.core.axons_per_neuron
    if each is None:
        return found
    slots = {name: np.zeros_like(ones) for name, ones in found.items()}
    held = {p.name: p for p in program.populations}
    for core in program.cores:
        p = held[core.population]
        for s, heard in zip(p.synapses, core.axons, strict=True):
            slots[s.source][heard] += output_slots(p, s, heard, spec.core)
    return {
        name: ones if held[name].feed else np.maximum(ones, -(-slots[name] // each))
        for name, ones in found.items()
    }


def reaches(
    program: Program, spec: SpikingSpec, wired: Mapping[str, Wired]
) -> dict[str, Reach]:
    """What spikes meet on the cores of every population."""
    many = copies(program, spec)
    found: dict[str, Reach] = {}
    for p in program.populations:
        cores = [core for core in program.cores if core.population == p.name]
        fans, packets = list(wired[p.name].fans), list(wired[p.name].heard)
        for group, s in enumerate(p.synapses):
            heard = packets[group]
            if spec.core.axon_types:
                each = axons_of(p, s, np.arange(len(heard)), spec.core)
                packets[group] = heard * each[:, None]
            if many[p.name].max(initial=1) > 1:
                fans[group] = _copied(p, s, cores, heard, many[p.name])
        found[p.name] = Reach(many[p.name], tuple(fans), tuple(packets))
    return found


def _copied(p: Population, s: Synapses, cores: list[Core], heard: Array, many: Array) -> Array:
    """Synapses of a source on a core, counted on every copy of their neurons."""
    fan = np.zeros(heard.shape, np.int64)
    for place, core in enumerate(cores):
        listed = connections(s, p.shape, core.neurons)
        listed = listed.chosen(heard[listed.source, place])
        weight = many[core.neurons][listed.target].astype(np.float64)
        fan[:, place] = np.rint(np.bincount(listed.source, weight, len(heard)))
    return fan


def _fan(s: Synapses) -> tuple[int, int]:
    """Channels that a neuron hears, and sources of a channel."""
    if s.kind == "conv2d":
        return int(s.weight.shape[1]), int(np.prod(s.weight.shape[2:]))
    if s.kind == "sparse":
        return int(np.bincount(s.ends[1]).max(initial=1)), 1
    return int(s.weight.shape[0]), 1
