"""Crossbars: by hand, against golden partial sums, and their noise against closed forms."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulators.analog.helpers import product
from tetrapla.ir.crossbar.mapping import Layout
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import noise
from tetrapla.simulators.analog.adc import convert
from tetrapla.simulators.analog.cells import programmed
from tetrapla.simulators.analog.crossbar import (
    digits_of,
    folded,
    folds,
    sliced,
)
from tetrapla.simulators.analog.mapping import targets
from tetrapla.simulators.analog.program import Product, Tile
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec

GOLDEN = Path(__file__).parents[3] / "tetrapla" / "data" / "golden" / "analog"


def isaac(*overrides: str) -> AnalogSpec:
    return load_spec("isaac", AnalogSpec, overrides).spec


def one_tile(matrix: Array, slices: int = 4) -> Product:
    rows, outputs = matrix.shape
    return product(matrix, (Tile(0, rows, 0, outputs, (0,) * slices),), slices)


def test_a_tiny_crossbar_by_hand() -> None:
    # 5 = 1 + 1 * 4 on the positive columns, -3 = 3 + 0 * 4 on the negative ones
    matrix = np.array([[5], [-3]])
    levels = targets(one_tile(matrix, 2), one_tile(matrix, 2).tiles[0], isaac())
    assert levels.tolist() == [[1, 1, 0, 0], [0, 0, 3, 0]]
    # inputs 3 and 1: bit 0 drives both rows, bit 1 the first
    inputs = np.array([3, 1], np.uint8)
    assert [digits_of(inputs, t, 1).tolist() for t in range(2)] == [[1, 1], [1, 0]]
    # bit 0: +(1 + 4) - 3 = 2; bit 1: 2 * (1 + 4) = 10
    spec = isaac().ideal()
    y = sliced(one_tile(matrix, 2), spec, inputs.reshape(1, 1, 2), Key(0))
    assert y.tolist() == [[[12]]]


def test_an_adc_rounds_half_to_even_and_clips() -> None:
    sums = np.array([-3.0, 0.5, 1.5, 14.6, 99.0])
    adc = isaac("adc.bits=4 bit").adc
    assert convert(sums, adc, 1.0).tolist() == [0, 0, 2, 15, 15]
    assert convert(sums, adc, 2.0).tolist() == [0, 0, 1, 7, 15]
    signed = isaac("adc.bits=4 bit", "adc.sign=signed").adc
    assert convert(sums, signed, 1.0).tolist() == [-3, 0, 2, 7, 7]
    assert convert(-10 * sums, signed, 1.0).tolist() == [7, -5, -8, -8, -8]


def test_partial_sums_equal_the_golden_ones() -> None:
    golden = np.load(GOLDEN / "bit_slicing.npz")
    weights, inputs = golden["Wq"], golden["Xq"]
    bits, slices = int(golden["bits_per_cell"]), int(golden["slices"])
    layout = Layout("differential", bits, slices)
    # [rows, sign, slice, outputs]
    levels = layout.levels(weights.T).reshape(slices, len(weights.T), 2, -1)
    levels = levels.transpose(1, 2, 0, 3)
    total: dict[int, Array] = {n: np.zeros(golden["Y"].shape) for n in (4, 6, 8, 9)}
    full = weights.shape[1] * ((1 << bits) - 1)
    for t in range(int(golden["input_bits"])):
        for sign in (0, 1):
            driven = digits_of(np.maximum(inputs * (1 - 2 * sign), 0), t, 1)
            sums = np.einsum("rpkj,rb->kpjb", levels, driven)
            assert np.array_equal(sums, golden["partial"][:, t, :, sign])
            for n, found in total.items():
                lossless = n >= int(golden["bits_lossless"])
                lsb = 1.0 if lossless else full / ((1 << n) - 1)
                adc = isaac(f"adc.bits={n} bit").adc
                values = convert(sums, adc, lsb) * lsb
                scale = 2.0 ** (np.arange(slices) * bits + t) * (1 - 2 * sign)
                found += np.einsum("kjb,k->jb", values[:, 0] - values[:, 1], scale)
    assert np.array_equal(total[9], golden["Y"])
    for n, found in total.items():
        # the golden sums were formed in another order
        assert found == pytest.approx(golden[f"Y_adc_{n}b"], rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_ideal_chip_gives_the_integer_product_sliced_and_folded(data: st.DataObject) -> None:
    rows, outputs = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 9))
    cell, dac = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    height = data.draw(st.integers(1, 16))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    spec = isaac(f"array.rows={height}", f"array.cell={cell} bit", f"dac.bits={dac} bit")
    spec = spec.ideal()
    matrix = rng.integers(-255, 256, (rows, outputs))
    slices = -(-8 // cell)
    cuts = [*range(0, rows, height), rows]
    tiles = tuple(
        Tile(top, bottom, left, min(left + 4, outputs), (0,) * slices)
        for top, bottom in pairwise(cuts)
        for left in range(0, outputs, 4)
    )
    layer = product(matrix, tiles, slices)
    inputs = rng.integers(0, 256, (3, 2, rows)).astype(np.uint8)
    exact = inputs.astype(np.int64) @ matrix
    assert folds(layer, spec)
    assert np.array_equal(folded(layer, inputs), exact)
    assert np.array_equal(sliced(layer, spec, inputs, Key(0)), exact)


def test_a_full_column_of_an_array_survives_a_lossless_adc_and_clips_without_a_bit() -> None:
    # every cell at level 3, every bit set: column sums are 384 of 384
    matrix, inputs = np.full((128, 1), 255), np.full((1, 1, 128), 255, np.uint8)
    spec = isaac().ideal()
    assert sliced(one_tile(matrix), spec, inputs, Key(0)).item() == 128 * 255 * 255
    short = spec.model_copy(update={"adc": spec.adc.model_copy(update={"bits": 8})})
    assert not folds(one_tile(matrix), short)
    # each code is 255 instead of 384
    assert sliced(one_tile(matrix), short, inputs, Key(0)).item() == 255 * 255 * 85


def test_an_array_whose_sums_need_26_bits_is_exact_too() -> None:
    # 1024 rows of 8-bit cells and 8-bit digits: sums to 66,585,600, more than float32 holds
    spec = isaac("array.rows=1024", "array.cell=8 bit", "dac.bits=8 bit").ideal()
    rng = np.random.default_rng(0)
    matrix = rng.integers(-255, 256, (1024, 3))
    inputs = rng.integers(0, 256, (2, 3, 1024)).astype(np.uint8)
    layer = one_tile(matrix, 1)
    assert np.array_equal(sliced(layer, spec, inputs, Key(0)), inputs.astype(np.int64) @ matrix)


def test_an_ideal_crossbar_is_linear_in_inputs_and_weights(rng: np.random.Generator) -> None:
    spec = isaac().ideal()
    a, b = rng.integers(0, 128, (2, 1, 4, 100)).astype(np.uint8)
    v, w = rng.integers(-127, 128, (2, 100, 6))

    def y(matrix: Array, inputs: Array) -> Array:
        return sliced(one_tile(matrix), spec, inputs, Key(0))

    assert np.array_equal(y(v, a + b), y(v, a) + y(v, b))
    assert np.array_equal(y(v + w, a), y(v, a) + y(w, a))
    assert np.array_equal(y(-v, a), -y(v, a))


def test_programmed_cells_are_on_a_grid_on_which_sums_are_exact() -> None:
    spec = isaac()
    rng = np.random.default_rng(3)
    cells = programmed(one_tile(rng.integers(-127, 128, (128, 16))), 0, spec, Key(1))
    assert cells.levels.dtype == np.float32
    steps = cells.levels.astype(np.float64) / cells.grid
    assert np.array_equal(steps, np.rint(steps))
    assert cells.grid <= 2.0**-13
    driven = rng.integers(0, 2, (50, 128)).astype(np.float32)
    for order in (slice(None), slice(None, None, -1)):
        sums = driven[:, order] @ cells.levels[order]
        assert np.array_equal(sums, driven.astype(np.float64) @ cells.levels.astype(np.float64))


def test_programmed_cells_have_the_devices_mean_and_spread() -> None:
    spec = isaac()
    d = spec.device
    unit = (d.g_max_siemens - d.g_min_siemens) / 3
    for level in range(4):
        # |w| = level (1 + 4 + 16 + 64): every slice of the positive part is at this level
        layer = one_tile(np.full((128, 16), 85 * level))
        cells = programmed(layer, 0, spec, Key(5)).levels.astype(np.float64)
        drawn = cells.reshape(128, 2, -1)[:, 0].ravel()
        mean, variance = d.device.moments(np.array([1e-6 + level * unit]), d.g_max_siemens)
        mean, sd = (mean[0] - d.g_min_siemens) / unit, sqrt(variance[0]) / unit
        n = drawn.size
        assert abs(drawn.mean() - mean) < 4 * sd / sqrt(n)
        # the standard error of a normal's sd; clipping only makes the tail lighter
        assert abs(drawn.std() - sd) < 4 * sd / sqrt(2 * n)


def test_read_noise_has_the_spread_of_the_closed_form() -> None:
    # 128 cells at level 1 of exact conductance, all driven: sum 128, sd f sqrt(128) per read
    frac = 0.05
    spec = isaac("device.model=exact", "device.g_min=0 uS", f"device.read_noise={frac}")
    layer = one_tile(np.full((128, 4), 85))
    inputs = np.full((500, 2, 128), 255, np.uint8)
    y = sliced(layer, spec, inputs, Key(1))
    # each of 8 x 4 codes is rounded, which adds 1/12 to its variance (sd 0.57 steps: to 1e-3)
    per_code = frac**2 * 128 + 1 / 12
    weights = sum(4.0**t for t in range(8)) * sum(16.0**k for k in range(4))
    sd = sqrt(per_code * weights)
    n = y.size
    assert abs(y.mean() - 128 * 255 * 85) < 4 * sd / sqrt(n)
    assert abs(y.std() - sd) < 4 * sd / sqrt(2 * n)
    # columns and reads are independent
    flat = (y - y.mean()).reshape(-1, 4) / y.std()
    correlation = flat.T @ flat / len(flat) - np.eye(4)
    assert np.abs(correlation).max() < 4 * sqrt(2 / len(flat))


def test_normals_of_reads_do_not_depend_on_where_they_are_cut() -> None:
    whole = noise.reading(Key(3, read=10), 2, 5, range(4), 0, 100)
    for start, count in ((0, 1), (3, 20), (8, 8), (91, 9)):
        part = noise.reading(Key(3, read=10), 2, 5, range(1, 3), start, count)
        assert np.array_equal(part, whole[1:3, start : start + count])
    shifted = noise.reading(Key(3, read=12), 2, 5, range(2), 0, 100)
    assert np.array_equal(shifted, whole[2:])


def test_normals_of_reads_are_standard() -> None:
    z = noise.reading(Key(0), 0, 0, range(50), 0, 4000).astype(np.float64).ravel()
    n = z.size
    assert abs(z.mean()) < 4 / sqrt(n)
    assert abs(z.var() - 1) < 4 * sqrt(2 / n)
    # kurtosis 3, standard error sqrt(96 / n)
    assert abs((z**4).mean() - 3) < 4 * sqrt(96 / n)
    for lag in (1, 2, 8):
        assert abs((z[:-lag] * z[lag:]).mean()) < 4 / sqrt(n)
