"""Which rows of a routine can be computed by themselves, so that it runs in strips.

Best all large operands and results lie alike: the same outermost axes in memory, along which
no step reduces, joins or broadcasts another way. Those axes together are the rows; small
operands (a scale, a table) are read whole for every strip. Else the rows are the axis that is
outermost in memory of the results; operands that lie in another way are whole, and a strip
takes its slice of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from tetrapla.backends.systolic.layout import Buffer, Placed
from tetrapla.simulators.systolic.routines import Step


@dataclass(frozen=True)
class Cut:
    """How a routine can be cut.

    Attributes:
        rows: how many there are.
        lead: how many outermost axes in memory they go through.
        numbers: of the operands and results that are cut.
        rank: of the shape that the routine goes through; lower ones have axes of size 1 before.
        axis: of that shape, the one that is cut by following the steps of views; None where
            strides say how.
    """

    rows: int
    lead: int
    numbers: frozenset[int]
    rank: int = 0
    axis: int | None = None


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


def cut_of(
    places: Mapping[int, Placed],
    shape: tuple[int, ...],
    kept: Collection[int],
    written: Collection[int] = (),
) -> Cut:
    """How far a routine can be cut.

    Args:
        places: operands and results, by number.
        shape: that the routine goes through.
        kept: its axes along which elements depend on each other.
        written: numbers of the results.
    """
    found = _alike(places, shape, kept)
    return _by_axis(places, shape, kept, written) if found == WHOLE and written else found


def _alike(places: Mapping[int, Placed], shape: tuple[int, ...], kept: Collection[int]) -> Cut:
    """The cut through all axes along which the large values lie alike."""
    rank = len(shape)
    full: dict[int, _Held] = {}
    for number, place in places.items():
        padded = _padded(place, rank)
        if _is_large(padded, shape, kept):
            held = _held(padded)
            if held is None:
                return WHOLE
            full[number] = held
    if not full:
        return WHOLE
    others = [_shape(place) for number, place in places.items() if number not in full]
    lead, first = 0, next(iter(full.values())).order
    for level, axis in enumerate(first):
        agree = all(h.order[level] == axis and h.whole(level) for h in full.values())
        if axis in kept or not agree or any(_varies(s, axis, shape) for s in others):
            break
        lead = level + 1
    rows = prod(shape[axis] for axis in first[:lead])
    return Cut(rows, lead, frozenset(full), rank) if rows > 1 else WHOLE


def _is_large(padded: Placed, shape: tuple[int, ...], kept: Collection[int]) -> bool:
    """Whether a value has the shape that the routine goes through."""
    value = _shape(padded)
    return len(value) == len(shape) and all(
        size == shape[axis] or axis in kept for axis, size in enumerate(value)
    )


def _by_axis(
    places: Mapping[int, Placed],
    shape: tuple[int, ...],
    kept: Collection[int],
    written: Collection[int],
) -> Cut:
    """The cut along the axis that is outermost in memory of all results."""
    rows: dict[int, _Axis] = {}
    for number, place in places.items():
        padded = _padded(place, len(shape))
        found = _along(padded) if _is_large(padded, shape, kept) else None
        if found is not None:
            rows[number] = found
    axes = {rows[number].axis if number in rows else -1 for number in written}
    axis = axes.pop()
    if axes or axis < 0 or axis in kept:
        return WHOLE
    spans: dict[Buffer, set[tuple[int, int] | None]] = {}
    for number, place in places.items():
        found = rows.get(number)
        span = (found.start, found.held) if found is not None and found.axis == axis else None
        spans.setdefault(place.buffer, set()).add(span)
    # a strip has one stretch of each buffer
    alike = {buffer for buffer, own in spans.items() if len(own) == 1 and None not in own}
    numbers = frozenset(number for number, place in places.items() if place.buffer in alike)
    return Cut(shape[axis], 1, numbers, len(shape), axis) if numbers >= {*written} else WHOLE


@dataclass(frozen=True)
class _Axis:
    """The axis that is outermost in memory, followed through a view.

    Attributes:
        axis: of the value.
        start: how many of it lie before the value.
        held: how many of it the buffer has.
        part: the value with another count of it, alone in a buffer.
    """

    axis: int
    start: int
    held: int
    part: Placed


def _along(place: Placed, count: int = 1) -> _Axis | None:
    """None where a step of the view divides the axis, joins it to another or skips in it."""
    shape = place.physical
    level = next((n for n, size in enumerate(shape) if size > 1), None)
    if level is None:
        return None
    axis, start, view = level, 0, list[tuple[str, tuple[int, ...]]]()
    for step, given in place.view:
        if step == "transpose":
            shape, axis = tuple(shape[n] for n in given), given.index(axis)
        elif step == "reshape":
            before, rows = prod(shape[:axis]), shape[axis]
            same = (n for n, size in enumerate(given) if size == rows)
            found = next((n for n in same if prod(given[:n]) == before), None)
            if found is None:
                return None
            shape, axis = given, found
            given = (*given[:axis], count, *given[axis + 1 :])
        else:
            rank = len(shape)
            starts, stops, steps = (list(given[n : n + rank]) for n in (0, rank, 2 * rank))
            if steps[axis] != 1:
                return None
            bounds = zip(shape, starts, stops, steps, strict=True)
            shape = tuple(len(range(n)[a:b:c]) for n, a, b, c in bounds)
            start += starts[axis]
            starts[axis], stops[axis] = 0, count
            given = (*starts, *stops, *steps)
        view.append((step, given))
    physical = (*place.physical[:level], count, *place.physical[level + 1 :])
    part = replace(place, physical=physical, view=tuple(view))
    return _Axis(axis, start, place.physical[level], part)


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
    padded = _padded(place, cut.rank)
    if cut.axis is not None:
        found = _along(padded, count)
        assert found is not None, "only what views take along is cut"
        return found.part
    held = _held(padded)
    assert held is not None, "only what lies alike is cut"
    rows = (*([1] * (cut.lead - 1)), count)
    physical, sizes = (rows + own[cut.lead :] for own in (held.physical, held.sizes))
    starts = held.starts
    stops = tuple(a + n for a, n in zip(starts, sizes, strict=True))
    part = ("slice", (*starts, *stops, *([1] * len(sizes))))
    perm = tuple(int(axis) for axis in np.argsort(held.order))
    view = (*([part] if physical != sizes else []), ("transpose", perm))
    return replace(place, physical=physical, view=view)


def slice_of(place: Placed, cut: Cut, first: int, end: int) -> Placed:
    """Of an operand that is read whole the elements of some rows."""
    shape = _shape(place)
    own = -1 if cut.axis is None else cut.axis - (cut.rank - len(shape))
    if own < 0 or shape[own] == 1:
        return place
    starts, stops = [0] * len(shape), list(shape)
    starts[own], stops[own] = first, end
    return place.then("slice", (*starts, *stops, *([1] * len(shape))))


def span_of(place: Placed, cut: Cut, first: int, end: int) -> tuple[int, int]:
    """First byte and end of some rows of a cut operand or result, in its buffer."""
    start, held = 0, cut.rows
    if cut.axis is not None:
        found = _along(_padded(place, cut.rank))
        assert found is not None, "only what views take along is cut"
        start, held = found.start, found.held
    each = place.buffer.size_bytes // held
    return (start + first) * each, (start + end) * each


def steps_of(steps: Sequence[Step], cut: Cut, count: int) -> tuple[Step, ...]:
    """The steps of `count` rows."""
    return tuple(replace(s, elements=-(-s.elements * count // cut.rows)) for s in steps)
