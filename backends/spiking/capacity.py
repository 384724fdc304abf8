"""What a share of a layer takes of one core, and the sentence when it is too much.

Synapse memory follows nengo-loihi 1.1.0: a list of n synapses takes, per block of 64, a
header and n entries, in whole 64-bit words. Dense lists need no index; convolution and
pooling share one list per source channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.axons import axons_of
from tetrapla.simulators.spiking.program import Population, Synapses
from tetrapla.simulators.spiking.spec import CoreSection
from tetrapla.simulators.spiking.wiring import axons, connections

# parameters of a threshold's configuration, and those that every compartment has itself
_THRESHOLDS = ("threshold", "theta", "v_threshold")
_OWN = ("bias", "start")


class Use(NamedTuple):
    """So much of `limit` is taken of what a core has; `field` of its section says how much."""

    what: str
    used: int
    limit: int
    field: str

    def __str__(self) -> str:
        more = self.used - self.limit
        return f"{self.used} {self.what} exceed {self.limit} per core by {more}"

    @property
    def taken_frac(self) -> float:
        """Share of the limit that is taken."""
        return self.used / self.limit


@dataclass(frozen=True)
class Share:
    """Neurons of a population for one core, with their input axons per synapse group."""

    neurons: Array
    axons: tuple[Array, ...]


def share(population: Population, neurons: Array) -> Share:
    """The share with its axons."""
    heard = tuple(axons(s, population.shape, neurons) for s in population.synapses)
    return Share(neurons, heard)


def excess(population: Population, taken: Share, core: CoreSection) -> Use | None:
    """The first limit of a core that the share exceeds, or None."""
    return next((u for u in uses(population, taken, core) if u.used > u.limit), None)


def uses(population: Population, taken: Share, core: CoreSection) -> Iterator[Use]:
    """What the share takes of everything that a core has a limit of."""
    compartments = len(taken.neurons) * core.compartments_per_neuron
    yield Use("compartments", compartments, core.compartments, "compartments")
    heard = sum(
        int(axons_of(population, s, a, core).sum())
        for s, a in zip(population.synapses, taken.axons, strict=True)
    )
    yield Use("input axons", heard, core.input_axons, "input_axons")
    for what, limit, held in _groups(population, core):
        field = f"{what}_configurations"
        found = _different(population, taken.neurons, held)
        yield Use(field.replace("_", " "), found, limit, field)
    formats = core.synapse_configurations
    if formats is not None:
        heard = sum(len(each) > 0 for each in taken.axons)
        yield Use("synapse configurations", heard, formats, "synapse_configurations")
    if core.axon_types:  # every axon meets every neuron: there is nothing else to fill
        return
    words = sum(
        _words(s, population.shape, taken.neurons, a, core)
        for s, a in zip(population.synapses, taken.axons, strict=True)
    )
    yield Use("words of synapses", words, core.synapse_memory, "synapse_memory")


def _groups(p: Population, core: CoreSection) -> Iterator[tuple[str, int, list[Array]]]:
    """Parameters that neurons of a core share, with how many different ones there may be."""
    held = {"threshold": p.threshold, **p.parameters}
    if core.threshold_configurations is not None:
        own = [a for name, a in held.items() if name in _THRESHOLDS]
        yield "threshold", core.threshold_configurations, own
    if core.compartment_configurations is not None:
        own = [a for name, a in held.items() if name not in (*_THRESHOLDS, *_OWN)]
        yield "compartment", core.compartment_configurations, own


def _different(p: Population, neurons: Array, held: list[Array]) -> int:
    """How many different parameters the neurons have together."""
    varied = [a[neurons] for a in held if a.shape == (p.neurons,)]
    return len(np.unique(np.stack(varied), axis=1).T) if varied else 1


def list_words(synapses: int, entry_bits: int, core: CoreSection) -> int:
    """Memory words of one list of synapses."""

    def block(n: int) -> int:
        return -(-(n * entry_bits + core.list_header_bits) // core.synapse_word_bits)

    full, rest = divmod(synapses, core.list_block)
    return full * block(core.list_block) + (block(rest) if rest else 0)


def _words(
    s: Synapses, shape: tuple[int, ...], neurons: Array, heard: Array, core: CoreSection
) -> int:
    indexed = core.weight_bits + core.synapse_index_bits
    if s.kind == "matmul":
        columns = len(np.unique(neurons % s.weight.shape[1]))
        return len(heard) * list_words(columns, core.weight_bits, core)
    if s.kind == "scale":
        return len(heard) * list_words(1, indexed, core)
    if s.kind == "sparse":
        delayed = indexed + (core.delay_max.bit_length() if s.lags.size > 1 else 0)
        fan = np.bincount(connections(s, shape, neurons).source)
        sizes, counts = np.unique(fan[fan > 0], return_counts=True)
        blocks = [list_words(int(n), delayed, core) for n in sizes]
        return sum(n * int(count) for n, count in zip(blocks, counts, strict=True))
    filters = len(np.unique(neurons // (shape[1] * shape[2])))
    if s.kind == "conv2d":
        per_filter = s.weight.shape[2] * s.weight.shape[3]
        lists = min(len(heard), s.source_shape[0])
        return lists * list_words(per_filter * filters, indexed, core)
    return filters * list_words(s.kernel[0] * s.kernel[1], indexed, core)
