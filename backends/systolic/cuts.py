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
    """

    rows: int
    lead: int
    numbers: frozenset[int]


WHOLE = Cut(1, 0, frozenset())


def canonical(place: Placed) -> Placed | None:
    """The same value as a transpose of all of its buffer; None where it is no such thing."""
    found = place.strided()
    if found is None or prod(found[1]) != prod(place.physical):
        return None
    _, shape, strides = found
    # an axis of size 1 has no stride: it stays beside the one that follows it
    keys, following = [0] * len(shape), 1
    for axis in reversed(range(len(shape))):
        following = strides[axis] or following
        keys[axis] = following
    order = sorted(range(len(shape)), key=lambda axis: (-keys[axis], axis))
    physical = tuple(shape[axis] for axis in order)
    perm = tuple(int(axis) for axis in np.argsort(order))
    turned = perm != tuple(range(len(shape)))
    again = replace(place, physical=physical, view=(("transpose", perm),) if turned else ())
    return again if again.strided() == found else None


def cut_of(places: Mapping[int, Placed], shape: tuple[int, ...], kept: Collection[int]) -> Cut:
    """How far a routine can be cut.

    Args:
        places: operands and results, by number.
        shape: that the routine goes through.
        kept: its axes along which elements depend on each other.
    """
    rank = len(shape)
    full: dict[int, tuple[int, ...]] = {}  # by number, the value's axes in memory's order
    for number, place in places.items():
        held = canonical(place)
        value = _shape(place)
        alike = len(value) == rank and all(
            size == shape[axis] or axis in kept for axis, size in enumerate(value)
        )
        if alike:
            if held is None:
                return WHOLE
            perm = held.view[0][1] if held.view else tuple(range(rank))
            full[number] = tuple(int(axis) for axis in np.argsort(perm))
    if not full:
        return WHOLE
    lead, first = 0, next(iter(full.values()))
    others = [_shape(place) for number, place in places.items() if number not in full]
    for level, axis in enumerate(first):
        agree = all(order[level] == axis for order in full.values())
        if axis in kept or not agree or any(_varies(s, axis, shape) for s in others):
            break
        lead = level + 1
    rows = prod(shape[axis] for axis in first[:lead])
    return Cut(rows, lead, frozenset(full)) if rows > 1 else WHOLE


def _varies(value: tuple[int, ...], axis: int, shape: tuple[int, ...]) -> bool:
    """Whether a smaller operand, broadcast from the right, differs along an axis."""
    own = axis - (len(shape) - len(value))
    return own >= 0 and value[own] != 1


def _shape(place: Placed) -> tuple[int, ...]:
    found = place.strided()
    shape = place.positions().shape if found is None else found[1]
    return tuple(int(size) for size in shape)


def part_of(place: Placed, cut: Cut, count: int) -> Placed:
    """A cut operand or result with `count` rows alone, from the start of its buffer."""
    held = canonical(place)
    assert held is not None, "only what lies alike is cut"
    physical = (*([1] * (cut.lead - 1)), count, *held.physical[cut.lead :])
    return replace(held, physical=physical)


def steps_of(steps: Sequence[Step], cut: Cut, count: int) -> tuple[Step, ...]:
    """The steps of `count` rows."""
    return tuple(replace(s, elements=-(-s.elements * count // cut.rows)) for s in steps)
