"""How far a routine can be cut into rows: by its layouts, its axes and what it broadcasts."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.backends.systolic.layout import Buffer, Placed
from tetrapla.backends.systolic.vector.cuts import (
    WHOLE,
    Cut,
    cut_of,
    part_of,
    slice_of,
    span_of,
)
from tetrapla.simulators.systolic.views import View


def place(physical: tuple[int, ...], *view: tuple[str, tuple[int, ...]]) -> Placed:
    return Placed(Buffer(int(np.prod(physical)), 0, 0), physical, view, "i8")


LAST = ("transpose", (0, 3, 1, 2))  # an image whose channels lie last
RIGHT: View = (("slice", (0, 0, 0, 4, 2, 3, 5, 7, 1, 1, 1, 1)), LAST)


@pytest.mark.parametrize(
    ("places", "shape", "kept", "rows", "numbers"),
    [
        # softmax along the last axis: all others are rows
        ([place((2, 3, 4)), place((2, 3, 4))], (2, 3, 4), {2}, 6, {0, 1}),
        # along the middle one: only what lies outside of it
        ([place((2, 3, 4)), place((2, 3, 4))], (2, 3, 4), {1}, 2, {0, 1}),
        ([place((1, 3, 4)), place((1, 3, 4))], (1, 3, 4), {1}, 1, set[int]()),
        # gamma is read whole
        ([place((2, 3, 4)), place((4,)), place((2, 3, 4))], (2, 3, 4), {2}, 6, {0, 2}),
        # a residual of a lower rank is cut with the others
        ([place((1, 3, 4)), place((3, 4)), place((1, 3, 4))], (1, 3, 4), {2}, 3, {0, 1, 2}),
        # a scale by channel of an image: rows are pixels, or images where it has its own
        ([place((2, 3, 5, 4), LAST), place((1, 4, 1, 1))], (2, 4, 3, 5), set[int](), 30, {0}),
        ([place((2, 3, 5, 4), LAST), place((2, 4, 1, 1))], (2, 4, 3, 5), set[int](), 1, set()),
        # channels last and channels second do not lie alike beyond the images
        ([place((2, 3, 5, 4), LAST), place((2, 4, 3, 5))], (2, 4, 3, 5), set[int](), 2, {0, 1}),
        # a result among the channels of another: its rows are whole pixels of both
        (
            [place((2, 3, 5, 3), LAST), place((2, 3, 5, 7), *RIGHT)],
            (2, 3, 3, 5),
            {1},
            30,
            {0, 1},
        ),
    ],
)
def test_the_rows_of_a_routine(
    places: list[Placed],
    shape: tuple[int, ...],
    kept: set[int],
    rows: int,
    numbers: set[int],
) -> None:
    found = cut_of(dict(enumerate(places)), shape, kept)
    assert (found.rows, set(found.numbers)) == (rows, numbers)


def test_a_part_is_a_share_of_the_buffer() -> None:
    whole = place((2, 3, 5, 7), *RIGHT)
    part = part_of(whole, Cut(30, 3, frozenset({0}), 4), 10)
    assert part.physical == (1, 1, 10, 7)
    share = whole.positions().transpose(0, 2, 3, 1).reshape(30, 3)[:10]
    np.testing.assert_array_equal(part.positions().reshape(3, 10).T, share)


SHUFFLED: View = (
    LAST,
    ("reshape", (1, 2, 4, 12, 5)),
    ("transpose", (0, 2, 1, 3, 4)),
    ("reshape", (1, 8, 12, 5)),
    ("slice", (0, 0, 0, 0, 1, 4, 12, 5, 1, 1, 1, 1)),
)


def test_rows_are_followed_through_a_view_that_no_stride_describes() -> None:
    source, target = place((1, 12, 5, 8), *SHUFFLED), place((1, 12, 5, 4), LAST)
    found = cut_of({0: source, 1: target}, (1, 4, 12, 5), set(), [1])
    assert (found.rows, found.axis, set(found.numbers)) == (12, 2, {0, 1})
    for whole in (source, target):
        start, end = span_of(whole, found, 3, 7)
        part = part_of(whole, found, 4)
        assert end - start == np.prod(part.physical)
        np.testing.assert_array_equal(part.positions() + start, whole.positions()[:, :, 3:7])


def test_a_result_among_the_rows_of_another_has_its_stretch() -> None:
    target = place((9, 4), ("slice", (2, 0, 8, 4, 1, 1)))
    found = cut_of({0: place((6, 4)), 1: target}, (6, 4), set(), [1])
    assert (found.rows, set(found.numbers)) == (6, {0, 1})
    assert span_of(target, found, 1, 3) == (12, 20)  # rows 3 and 4 of 4 bytes
    assert part_of(target, found, 2).positions().tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_an_operand_that_lies_otherwise_is_whole_and_sliced() -> None:
    other, target = place((1, 4, 12, 5)), place((1, 12, 5, 4), LAST)
    found = cut_of({0: other, 1: target}, (1, 4, 12, 5), set(), [1])
    assert (found.rows, set(found.numbers)) == (12, {1})
    part = slice_of(other, found, 3, 7)
    np.testing.assert_array_equal(part.positions(), other.positions()[:, :, 3:7])
    assert slice_of(place((5,)), found, 3, 7).view == ()  # of all rows the same


def test_rows_that_depend_on_each_other_stay_together() -> None:
    other, target = place((1, 4, 12, 5)), place((1, 12, 5, 4), LAST)
    assert cut_of({0: other, 1: target}, (1, 4, 12, 5), {2}, [1]) == WHOLE


def test_two_parts_of_a_buffer_are_not_cut() -> None:
    held = place((12, 4))
    first, second = (held.then("slice", (start, 0, start + 6, 4, 1, 1)) for start in (0, 6))
    found = cut_of({0: first, 1: second, 2: place((6, 4))}, (6, 4), set(), [2])
    assert (found.rows, set(found.numbers)) == (6, {2})
