"""Faults: shares, what a line does to its cells, and that an address alone decides."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from tetrapla.ir.errors import SpecError
from tetrapla.simulators.analog.devices.faults import Defects, Faults, defects
from tetrapla.simulators.random_ import Key

LOW, HIGH = 1e-6, 25e-6
ROWS, COLUMNS = 200, 150
KEY = Key(3, chip=4, layer=1, tile=2)


def cells(rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    return np.linspace(2e-6, 20e-6, rows * columns).reshape(rows, columns)


def working(rows: int, columns: int) -> Defects:
    """Nothing broken."""
    return defects(Faults(), KEY, rows, columns)


def test_no_faults_leave_every_cell_bit_by_bit() -> None:
    assert Faults().none
    assert np.array_equal(working(ROWS, COLUMNS).applied(cells(), LOW, HIGH), cells())
    sigma = cells() / 10
    assert np.array_equal(working(ROWS, COLUMNS).variance(sigma), sigma * sigma)


@pytest.mark.parametrize("name", [entry for entry in Faults.__dataclass_fields__])
def test_any_fault_at_zero_does_nothing_and_above_does_something(name: str) -> None:
    faults = Faults(**{name: 0.1})
    assert not faults.none
    found = defects(faults, KEY, ROWS, COLUMNS).applied(cells(), LOW, HIGH)
    assert not np.array_equal(found, cells())
    none = defects(Faults(**{name: 0.0}), KEY, ROWS, COLUMNS)
    assert np.array_equal(none.applied(cells(), LOW, HIGH), cells())


def test_stuck_cells_are_shares_of_the_cells() -> None:
    found = defects(Faults(stuck_low_frac=0.1, stuck_high_frac=0.05), KEY, ROWS, COLUMNS)
    n = ROWS * COLUMNS
    for value, share in ((-1, 0.1), (1, 0.05)):
        # binomial: sd sqrt(p (1 - p) / n)
        assert abs((found.stuck == value).mean() - share) < 4 * sqrt(share * (1 - share) / n)
    held = found.applied(cells(), LOW, HIGH)
    assert (held[found.stuck < 0] == LOW).all()
    assert (held[found.stuck > 0] == HIGH).all()
    free = found.stuck == 0
    assert np.array_equal(held[free], cells()[free])


def test_a_higher_share_keeps_the_cells_of_a_lower_one() -> None:
    few = defects(Faults(stuck_low_frac=0.01, stuck_high_frac=0.02), KEY, ROWS, COLUMNS)
    many = defects(Faults(stuck_low_frac=0.1, stuck_high_frac=0.2), KEY, ROWS, COLUMNS)
    assert (many.stuck[few.stuck != 0] == few.stuck[few.stuck != 0]).all()


def test_every_cell_can_be_stuck_one_way_or_the_other() -> None:
    found = defects(Faults(stuck_low_frac=0.25, stuck_high_frac=0.75), KEY, ROWS, COLUMNS)
    assert (found.stuck != 0).all()
    assert set(np.unique(found.applied(cells(), LOW, HIGH))) == {LOW, HIGH}


def test_an_open_word_line_drives_nothing_and_an_open_bit_line_reads_nothing() -> None:
    found = defects(Faults(open_row_frac=0.1, open_column_frac=0.2), KEY, ROWS, COLUMNS)
    held = found.applied(cells(), LOW, HIGH)
    assert 5 < found.open_rows.sum() < 40
    assert 12 < found.open_columns.sum() < 50
    assert not held[found.open_rows].any()
    assert not held[:, found.open_columns].any()
    rest = np.ix_(~found.open_rows, ~found.open_columns)
    assert np.array_equal(held[rest], cells()[rest])


def grouped(rows: list[int], columns: list[int]) -> Defects:
    """Lines that touch, by the first line of their group."""
    none = working(len(rows), len(columns))
    return Defects(
        none.factor,
        none.stuck,
        none.open_rows,
        none.open_columns,
        np.array(rows),
        np.array(columns),
    )


def test_word_lines_that_touch_share_their_voltages() -> None:
    # lines 1 and 2 touch: both carry (x1 + x2) / 2
    g = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0], [2.0, 1.0]])
    x = np.array([1.0, 6.0, 2.0, 3.0])
    held = grouped([0, 1, 1, 3], [0, 1]).applied(g, 0.0, 9.0)
    assert np.allclose(x @ held, np.array([1.0, 4.0, 4.0, 3.0]) @ g, rtol=1e-15)


def test_bit_lines_that_touch_share_their_currents() -> None:
    g = np.array([[1.0, 2.0, 6.0, 4.0], [3.0, 4.0, 5.0, 8.0]])
    x = np.array([1.0, 2.0])
    held = grouped([0, 1], [0, 0, 0, 3]).applied(g, 0.0, 9.0)
    currents = x @ g  # 7, 10, 16, 20: the first three carry their mean, 11
    assert np.allclose(x @ held, [11.0, 11.0, 11.0, currents[3]], rtol=1e-15)


def test_shorted_lines_run_on_as_long_as_each_touches_the_next() -> None:
    found = defects(Faults(short_row_frac=1.0, short_column_frac=0.3), KEY, ROWS, COLUMNS)
    assert not found.row_group.any()  # all in one
    group = found.column_group
    assert group[0] == 0
    # a line is the first of its group or in the group of the line before it
    starts = group == np.arange(COLUMNS)
    assert (group[1:][~starts[1:]] == group[:-1][~starts[1:]]).all()
    share = 1 - starts[1:].mean()
    assert abs(share - 0.3) < 4 * sqrt(0.3 * 0.7 / (COLUMNS - 1))


def test_the_noise_of_touching_word_lines_is_never_taken_too_small() -> None:
    sigma = np.array([[0.1], [0.3], [0.2]])
    found = grouped([0, 0, 2], [0]).variance(sigma)
    for x in (np.array([1.0, 1.0, 2.0]), np.array([3.0, 1.0, 0.0])):
        shared = np.array([(x[0] + x[1]) / 2, (x[0] + x[1]) / 2, x[2]])
        true = (shared**2) @ sigma**2
        assert (x * x) @ found >= true * (1 - 1e-12)
    equal = np.array([2.0, 2.0, 1.0])
    assert (equal * equal) @ found == pytest.approx((equal * equal) @ sigma**2, rel=1e-12)


def test_stuck_cells_are_silent() -> None:
    found = defects(Faults(stuck_low_frac=0.3), KEY, ROWS, COLUMNS)
    variance = found.variance(np.full((ROWS, COLUMNS), 0.1))
    assert np.array_equal(variance == 0, found.stuck != 0)


def test_devices_differ_by_a_factor_that_lasts() -> None:
    found = defects(Faults(spread_frac=0.05), KEY, ROWS, COLUMNS)
    assert found.factor is not None
    n = found.factor.size
    assert abs(found.factor.mean() - 1) < 4 * 0.05 / sqrt(n)
    assert abs(found.factor.std() - 0.05) < 4 * 0.05 / sqrt(2 * n)
    assert np.array_equal(found.applied(cells(), LOW, HIGH), cells() * found.factor)
    # a read of a device that conducts more is noisier by as much
    assert np.allclose(found.variance(cells()), (cells() * found.factor) ** 2, rtol=1e-15)
    wide = defects(Faults(spread_frac=2.0), KEY, ROWS, COLUMNS)
    assert wide.factor is not None
    assert wide.factor.min() == 0


ALL = Faults(0.02, 0.03, 0.1, 0.1, 0.1, 0.1, 0.1)


def test_an_address_alone_decides_what_is_broken() -> None:
    first = defects(ALL, KEY, ROWS, COLUMNS).applied(cells(), LOW, HIGH)
    for tile in (7, 2, 0):  # in another order, with others between
        found = defects(ALL, KEY.at(tile=tile), ROWS, COLUMNS).applied(cells(), LOW, HIGH)
        assert np.array_equal(found, first) == (tile == 2)
    assert not np.array_equal(defects(ALL, KEY.at(chip=5), ROWS, COLUMNS).stuck, 0)
    # nor does the read that runs on it
    again = defects(ALL, KEY.at(read=99), ROWS, COLUMNS).applied(cells(), LOW, HIGH)
    assert np.array_equal(again, first)


def test_every_kind_of_fault_has_numbers_of_its_own() -> None:
    alone = defects(Faults(open_row_frac=0.1), KEY, ROWS, COLUMNS)
    together = defects(ALL, KEY, ROWS, COLUMNS)
    assert np.array_equal(alone.open_rows, together.open_rows)
    assert not np.array_equal(together.open_rows[:COLUMNS], together.open_columns)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_share_is_between_nothing_and_all(value: float) -> None:
    with pytest.raises(SpecError) as error:
        Faults(open_row_frac=value)
    assert str(error.value) == (
        f"open_row_frac must be a share from 0 to 1, not {value}; 0 for none"
    )


def test_no_cell_is_stuck_twice() -> None:
    with pytest.raises(SpecError) as error:
        Faults(stuck_low_frac=0.7, stuck_high_frac=0.5)
    assert str(error.value) == (
        "stuck_low_frac and stuck_high_frac must be 1 together at most, not 1.2; a cell is "
        "stuck at one end"
    )


@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_the_spread_of_devices_is_finite(value: float) -> None:
    with pytest.raises(SpecError) as error:
        Faults(spread_frac=value)
    assert str(error.value) == (
        f"spread_frac must be a finite number from 0 up, not {value}; 0 makes all devices alike"
    )
