"""When transfers are sent: a load beside the work of the step before, a store beside the next.

The dispatcher is in order and waits, so what is sent too early holds up all the rest, and what
is sent too late does not overlap. A load goes before the step that needs it only where that
is the first at which its place is free; a store goes at once only where its place is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tetrapla.backends.systolic.memory.pieces import reads, writes
from tetrapla.backends.systolic.memory.plan import Step, Transfer

Span = tuple[int, int]


@dataclass
class Turn:
    """What is sent around a step's work.

    Attributes:
        first: stores, then loads, before the work.
        loads, stores: beside the work.
        late: loads after the stores.
    """

    first_stores: list[Transfer] = field(default_factory=list[Transfer])
    first_loads: list[Transfer] = field(default_factory=list[Transfer])
    loads: list[Transfer] = field(default_factory=list[Transfer])
    stores: list[Transfer] = field(default_factory=list[Transfer])
    late: list[Transfer] = field(default_factory=list[Transfer])


def turns(steps: Sequence[Step]) -> list[Turn]:
    """For each step, what is sent around its work."""
    found = [Turn() for _ in steps]
    for number, step in enumerate(steps):
        for store in step.stores:
            if step.work is None or number + 1 == len(steps):
                found[number].stores.append(store)
            elif _in_the_way(store, steps[number + 1]):
                found[number + 1].first_stores.append(store)
            else:
                found[number + 1].stores.append(store)
    for number, step in enumerate(steps):
        for load in step.loads:
            if not number or _busy(load, steps[number - 1]):
                found[number].first_loads.append(load)
            elif any(_meet(load, store) for store in found[number - 1].stores):
                found[number - 1].late.append(load)
            else:
                found[number - 1].loads.append(load)
    return found


def _span(transfer: Transfer) -> Span:
    return transfer.address, transfer.address + transfer.piece.bytes


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _touched(step: Step, only_written: bool = False) -> list[Span]:
    """What a step's work touches of the unified buffer."""
    if step.work is None:
        return []
    buffers = writes(step.work) if only_written else (*reads(step.work), *writes(step.work))
    return [(b.address, b.address + b.size_bytes) for b in buffers]


def _in_the_way(store: Transfer, following: Step) -> bool:
    """Whether the next step overwrites what is to be stored, or loads it again."""
    span = _span(store)
    written = [*_touched(following, True), *map(_span, following.loads)]
    return any(_overlap(span, other) for other in written) or any(
        _same_home(store, load) for load in following.loads
    )


def _busy(load: Transfer, before: Step) -> bool:
    """Whether the step before uses the place, or has yet to store what is loaded."""
    span = _span(load)
    taken = [*_touched(before), *map(_span, before.loads), *map(_span, before.stores)]
    return any(_overlap(span, other) for other in taken) or any(
        _same_home(load, store) for store in before.stores
    )


def _meet(load: Transfer, store: Transfer) -> bool:
    return _overlap(_span(load), _span(store)) or _same_home(load, store)


def _same_home(one: Transfer, other: Transfer) -> bool:
    a, b = one.piece, other.piece
    return a.buffer is b.buffer and _overlap((a.start, a.end), (b.start, b.end))
