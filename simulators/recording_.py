"""What a machine's units did and when, in seconds, for the file of `simulate --trace`.

A `Run` keeps slices of its own where they cost nothing; a family may make more of a run that
somebody wants to look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tetrapla.simulators.report import Run

MOST: Final = 200_000  # slices of a file, assumed: what a viewer opens at once


@dataclass(frozen=True)
class Stretch:
    """`unit` was busy with `name`; `notes` are shown beside it."""

    unit: str
    name: str
    start_s: float
    end_s: float
    notes: Mapping[str, int | float | str] = field(default_factory=dict[str, int | float | str])


@dataclass(frozen=True)
class Counter:
    """A number that changes: (second from which it holds, value)."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Recording:
    """All of one invocation; `what` says what it is of, in a sentence."""

    stretches: tuple[Stretch, ...]
    counters: tuple[Counter, ...] = ()
    what: str = "one invocation"


def of_slices(run: Run) -> Recording:
    """The slices that a run keeps."""
    cycle_s = run.time_s / run.cycles if run.cycles else 0.0
    return Recording(
        tuple(
            Stretch(
                part.unit,
                part.name,
                part.start_cycle * cycle_s,
                part.end_cycle * cycle_s,
                {
                    "start_cycle": part.start_cycle,
                    "end_cycle": part.end_cycle,
                    "traffic_bytes": part.traffic_bytes,
                },
            )
            for part in run.trace
        )
    )
