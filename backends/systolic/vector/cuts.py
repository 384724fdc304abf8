"""Which rows of a routine can be computed by themselves, so that it runs in strips.

All large operands and results must lie alike: the same outermost axes in memory, along which
no step reduces, joins or broadcasts another way. Those axes together are the rows; small
operands (a scale, a table) are read whole for every strip.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from tetrapla.backends.systolic.layout import Placed
from tetrapla.simulators.systolic.routines import Step


@dataclass(frozen=True)
class Cut:
    """How a routine can be cut.

    Attributes:
        rows: how many there are.
        lead: how many outermost axes in memory they go through.
        numbers: of the operands and results that are cut.
        rank: of the shape that the routine goes through; lower ones have axes of size 1 before.
    """

    rows: int
    lead: int
    numbers: frozenset[int]
    rank: int = 0


WHOLE = Cut(1, 0, frozenset())


@dataclass(frozen=True)
class _Held:
    """A value as slices of the axes in memory, transposed.

    Attributes:
        order: the value's axes, outermost in memory first.
        physical: sizes in memory; `starts` and `sizes` are the value's part of each.
    """

    order: tuple[int, ...]
    physical: tuple[int, ...]
    starts: tuple[int, ...]
    sizes: tuple[int, ...]

    def whole(self, level: int) -> bool:
        """Whether the value takes all of an axis in memory."""
        return self.physical[level] == self.sizes[level]


def _held(place: Placed) -> _Held | None:
    """The value in terms of its buffer's axes; None where no such terms say it."""
    found = place.strided()
    if found is None:
        return None
    base, shape, strides = found
    # an axis of size 1 has no stride: it stays beside the one that follows it
    keys, following = [0] * len(shape), 1
    for axis in reversed(range(len(shape))):
        following = strides[axis] or following
        keys[axis] = following
    order = tuple(sorted(range(len(shape)), key=lambda axis: (-keys[axis], axis)))
    physical, starts, around = [], [], prod(place.physical)
    for axis in order:
        step = keys[axis] if strides[axis] else around
        if around % step:
            return None
        physical.append(around // step)
        starts.append(base // step)
        base, around = base % step, step
    sizes = tuple(shape[axis] for axis in order)
    inside = all(a + n <= p for a, n, p in zip(starts, sizes, physical, strict=True))
    return (
        _Held(order, tuple(physical), tuple(starts), sizes) if inside and around == 1 else None
    )


def cut_of(places: Mapping[int, Placed], shape: tuple[int, ...], kept: Collection[int]) -> Cut:
    """How far a routine can be cut.

    Args:
        places: operands and results, by number.
        shape: that the routine goes through.
        kept: its axes along which elements depend on each other.
    """
    rank = len(shape)
    full: dict[int, _Held] = {}
    for number, place in places.items():
        padded = _padded(place, rank)
        held, value = _held(padded), _shape(padded)
        alike = len(value) == rank and all(
            size == shape[axis] or axis in kept for axis, size in enumerate(value)
        )
        if alike:
            if held is None:
                return WHOLE
            full[number] = held
    if not full:
        return WHOLE
    lead, first = 0, next(iter(full.values())).order
    others = [_shape(place) for number, place in places.items() if number not in full]
    for level, axis in enumerate(first):
        agree = all(h.order[level] == axis and h.whole(level) for h in full.values())
        if axis in kept or not agree or any(_varies(s, axis, shape) for s in others):
            break
        lead = level + 1
    rows = prod(shape[axis] for axis in first[:lead])
    return Cut(rows, lead, frozenset(full), rank) if rows > 1 else WHOLE


def _varies(value: tuple[int, ...], axis: int, shape: tuple[int, ...]) -> bool:
    """Whether a smaller operand, broadcast from the right, differs along an axis."""
    own = axis - (len(shape) - len(value))
    return own >= 0 and value[own] != 1


def _padded(place: Placed, rank: int) -> Placed:
    """The value with axes of size 1 before its own, as broadcasting has it."""
    shape = _shape(place)
    missing = rank - len(shape)
    return place.then("reshape", (*([1] * missing), *shape)) if missing > 0 else place


def _shape(place: Placed) -> tuple[int, ...]:
    found = place.strided()
    shape = place.positions().shape if found is None else found[1]
    return tuple(int(size) for size in shape)


def part_of(place: Placed, cut: Cut, count: int) -> Placed:
    """A cut operand or result with `count` rows alone, from the start of its buffer."""
    held = _held(_padded(place, cut.rank))
    assert held is not None, "only what lies alike is cut"
    rows = (*([1] * (cut.lead - 1)), count)
    physical, sizes = (rows + own[cut.lead :] for own in (held.physical, held.sizes))
    starts = held.starts
    stops = tuple(a + n for a, n in zip(starts, sizes, strict=True))
    part = ("slice", (*starts, *stops, *([1] * len(sizes))))
    perm = tuple(int(axis) for axis in np.argsort(held.order))
    view = (*([part] if physical != sizes else []), ("transpose", perm))
    return replace(place, physical=physical, view=view)


def steps_of(steps: Sequence[Step], cut: Cut, count: int) -> tuple[Step, ...]:
    """The steps of `count` rows."""
    return tuple(replace(s, elements=-(-s.elements * count // cut.rows)) for s in steps)
