"""From layers to places: the cut into cores, refined, placed, and what limits its fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tetrapla.backends.spiking.activity import Spikes, spikes, traffic
from tetrapla.backends.spiking.anneal import hops, places
from tetrapla.backends.spiking.capacity import Share, Use, excess, share, uses
from tetrapla.backends.spiking.hypergraph import pins, refined
from tetrapla.backends.spiking.place import crowded, output_axons, place
from tetrapla.ir.graph import Array
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spiking.program import Core, Population, Program
from tetrapla.simulators.spiking.spec import SpikingSpec

_SAID = 6  # layers, the fullest, that a sentence names; a report has all


@dataclass(frozen=True)
class Way:
    """What the spikes of a mapping take, over all calibration samples."""

    packets: int
    hops: int


@dataclass(frozen=True)
class Mapped:
    """A program on cores.

    Attributes:
        program: placed.
        way: what its spikes take.
        first: what they would take with the cores in the order of the layers.
        fits: by layer, everything that its fullest core takes.
        counted: whether spikes were counted, or one each assumed.
    """

    program: Program
    way: Way
    first: Way
    fits: Mapping[str, tuple[Use, ...]]
    counted: bool

    def sentences(self) -> list[str]:
        """For a person."""
        cores = {name: 0 for name in self.fits}
        for core in self.program.cores:
            cores[core.population] += 1
        tight = {name: _tightest(held) for name, held in self.fits.items()}
        fullest = sorted(tight, key=lambda name: -tight[name].taken_frac)[:_SAID]
        listed = ", ".join(
            f"{name} {cores[name]} by {use.what} ({use.used} of {use.limit})"
            for name, use in tight.items()
            if name in fullest
        )
        said = [f"cores, and what the fullest one of a layer has least left of: {listed}"]
        if self.first.hops:
            of = "of the calibration data" if self.counted else "if every neuron fires once"
            said.append(
                f"spikes {of} cross {self.way.hops} links in {self.way.packets} packets; "
                f"{self.first.hops} in {self.first.packets} with cores in the layers' order"
            )
        return said

    def to_dict(self) -> dict[str, Any]:
        """For a report."""
        return {
            "hops": self.way.hops,
            "packets": self.way.packets,
            "hops_in_order": self.first.hops,
            "packets_in_order": self.first.packets,
            "spikes": "calibration" if self.counted else "one each (assumed)",
            "fit": {
                name: {use.what: [use.used, use.limit] for use in held}
                for name, held in self.fits.items()
            },
        }


def mapped(
    program: Program, spec: SpikingSpec, calibration: Mapping[str, Array], seed: int = 0
) -> Mapped:
    """The program on cores, with few packets and short ways.

    Neither packets nor hops are more than those of the plain cut in the order of its layers.

    Args:
        program: without cores.
        spec: of the chip.
        calibration: arrays of shape (samples, ...) by input name, to count spikes; or none.
        seed: of the draws.

    Raises:
        UnsupportedError: a neuron does not fit a core, or the layers do not fit the chip.
    """
    cut = place(program, spec)
    # on one core nothing can be better
    fired = spikes(cut, calibration if len(cut.cores) > 1 else {})
    first = way(cut, spec, fired)
    best, least = cut, first
    for each in (cut, _refined(cut, spec, fired, Key(seed))):
        tried = _placed(each, spec, fired, Key(seed))
        found = way(tried, spec, fired)
        fewer = found.packets < least.packets and found.hops <= first.hops
        if fewer or (found.packets == least.packets and found.hops < least.hops):
            best, least = tried, found
    return Mapped(best, least, first, _fits(best, spec), bool(calibration))


def way(program: Program, spec: SpikingSpec, fired: Spikes) -> Way:
    """What spikes take on the cores as they are."""
    packets = traffic(program, fired, spec.core)
    numbers = np.array([core.index for core in program.cores])
    tiles = np.append(numbers // spec.mesh.cores_per_tile, 0)
    return Way(int(packets.sum()), hops(packets, tiles, spec))


def _placed(program: Program, spec: SpikingSpec, fired: Spikes, key: Key) -> Program:
    """The cores at better places, in the order of their numbers."""
    numbers = places(traffic(program, fired, spec.core), spec, key)
    cores = [
        replace(core, index=int(at)) for core, at in zip(program.cores, numbers, strict=True)
    ]
    return replace(program, cores=tuple(sorted(cores, key=lambda core: core.index)))


def _refined(program: Program, spec: SpikingSpec, fired: Spikes, key: Key) -> Program:
    """The same cores with other neurons, where that takes fewer packets and fits."""
    shares = _shares(program)
    for layer, p in enumerate(p for p in program.populations if p.name in shares):
        pieces = shares[p.name]
        better = _better(p, pieces, spec, fired, key.at(layer=layer % 2**16))
        tried = {**shares, p.name: better}
        if not crowded(program, tried, spec):
            shares = tried
    places_ = {name: iter(pieces) for name, pieces in shares.items()}
    cores = tuple(_filled(core, next(places_[core.population])) for core in program.cores)
    return replace(program, cores=cores)


def _filled(core: Core, piece: Share) -> Core:
    return replace(core, neurons=piece.neurons, axons=piece.axons)


def _better(
    p: Population, pieces: Sequence[Share], spec: SpikingSpec, fired: Spikes, key: Key
) -> Sequence[Share]:
    held = pins(p, fired) if len(pieces) > 1 else None
    if held is None:
        return pieces
    part = np.empty(p.neurons, np.int64)
    for core, piece in enumerate(pieces):
        part[piece.neurons] = core
    after = refined(held, part, key)
    if after is part:
        return pieces
    found = [share(p, np.flatnonzero(after == core)) for core in range(len(pieces))]
    return pieces if any(excess(p, piece, spec.core) for piece in found) else found


def _shares(program: Program) -> dict[str, Sequence[Share]]:
    found: dict[str, list[Share]] = {}
    for core in program.cores:
        found.setdefault(core.population, []).append(Share(core.neurons, core.axons))
    return {**found}


def _fits(program: Program, spec: SpikingSpec) -> dict[str, tuple[Use, ...]]:
    """By layer: of each limit what the core takes that takes the most of it."""
    shares = _shares(program)
    axons = dict(output_axons(program, shares, spec))
    found: dict[str, tuple[Use, ...]] = {}
    for p in program.populations:
        if p.name not in shares:
            continue
        every = [list(uses(p, piece, spec.core)) for piece in shares[p.name]]
        fullest = [max(each, key=lambda use: use.used) for each in zip(*every, strict=True)]
        out = Use("output axons", max(axons[p.name]), spec.core.output_axons, "output_axons")
        found[p.name] = (*fullest, out)
    return found


def _tightest(held: Sequence[Use]) -> Use:
    # one group of parameters is what the smallest core has
    several = [use for use in held if use.used > 1]
    return max(several or held, key=lambda use: use.taken_frac)
