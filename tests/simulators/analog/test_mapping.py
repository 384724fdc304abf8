"""Weights in columns: by hand, and every scheme gives the exact product on an ideal chip."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulators.analog.helpers import product
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import mapping
from tetrapla.simulators.analog.crossbar import folded, folds, sliced
from tetrapla.simulators.analog.program import Tile
from tetrapla.simulators.analog.spec import AnalogSpec, lossless_bits
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec

# scheme, pairs, signed converters, topology
SCHEMES = [
    ("differential", 1, False, "input_source"),
    ("differential", 1, True, "input_source"),
    ("differential", 1, True, "interleaved"),
    ("differential", 1, False, "gated"),
    ("differential", 1, True, "gated_interleaved"),
    ("n_pair", 3, False, "input_source"),
    ("n_pair", 2, True, "interleaved"),
    ("offset_column", 1, False, "input_source"),
    ("digital_offset", 1, False, "gated"),
]


def isaac(*overrides: str) -> AnalogSpec:
    return load_spec("isaac", AnalogSpec, overrides).spec


def chip(scheme: tuple[str, int, bool, str], *more: str) -> AnalogSpec:
    weights, pairs, signed, topology = scheme
    sign = "signed" if signed else "unsigned"
    return isaac(
        f"mapping.weights={weights}",
        f"mapping.pairs={pairs}",
        f"adc.sign={sign}",
        f"array.topology={topology}",
        *more,
    )


def levels(matrix: Array, spec: AnalogSpec, slices: int) -> list[list[int]]:
    tile = Tile(0, len(matrix), 0, matrix.shape[1], (0,) * slices)
    found: list[list[int]] = mapping.targets(
        product(matrix, (tile,), slices), tile, spec
    ).tolist()
    return found


def test_a_pair_of_weights_by_hand_in_every_scheme() -> None:
    # 5 = 1 + 1 * 4 and -3 = -(3 + 0 * 4), in slices of 2 bits; columns [sign, slice, output]
    matrix = np.array([[5, -3]])
    assert levels(matrix, isaac(), 2) == [[1, 0, 1, 0, 0, 3, 0, 0]]
    # 5 + 8 = 13 = 1 + 3 * 4, -3 + 8 = 5 = 1 + 1 * 4; 8 = 0 + 2 * 4 behind each slice
    offset = isaac("mapping.weights=offset_column")
    assert levels(matrix, offset, 2) == [[1, 1, 0, 3, 1, 2]]
    assert levels(matrix, isaac("mapping.weights=digital_offset"), 2) == [[1, 1, 3, 1]]
    # two cells share a level of up to 6, of which a slice takes 2 bits: 1 = 0 + 1, 3 = 1 + 2
    two = isaac("mapping.weights=n_pair", "mapping.pairs=2")
    assert levels(matrix, two, 2) == [[0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 2, 0, 0]]


def test_columns_and_conversions_by_hand() -> None:
    matrix, tile = np.zeros((4, 10)), Tile(0, 4, 0, 10, (0, 0, 0))
    one = product(matrix, (tile,), 3)
    counted = {}
    for scheme in SCHEMES:
        made = mapping.columns(one, tile, chip(scheme))
        counted[scheme] = made.count, made.conversions
    # 3 slices of 10 outputs; a pair has two columns, N pairs 2 N, an offset's column 11 for 10
    assert list(counted.values()) == [
        (60, 60),
        (60, 30),
        (60, 30),
        (60, 60),
        (60, 30),
        (180, 60),
        (120, 30),
        (33, 33),
        (30, 30),
    ]


@pytest.mark.parametrize(
    ("scheme", "outputs"),
    list(zip(SCHEMES, (16, 16, 32, 16, 32, 5, 16, 31, 32), strict=True)),
)
def test_how_many_outputs_fit_an_array_of_128_columns(
    scheme: tuple[str, int, bool, str], outputs: int
) -> None:
    # 4 slices; interleaved arrays have both cells of a pair on one bit line
    assert mapping.most_outputs(4, chip(scheme)) == outputs


def test_slices_are_as_many_as_the_scheme_needs() -> None:
    high, low = np.array([[127]]), np.array([[-128]])
    wide = np.array([[255], [-255]])
    pairs, offset = isaac(), isaac("mapping.weights=digital_offset")
    assert [mapping.slices(w, pairs) for w in (high, low, wide)] == [4, 4, 4]
    # with an offset 8 bits hold -128..127, and 9 bits -256..255
    assert [mapping.slices(w, offset) for w in (high, low, wide)] == [4, 4, 5]


def test_a_weight_that_the_slices_cannot_hold_is_refused() -> None:
    with pytest.raises(ModelError) as raised:
        levels(np.array([[300]]), isaac(), 4)
    assert str(raised.value) == (
        "weights must lie in -255..255, which differential holds in 4 slices of 2-bit cells, "
        "not 300 to 300; use more slices or bits a cell"
    )


def test_lossless_bits_count_the_sign_and_the_pairs() -> None:
    # 128 rows of level 3 are 384: 9 bits, one more for the sign, 1152 with three pairs
    assert lossless_bits(isaac(), 128) == 9
    assert lossless_bits(isaac("adc.sign=signed"), 128) == 10
    assert lossless_bits(isaac("mapping.weights=n_pair", "mapping.pairs=3"), 128) == 11


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_every_scheme_gives_the_integer_product_on_an_ideal_chip(data: st.DataObject) -> None:
    rows, outputs = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 9))
    cell, dac = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 5))
    scheme = data.draw(st.sampled_from(SCHEMES))
    bits = f"array.cell={cell} bit", f"dac.bits={dac} bit"
    spec = chip(scheme, *bits, f"array.rows={height}").ideal()
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    matrix = rng.integers(-255, 256, (rows, outputs))
    slices = mapping.slices(matrix, spec)
    cuts = list(pairwise([*range(0, rows, height), rows]))
    tiles = tuple(
        Tile(top, bottom, left, min(left + width, outputs), (0,) * slices)
        for top, bottom in cuts
        for left in range(0, outputs, width)
    )
    one = product(matrix, tiles, slices)
    inputs = rng.integers(0, 256, (2, 2, rows)).astype(np.uint8)
    exact = inputs.astype(np.int64) @ matrix
    assert folds(one, spec)
    assert np.array_equal(folded(one, inputs), exact)
    assert np.array_equal(sliced(one, spec, inputs, Key(0)), exact)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_bit_less_than_lossless_loses_a_full_column(
    scheme: tuple[str, int, bool, str],
) -> None:
    # 24 rows, all cells of the largest weight at the top level, all rows driven
    spec = chip(scheme, "array.rows=24").ideal()
    slices = 2
    high = mapping.columns(
        product(np.zeros((1, 1)), (), slices), Tile(0, 1, 0, 1, (0,) * slices), spec
    ).layout.limits[1]
    matrix = np.full((24, 1), high)
    one = product(matrix, (Tile(0, 24, 0, 1, (0,) * slices),), slices)
    inputs = np.full((1, 1, 24), 255, np.uint8)
    assert sliced(one, spec, inputs, Key(0)).item() == 24 * 255 * high
    adc = spec.adc.model_copy(update={"bits": lossless_bits(spec, 24) - 1})
    short = spec.model_copy(update={"adc": adc})
    assert not folds(one, short)
    assert sliced(one, short, inputs, Key(0)).item() < 24 * 255 * high
