"""What a machine can show of a run beside its figures: spikes, voltages, busy cores.

A `Run` may hold a `Scene`; only who draws it computes it. A `Sight` is of one inference, the
first, and of as many neurons as fit a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tetrapla.ir.graph import Array


@dataclass(frozen=True)
class Raster:
    """Spikes of some neurons of a population.

    Attributes:
        name: of the population.
        neurons: how many it has.
        shown: numbers of those whose spikes follow.
        start: the timestep of the first spikes.
        train: bool [T, shown].
    """

    name: str
    neurons: int
    shown: tuple[int, ...]
    start: int
    train: Array


@dataclass(frozen=True)
class Membrane:
    """Voltages of some neurons behind every timestep.

    Attributes:
        name: of the population.
        shown: numbers of the neurons.
        start: the timestep of the first voltages.
        voltage: [T, shown], in the machine's own unit.
        threshold: of those neurons, in the same unit; None where they have no fixed one.
    """

    name: str
    shown: tuple[int, ...]
    start: int
    voltage: Array
    threshold: tuple[float, ...] | None


@dataclass(frozen=True)
class Load:
    """What a core did: at place (x, y) of the chip, number `slot` there."""

    core: int
    x: int
    y: int
    slot: int
    layer: str
    busy_s: float
    spikes: int
    synaptic_events: int


@dataclass(frozen=True)
class Sight:
    """All of one inference that is drawn; `timesteps` are the chip's."""

    timesteps: int
    rasters: tuple[Raster, ...]
    membranes: tuple[Membrane, ...]
    slots: int
    loads: tuple[Load, ...]


class Scene(Protocol):
    """What can be looked at."""

    def look(self) -> Sight:
        """Compute it: about as long as one inference takes."""
        ...
