"""What a machine can show of a run beside its figures: spikes, voltages, busy cores, codes.

A `Run` may hold a `Scene`; only who draws it computes it. A `Sight` is of one inference, the
first, and of as many neurons as fit a picture. `plain` is the part of it that a report's JSON
has, with the trace's slices as a timeline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import floor, log10
from typing import Any, Final, Protocol

from tetrapla.ir.graph import Array

SLICES: Final = 2000  # of a timeline
STEPS: Final = 128  # timesteps of a raster
PANELS: Final = 8  # populations with a raster: the first and the last ones
_FINEST: Final = 4096  # gaps below this part of the whole close first
_DIGITS: Final = 5  # of a time, after the first of the whole


@dataclass(frozen=True)
class Slice:
    """One stretch of a trace: `unit` was busy with `name` from start to end."""

    unit: str
    name: str
    start_cycle: float
    end_cycle: float
    traffic_bytes: int = 0


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
class Clipping:
    """What the converters of a layer see, counted before a code is cut to their range.

    Attributes:
        layer: its name.
        low, high: the lowest and the highest code.
        start, step: of the bins, in codes; the first is [start, start + step).
        counts: conversions by bin, the last with its upper end.
        clipped_frac: share of the conversions whose code was below `low` or above `high`.
    """

    layer: str
    low: int
    high: int
    start: float
    step: float
    counts: tuple[int, ...]
    clipped_frac: float


@dataclass(frozen=True)
class Sight:
    """All of one inference that is drawn.

    Attributes:
        timesteps: the chip's; 0 without any.
        slots: cores of a tile.
        busy: when each layer was, in seconds, of a machine that keeps no trace.
    """

    timesteps: int = 0
    rasters: tuple[Raster, ...] = ()
    membranes: tuple[Membrane, ...] = ()
    slots: int = 1
    loads: tuple[Load, ...] = ()
    clipping: tuple[Clipping, ...] = ()
    busy: tuple[Slice, ...] = ()


class Scene(Protocol):
    """What can be looked at."""

    def look(self) -> Sight:
        """Compute it: about as long as one inference takes."""
        ...


def plain(sight: Sight | None, trace: Sequence[Slice], cycle_s: float) -> dict[str, Any]:
    """What a report's JSON has under `sight`; keys are there where there is something.

    Args:
        sight: of the machine.
        trace: its slices.
        cycle_s: seconds of a cycle of theirs.
    """
    found: dict[str, Any] = {}
    if trace and cycle_s:
        found["timeline"] = timeline(trace, cycle_s)
    elif sight is not None and sight.busy:
        found["timeline"] = timeline(sight.busy, 1.0)
    if sight is not None and sight.rasters:
        found["rasters"] = [_spikes(each) for each in ends(sight.rasters)]
    if sight is not None and sight.clipping:
        found["clipping"] = [asdict(each) for each in sight.clipping]
    return found


def ends(panels: Sequence[Any]) -> list[Any]:
    """Those that have room in a picture: the first and the last."""
    half = PANELS // 2
    return [*panels] if len(panels) <= PANELS else [*panels[:half], *panels[-half:]]


def timeline(trace: Sequence[Slice], cycle_s: float) -> list[list[Any]]:
    """At most `SLICES` of [unit, name, start_s, end_s], in order of their starts.

    Where there are more, those of a unit with one name grow together over gaps that widen
    until few enough are left; if that is not enough, the shortest fall away.
    """
    whole = max(part.end_cycle for part in trace)
    held: Sequence[Slice] = trace
    gap = whole / _FINEST
    while len(held) > SLICES and gap <= whole:
        held = _joined(held, gap)
        gap *= 2
    if len(held) > SLICES:
        held = sorted(held, key=lambda part: part.start_cycle - part.end_cycle)[:SLICES]
    digits = _DIGITS - floor(log10(whole * cycle_s)) if whole else 0
    return [
        [part.unit, part.name, *(round(at * cycle_s, digits) for at in _span(part))]
        for part in sorted(held, key=_span)
    ]


def _span(part: Slice) -> tuple[float, float]:
    return part.start_cycle, part.end_cycle


@dataclass
class _Open:
    """A slice that still grows."""

    start: float
    end: float
    done: list[Slice] = field(default_factory=list[Slice])


def _joined(trace: Sequence[Slice], gap: float) -> list[Slice]:
    """Slices of one unit and name as one where no wider gap is between them."""
    found: dict[tuple[str, str], _Open] = {}
    for part in sorted(trace, key=_span):
        key = (part.unit, part.name)
        last = found.get(key)
        if last is None:
            found[key] = _Open(part.start_cycle, part.end_cycle)
        elif part.start_cycle - last.end <= gap:
            last.end = max(last.end, part.end_cycle)
        else:
            last.done.append(Slice(*key, last.start, last.end))
            last.start, last.end = part.start_cycle, part.end_cycle
    return [
        part
        for key, last in found.items()
        for part in (*last.done, Slice(*key, last.start, last.end))
    ]


def _spikes(raster: Raster) -> Mapping[str, Any]:
    """A raster with its spikes as [timestep of the chip, place in `shown`]."""
    times, rows = raster.train[: max(0, STEPS - raster.start)].nonzero()
    return {
        "name": raster.name,
        "neurons": raster.neurons,
        "shown": list(raster.shown),
        "start": raster.start,
        "spikes": [
            [raster.start + t, row]
            for t, row in zip(times.tolist(), rows.tolist(), strict=True)
        ],
    }
