"""Grids of reads: sums exact in any order, and variances near enough to the exact ones."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.simulators.analog.grids import gridded, gridded_variances, squares
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.spec_ import load_spec


def chip(rows: int, cell: int, dac: int) -> AnalogSpec:
    changes = (f"array.rows={rows}", f"array.cell={cell} bit", f"dac.bits={dac} bit")
    return load_spec("isaac", AnalogSpec, changes).spec


@pytest.mark.parametrize(
    ("rows", "cell", "dac"), [(128, 2, 1), (128, 8, 8), (1024, 8, 8), (512, 7, 4), (7, 8, 8)]
)
def test_sums_of_variances_are_exact_in_any_order(
    rng: np.random.Generator, rows: int, cell: int, dac: int
) -> None:
    spec = chip(rows, cell, dac)
    values = rng.exponential(3, (rows, 9))
    if cell > 2:
        # a column's grid is its own where there are few bits
        values *= 10.0 ** rng.integers(-3, 3, 9)
    held = gridded_variances(values, spec)
    # a digit at its highest, a vector of small ones, and one of none
    driven = rng.integers(0, 1 << dac, (6, rows)).astype(np.float32)
    driven[0], driven[1], driven[2] = (1 << dac) - 1, driven[1] % 3, 0
    parts, unit = squares(driven, spec)
    exact = parts.astype(np.float64) @ held.astype(np.float64)
    for order in (np.arange(rows), np.arange(rows)[::-1], rng.permutation(rows)):
        total = np.zeros((6, 9), np.float32)
        for row in order:
            total += parts[:, row, None] * held[row]
        assert np.array_equal(total, exact)
        assert np.array_equal(parts[:, order] @ held[order], exact)
    found = exact if unit is None else exact * unit
    wanted = driven.astype(np.float64) ** 2 @ values
    # a column has 2^15 units or more, a vector 2^7 to 2^8: four standard errors of rounding,
    # which goes both ways
    off = 4 * (0.29 * rows / 2**15 + 0.29 / 2**6) / np.sqrt(rows)
    assert (np.abs(found - wanted) <= off * wanted).all()
    assert (found[2] == 0).all()


@pytest.mark.parametrize("dac", [1, 4, 5, 8])
def test_squares_are_exact_to_eight_bits_of_a_vectors_largest(
    rng: np.random.Generator, dac: int
) -> None:
    spec = chip(128, 8, dac)
    driven = rng.integers(0, 1 << dac, (40, 128)).astype(np.float32)
    driven[0] = 0
    driven[1:10] %= 7
    parts, unit = squares(driven, spec)
    assert parts.dtype == np.float32
    assert np.array_equal(parts, np.rint(parts))
    assert parts.max() <= 256
    if unit is None:
        assert np.array_equal(parts, driven**2)
        assert dac <= 4
        return
    assert np.array_equal(np.frexp(unit)[0], np.full_like(unit, 0.5))
    assert (unit[:10] == 1).all()
    largest = (driven**2).max(axis=1, keepdims=True)
    assert (np.abs(parts * unit - driven**2) <= unit / 2).all()
    assert (unit <= np.maximum(1, largest / 128)).all()


@pytest.mark.parametrize("rows", [1, 33, 1024])
def test_compiled_squares_are_the_plain_ones(rng: np.random.Generator, rows: int) -> None:
    pytest.importorskip("numba", reason="the extra `fast` is not installed")
    spec = chip(1024, 8, 8)
    driven = rng.integers(0, 256, (300, rows)).astype(np.float32)
    driven[:256] = np.minimum(driven[:256], np.arange(256)[:, None])
    plain, compiled = squares(driven, spec), squares(driven, spec, fast=True)
    for one, other in zip(plain, compiled, strict=True):
        assert one is not None
        assert other is not None
        assert one.dtype == other.dtype == np.float32
        assert np.array_equal(one, other)


def test_whole_levels_are_kept_in_float32_as_long_as_their_sums_are() -> None:
    spec = chip(1024, 8, 8)
    weights = np.tile([[127.0], [-127.0]], (512, 3))
    held, grid = gridded(weights, spec)
    assert held.dtype == np.float32
    assert grid == 1.0
    assert np.array_equal(held, weights)
    # one sign alone: 1024 x 127 x 255 is more than 2^24
    held, grid = gridded(np.abs(weights), spec)
    assert held.dtype == np.float64
    assert np.array_equal(held, np.abs(weights))
    held, grid = gridded(weights + 0.25, spec)
    assert held.dtype == np.float64
    assert grid < 2.0**-20
