"""How far a routine can be cut into rows: by its layouts, its axes and what it broadcasts."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.backends.systolic.layout import Buffer, Placed
from tetrapla.backends.systolic.vector.cuts import Cut, cut_of, part_of
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
