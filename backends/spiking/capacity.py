"""What a share of a layer takes of one core, and the sentence when it is too much.

Synapse memory follows nengo-loihi 1.1.0: a list of n synapses takes, per block of 64, a
header and n entries, in whole 64-bit words. Dense lists need no index; convolution and
pooling share one list per source channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.program import Population, Synapses
from tetrapla.simulators.spiking.spec import CoreSection
from tetrapla.simulators.spiking.wiring import axons, connections

SHARED = ("conv2d", "sum_pool2d", "max_pool2d")


@dataclass(frozen=True)
class Share:
    """Neurons of a population for one core, with their input axons per synapse group."""

    neurons: Array
    axons: tuple[Array, ...]


def share(population: Population, neurons: Array) -> Share:
    """The share with its axons."""
    heard = tuple(axons(s, population.shape, neurons) for s in population.synapses)
    return Share(neurons, heard)


def excess(population: Population, taken: Share, core: CoreSection) -> str:
    """Why the share does not fit a core, or an empty string."""
    used = len(taken.neurons) * core.compartments_per_neuron
    if used > core.compartments:
        return f"{used} compartments exceed {core.compartments} per core"
    heard = sum(len(a) for a in taken.axons)
    if heard > core.input_axons:
        return f"{heard} input axons exceed {core.input_axons} per core"
    words = sum(
        _words(s, population.shape, taken.neurons, a, core)
        for s, a in zip(population.synapses, taken.axons, strict=True)
    )
    if words > core.synapse_memory:
        return f"{words} words of synapses exceed {core.synapse_memory} per core"
    return ""


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
