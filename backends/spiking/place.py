"""Partition of populations into cores, numbered in the order of the layers.

Feature maps are cut into blocks of channels, rows and columns so that few cores with few
axons result; everything else into runs of neurons. `mapping` then improves on this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from tetrapla.backends.spiking.capacity import Share, Use, excess, share, uses
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.axons import output_slots
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
    least = {p.name: -(-p.neurons // most) for p in own}
    if sum(least.values()) > spec.cores:
        raise _beyond(program, least, spec, "at least ", "compartments")
    shares = _shares(program, most, spec)
    cores = [(p.name, piece) for p in own for piece in shares[p.name]]
    return replace(
        program,
        cores=tuple(
            Core(i, name, piece.neurons, piece.axons) for i, (name, piece) in enumerate(cores)
        ),
    )


def _shares(program: Program, most: int, spec: SpikingSpec) -> dict[str, tuple[Share, ...]]:
    """Each population's, smaller ones where their output axons are too many."""
    own = [p for p in program.populations if p.feed is None]
    limits = {p.name: min(most, p.neurons) for p in own}
    shares: dict[str, tuple[Share, ...]] = {}
    over: dict[str, Use] = {}
    halved: set[str] = set()
    while True:
        changed = over if shares else limits
        for p in own:
            if p.name in changed:
                shares[p.name] = partition(p, limits[p.name], spec)
        over = crowded(program, shares, spec)
        # smaller shares only ever are more
        _refuse_many(program, shares, spec, halved, "at least " if over else "")
        if not over:
            return shares
        halved |= set(over)
        for name, use in over.items():
            if limits[name] == 1:
                raise UnsupportedError(
                    f"layer {name}: {use}, for a single neuron; a layer behind it on fewer "
                    f"cores would fit, or core.{use.field}={use.used}"
                )
            limits[name] = max(1, limits[name] // 2)


def _refuse_many(
    program: Program,
    shares: Mapping[str, tuple[Share, ...]],
    spec: SpikingSpec,
    halved: set[str],
    bound: str,
) -> None:
    """Raise where there are more shares than cores; `halved` ones had too many output axons."""
    counts = {name: len(pieces) for name, pieces in shares.items()}
    if sum(counts.values()) <= spec.cores:
        return
    name = max(counts, key=lambda each: counts[each])
    (layer,) = (p for p in program.populations if p.name == name)
    tightest = _tightest(layer, shares[name], spec).what
    raise _beyond(program, counts, spec, bound, "output axons" if name in halved else tightest)


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
    _refuse_neuron(population, np.arange(1), spec)
    return _halved(population, _by_position(population), most, spec)


def _by_position(population: Population) -> Array:
    """All neurons; of feature maps those of one place together, which hear the same."""
    ids = np.arange(population.neurons)
    if len(population.shape) != 3:
        return ids
    return np.moveaxis(ids.reshape(population.shape), 0, -1).ravel()


def _tightest(population: Population, pieces: tuple[Share, ...], spec: SpikingSpec) -> Use:
    """What the fullest of a layer's cores has least left of."""
    found = [use for piece in pieces for use in uses(population, piece, spec.core)]
    return max(found, key=lambda use: use.taken_frac)


def _refuse_neuron(population: Population, neuron: Array, spec: SpikingSpec) -> None:
    """Raise `UnsupportedError` where a single neuron does not fit a core."""
    use = excess(population, share(population, neuron), spec.core)
    if use is not None:
        raise UnsupportedError(
            f"layer {population.name}: {use}, for a single neuron; its inputs in "
            f"{-(-use.used // use.limit)} layers that are added up would fit, or "
            f"core.{use.field}={use.used}"
        )


def _beyond(
    program: Program, cores: dict[str, int], spec: SpikingSpec, bound: str, what: str
) -> UnsupportedError:
    """The layers need more cores than there are; `what` the largest one's are full of."""
    count = sum(cores.values())
    largest = max(cores, key=lambda name: cores[name])
    fewer = count - spec.cores
    columns = -(-count // (spec.mesh.tiles_y * spec.mesh.cores_per_tile))
    return UnsupportedError(
        f"model {program.name} must fit {_cores(spec.cores)}, not {bound}{count}; layer "
        f"{largest} alone takes {cores[largest]}, which are full of {what}; layers on "
        f"{_cores(fewer)} fewer would fit, or mesh.tiles_x={columns}"
    )


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def _weight(pieces: tuple[Share, ...]) -> tuple[int, int]:
    return len(pieces), sum(len(a) for piece in pieces for a in piece.axons)


def _halved(
    population: Population, neurons: Array, most: int, spec: SpikingSpec
) -> tuple[Share, ...]:
    """Runs of neurons, halved until they fit."""
    piece = share(population, np.sort(neurons))
    if len(neurons) <= most and not excess(population, piece, spec.core):
        return (piece,)
    if len(neurons) == 1:
        _refuse_neuron(population, neurons, spec)
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


def crowded(
    program: Program, shares: Mapping[str, Sequence[Share]], spec: SpikingSpec
) -> dict[str, Use]:
    """Populations with a core whose output axons exceed the limit, and how many it has."""
    worst = {name: max(own, default=0) for name, own in output_axons(program, shares, spec)}
    limit = spec.core.output_axons
    return {
        name: Use("output axons", used, limit, "output_axons")
        for name, used in worst.items()
        if used > limit
    }


def output_axons(
    program: Program, shares: Mapping[str, Sequence[Share]], spec: SpikingSpec
) -> Iterator[tuple[str, list[int]]]:
    """By population with shares: the output axons of each."""
    slots = {p.name: np.zeros(p.neurons, np.int64) for p in program.populations}
    own = [p for p in program.populations if p.name in shares]
    for p in own:
        for piece in shares[p.name]:
            for synapses, heard in zip(p.synapses, piece.axons, strict=True):
                slots[synapses.source][heard] += output_slots(p, synapses, heard, spec.core)
    least = int(spec.core.axons_per_neuron is not None)  # then a neuron is its first axon
    for p in own:
        taken = np.maximum(slots[p.name], least)
        yield p.name, [int(taken[piece.neurons].sum()) for piece in shares[p.name]]
