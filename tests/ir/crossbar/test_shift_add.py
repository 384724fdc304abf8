"""Shift and add: by hand, against golden partial sums and plain products."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tetrapla
from tetrapla.ir.crossbar.mapping import Layout
from tetrapla.ir.crossbar.shift_add import ShiftAdd, numbers, paired, shift_add
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array

GOLDEN = Path(tetrapla.__file__).parent / "data" / "golden" / "analog"
PLAIN = ShiftAdd((0,), (False,), 1, False, 8, "unsigned", 32, "saturate")


def of_slices(slices: int, cell_bits: int, **fields: Any) -> ShiftAdd:
    shifts, negative = paired(range(0, slices * cell_bits, cell_bits))
    return replace(PLAIN, shifts=shifts, negative=negative, **fields)


def test_two_digits_of_two_parts_by_hand() -> None:
    codes = np.array([[[3], [1]], [[2], [5]]])  # [digit, part, column]
    how = replace(PLAIN, shifts=(0, 2), negative=(False, True), digit_bits=3)
    # 3 - 1 x 4 + (2 - 5 x 4) x 8
    assert shift_add(codes, how)[0].tolist() == [-145]
    # the signs' plane counts the other way: -1 + 18 x 8
    assert shift_add(codes, replace(how, signed_inputs=True))[0].tolist() == [143]


def test_codes_count_as_their_format_says() -> None:
    words = np.array([0, 1, 7, 8, 15])
    four = replace(PLAIN, code_bits=4)
    assert numbers(words, four).tolist() == [0, 1, 7, 8, 15]
    assert numbers(words, replace(four, code_format="offset")).tolist() == [-8, -7, -1, 0, 7]
    assert numbers(words, replace(four, code_format="signed")).tolist() == [0, 1, 7, -8, -1]


def test_a_sum_saturates_or_wraps_at_every_addition() -> None:
    codes = np.array([[[100], [100], [90]]])
    how = replace(
        PLAIN, shifts=(0, 0, 0), negative=(False, False, True), sum_bits=8, overflow="wrap"
    )
    # 100, 127 (200), 127 - 90 = 37; 100, 200 - 256 = -56, -146 + 256 = 110
    for changes, product, left in (
        ({"overflow": "saturate"}, 37, True),
        ({}, 110, True),
        ({"sum_bits": 9}, 110, False),
    ):
        found, out = shift_add(codes, replace(how, **changes))
        assert (found.item(), out.item()) == (product, left)


@pytest.mark.parametrize("shift", [12, 13, 40, 2000])
def test_a_shift_beyond_the_sum_is_one_out_of_it(shift: int) -> None:
    codes = np.array([[[1, 0, 200]]])
    how = replace(PLAIN, shifts=(shift,), negative=(True,), sum_bits=12)
    found, left = shift_add(codes, how)
    assert found.tolist() == [-2048, 0, -2048]
    assert left.tolist() == [True, False, True]
    assert shift_add(codes, replace(how, overflow="wrap"))[0].tolist() == [0, 0, 0]


def lossless_codes(x: Array, w: Array, digits: int, slices: int, cell_bits: int) -> Array:
    """Sums of every digit and part, [digits, 2 slices, n, outputs]; bits one by one."""
    levels = Layout("differential", cell_bits, slices).levels(w)
    signs = levels.reshape(slices, len(w), 2, -1).transpose(2, 0, 1, 3)
    # two's complement: the lowest `digits` bits
    planes = [(x >> t & 1)[None] @ signs.reshape(-1, *signs.shape[2:]) for t in range(digits)]
    return np.stack(planes).astype(np.int64)


def test_lossless_codes_give_the_plain_product(rng: np.random.Generator) -> None:
    x, w = rng.integers(-128, 128, (40, 96)), rng.integers(-127, 128, (96, 7))
    codes = lossless_codes(x, w, 8, 4, 2)
    found, left = shift_add(codes, of_slices(4, 2, signed_inputs=True, code_bits=9))
    assert np.array_equal(found, x @ w)
    assert not left.any()


def test_it_is_the_golden_product() -> None:
    with np.load(GOLDEN / "bit_slicing.npz") as golden:
        partial, product = golden["partial"], golden["Y"]
        cell_bits, bits = int(golden["bits_per_cell"]), int(golden["bits_lossless"])
    slices, digits = partial.shape[:2]
    # [slice, digit, weight sign, input sign, ...] to [digit, parts, ...]
    codes = np.moveaxis(partial, 0, 3).reshape(digits, 4 * slices, *partial.shape[4:])
    shifts = tuple(range(0, slices * cell_bits, cell_bits))
    negative = tuple(sign in (1, 2) for sign in range(4) for _ in shifts)
    how = replace(PLAIN, shifts=shifts * 4, negative=negative, code_bits=bits)
    assert np.array_equal(shift_add(codes, how)[0], product)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"negative": ()},
            "shift_add must have a shift of 0 or more and a sign for each part, not 1 shifts "
            "and 0 signs; give one each",
        ),
        (
            {"sum_bits": 1},
            "shift_add must have codes of 1 bit and sums of 2 bits at least, not 8 and 1; "
            "widen them",
        ),
        (
            {"sum_bits": 54},
            "shift_add must have at most 61 bits in a code and a sum together, not 8 and 54; "
            "narrow one",
        ),
    ],
)
def test_widths_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError) as caught:
        replace(PLAIN, **changes)
    assert str(caught.value) == message


def test_a_code_of_more_bits_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        shift_add(np.array([[[3, 256]]]), PLAIN)
    assert str(caught.value) == (
        "codes must be words of 8 bits, not 3 to 256; convert with as many bits as the shift "
        "and add has"
    )
