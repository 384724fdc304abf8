"""Partition of populations into cores, and their places on the mesh.

Feature maps are cut into blocks of channels, rows and columns so that few cores with few
axons result; everything else into runs of neurons. Cores are numbered in the order of the
layers, so neighbours in the network are near on the mesh.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from tetrapla.backends.spiking.capacity import SHARED, Share, excess, share
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.program import Core, Population, Program
from tetrapla.simulators.spiking.spec import SpikingSpec


def place(program: Program, spec: SpikingSpec) -> Program:
    """The program on cores.

    Raises:
        UnsupportedError: a neuron does not fit a core, or the layers do not fit the chip.
    """
    most = spec.core.compartments // spec.core.compartments_per_neuron
    if most < 1:
        raise UnsupportedError(
            f"spiking: a core must hold a neuron of {spec.core.compartments_per_neuron} "
            f"compartments, not {spec.core.compartments} compartments; set core.compartments"
        )
    own = [p for p in program.populations if p.feed is None]  # an input's are elsewhere
    _refuse_beyond(program, {p.name: -(-p.neurons // most) for p in own}, spec, "at least ")
    limits = {p.name: min(most, p.neurons) for p in own}
    while True:
        shares = {p.name: partition(p, limits[p.name], spec) for p in own}
        crowded = _crowded(program, shares, spec)
        if not crowded:
            break
        for name, slots in crowded.items():
            if limits[name] == 1:
                raise UnsupportedError(
                    f"layer {name}: {slots} output axons of one neuron exceed "
                    f"{spec.core.output_axons} per core; make the next layer smaller"
                )
            limits[name] = max(1, limits[name] // 2)
    _refuse_beyond(program, {name: len(pieces) for name, pieces in shares.items()}, spec)
    cores = [(p.name, piece) for p in own for piece in shares[p.name]]
    return replace(
        program,
        cores=tuple(
            Core(i, name, piece.neurons, piece.axons) for i, (name, piece) in enumerate(cores)
        ),
    )


def partition(population: Population, most: int, spec: SpikingSpec) -> tuple[Share, ...]:
    """The fewest shares found with at most `most` neurons each; fewest axons among equals.

    Raises:
        UnsupportedError: a single neuron does not fit a core.
    """
    best: tuple[Share, ...] | None = None
    for blocks in _cuts(population, most):
        if best is not None and len(blocks) > len(best):
            continue
        pieces = tuple(share(population, neurons) for neurons in blocks)
        if any(excess(population, piece, spec.core) for piece in pieces):
            continue
        if best is None or _weight(pieces) < _weight(best):
            best = pieces
    if best is not None:
        return best
    one = share(population, np.arange(1))
    reason = excess(population, one, spec.core)
    if reason:
        raise UnsupportedError(
            f"layer {population.name}: {reason}, for a single neuron; "
            "split the layer's inputs or use a chip with larger cores"
        )
    return _halved(population, np.arange(population.neurons), most, spec)


def _refuse_beyond(
    program: Program, cores: dict[str, int], spec: SpikingSpec, bound: str = ""
) -> None:
    """Raise `UnsupportedError` where the layers need more cores than there are."""
    count = sum(cores.values())
    if count > spec.cores:
        largest = max(cores, key=lambda name: cores[name])
        raise UnsupportedError(
            f"model {program.name} must fit {spec.cores} cores, not {bound}{count}; layer "
            f"{largest} alone takes {cores[largest]}; use a smaller model or a larger chip"
        )


def _weight(pieces: tuple[Share, ...]) -> tuple[int, int]:
    return len(pieces), sum(len(a) for piece in pieces for a in piece.axons)


def _halved(
    population: Population, neurons: Array, most: int, spec: SpikingSpec
) -> tuple[Share, ...]:
    """Runs of neurons, halved until they fit."""
    piece = share(population, neurons)
    if len(neurons) <= most and not excess(population, piece, spec.core):
        return (piece,)
    if len(neurons) == 1:
        reason = excess(population, piece, spec.core)
        raise UnsupportedError(f"layer {population.name}: {reason}, for a single neuron")
    half = len(neurons) // 2
    return (
        *_halved(population, neurons[:half], most, spec),
        *_halved(population, neurons[half:], most, spec),
    )


def _cuts(population: Population, most: int) -> Iterator[list[Array]]:
    """Candidate partitions, the coarsest first."""
    ids = np.arange(population.neurons)
    least = -(-population.neurons // most)
    if len(population.shape) != 3:
        yield from (np.array_split(ids, n) for n in _counts(least, population.neurons))
        return
    channels, height, width = population.shape
    maps = ids.reshape(population.shape)
    cuts = [
        (c, h, w)
        for c, h, w in product(*(range(1, size + 1) for size in population.shape))
        if -(-channels // c) * -(-height // h) * -(-width // w) <= most
        and _even(population, c, h, w)
    ]
    cuts.sort(key=lambda cut: cut[0] * cut[1] * cut[2])
    for c, h, w in cuts[:64]:
        yield [
            block.ravel()
            for slab in np.array_split(maps, c, axis=0)
            for band in np.array_split(slab, h, axis=1)
            for block in np.array_split(band, w, axis=2)
        ]


def _counts(least: int, neurons: int) -> Iterator[int]:
    n = least
    while n <= neurons:
        yield n
        n = max(n + 1, n * 5 // 4)


def _even(population: Population, c: int, h: int, w: int) -> bool:
    # more pieces than the coarsest block size needs would be the same blocks, torn
    return all(
        -(-size // -(-size // pieces)) == pieces
        for size, pieces in zip(population.shape, (c, h, w), strict=True)
    )


def _crowded(
    program: Program, shares: dict[str, tuple[Share, ...]], spec: SpikingSpec
) -> dict[str, int]:
    """Populations with a core whose output axons exceed the limit, and by how many it has."""
    slots = {p.name: np.zeros(p.neurons, np.int64) for p in program.populations}
    own = [p for p in program.populations if p.name in shares]
    for p in own:
        for piece in shares[p.name]:
            for synapses, heard in zip(p.synapses, piece.axons, strict=True):
                shared = synapses.kind in SHARED
                slots[synapses.source][heard] += spec.core.axon_slots_shared if shared else 1
    crowded: dict[str, int] = {}
    for p in own:
        worst = max(
            (int(slots[p.name][piece.neurons].sum()) for piece in shares[p.name]), default=0
        )
        if worst > spec.core.output_axons:
            crowded[p.name] = worst
    return crowded
