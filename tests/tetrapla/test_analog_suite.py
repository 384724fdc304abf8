"""`validate analog`: every bound holds, a changed table breaks it, counts by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from tetrapla.ir.errors import ModelError
from tetrapla.suites import analog_chips_, analog_circuits_, analog_digits_, analog_neurram_
from tetrapla.suites.analog_neurram_ import Work, work
from tetrapla.validation import GOLDEN, Row


@pytest.fixture(scope="module")
def rows(shipped: Callable[[str], list[Row]]) -> list[Row]:
    return shipped("analog")


def named(rows: list[Row], case: str, quantity: str) -> Row:
    (found,) = [row for row in rows if (row.case, row.quantity) == (case, quantity)]
    return found


def changed(tmp_path: Path, table: str, old: str, new: str) -> Path:
    """The golden data with one text of a table replaced."""
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN / "analog", folder / "analog")
    path = folder / "analog" / table
    text = path.read_text("utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), "utf-8")
    return folder


def test_every_bounded_row_is_within_its_bound(rows: list[Row]) -> None:
    assert [
        (row.case, row.quantity, row.rel_error) for row in rows if row.passed is False
    ] == []
    assert all(row.source for row in rows)
    assert len({(row.case, row.quantity) for row in rows}) == len(rows)


def test_what_the_issue_asks_for_is_there_with_its_bound(rows: list[Row]) -> None:
    closures = [row for row in rows if row.case == "isaac" and row.bound is not None]
    assert {row.bound for row in closures} == {0.005}
    assert {row.published for row in closures} >= {330.0, 65.8, 85.4, 41.29}
    neurram = [row for row in rows if row.quantity in ("tops", "tops_per_w")]
    neurram = [row for row in neurram if row.case.startswith("neurram")]
    assert len(neurram) == 2 * 10
    assert all(row.bound is not None and row.bound <= 0.10 for row in neurram)
    assert all("in-sample" in row.source for row in neurram)
    circuits = [row for row in rows if row.case.startswith("circuit ")]
    assert len(circuits) == 2 * 13
    assert {row.bound for row in circuits} == {1e-10}
    drift = [row for row in rows if row.quantity in ("mean", "sd")]
    assert len(drift) == 2 * 270
    assert {row.bound for row in drift} == {0.005}
    assert named(rows, "hermes", "energy_per_mac").published == 205.0


def test_the_classifiers_bound_is_four_errors_of_a_difference_of_means(rows: list[Row]) -> None:
    # 200 seeds of theirs with sd 0.002761, 20 of ours
    row = named(rows, "digits prop_balanced 0.1", "first_layer_error")
    assert row.bound == pytest.approx(
        4 * 0.002761 * sqrt(1 / 20 + 1 / 200) / 0.063036026, rel=1e-12
    )
    assert row.rel_error != 0
    without = named(rows, "digits ir_drop 0.001", "first_layer_error")
    assert without.bound == 1e-7


@pytest.mark.parametrize(
    ("table", "old", "new", "case"),
    [
        ("neurram.csv", "0.343873405", "0.243873405", "neurram 9-bit out, 7-bit in, 2 phases"),
        ("adc_regression.csv", "1.926675994", "1.926676994", "adc 8 bits, 1280 MS/s, 32 nm"),
    ],
)
def test_a_changed_number_breaks_its_row_alone(
    tmp_path: Path, table: str, old: str, new: str, case: str
) -> None:
    folder = changed(tmp_path, table, old, new)
    suites = {"neurram.csv": analog_neurram_.rows}
    if table in suites:
        found = list(suites[table](folder))
    else:
        from tetrapla.suites.analog_converters_ import rows as converters

        found = list(converters(folder))
    (broken,) = [row for row in found if row.passed is False]
    assert broken.case.startswith(case)


def test_another_wire_breaks_a_circuit(tmp_path: Path) -> None:
    old = "input_16x24,input,16,24,4,4,1.5,"
    folder = changed(tmp_path, "circuits.csv", old, "input_16x24,input,16,24,4,4,1.6,")
    broken = [row for row in analog_circuits_.rows(folder) if row.passed is False]
    assert {row.case for row in broken} == {"circuit input_16x24"}


def test_a_network_of_other_weights_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN / "analog", folder / "analog")
    path = folder / "analog" / "digits_mlp.npz"
    with np.load(path) as held:
        arrays = dict(held)
    arrays["W0"] = arrays["W0"][::-1].copy()
    np.savez(path, **arrays)
    ideal = next(iter(analog_digits_.rows(folder)))
    assert ideal.passed is False


def test_a_broken_table_is_refused_at_its_line(tmp_path: Path) -> None:
    folder = changed(tmp_path, "neurram.csv", "4,2,2,1.793083771", "four,2,2,1.793083771")
    with pytest.raises(ModelError) as caught:
        list(analog_neurram_.rows(folder))
    path = folder / "analog" / "neurram.csv"
    assert str(caught.value) == (
        f"{path}:3: out_bits must be a whole number in 1..1048575, not 'four'"
    )
    with pytest.raises(ModelError) as caught:
        list(analog_neurram_.rows(tmp_path))
    path = tmp_path / "analog" / "neurram.csv"
    assert str(caught.value) == f"{path}: must be a readable table; see --golden"


def test_neurrams_counts_by_hand() -> None:
    # 5-bit inputs have 4 bits of magnitude. One phase: 15 integrations, 7 steps for 7 bits out
    assert work(7, 5, 1) == Work(15, 7, 1, 4)
    # two phases of 2 bits: 3 integrations each, 7 steps and then 5
    assert work(7, 5, 2) == Work(6, 12, 2, 4)
    # 3 bits of magnitude go in one phase whatever is allowed
    assert work(6, 4, 2) == work(6, 4, 1) == Work(7, 6, 1, 3)
    # 8 bits: 7 of magnitude in phases of 4 and 3; 10 steps and 6
    assert work(10, 8, 2) == Work(15 + 7, 16, 2, 7)
    assert work(3, 1, 2) == Work(1, 3, 1, 1)


def test_neurrams_chip_has_the_constants_of_its_suite() -> None:
    spec = analog_chips_.chip("neurram")
    done = work(10, 8, 2)
    # 22 integrations of 0.303 us, 16 steps of 0.2952; a phase is 4.835 us less 15 integrations
    assert analog_neurram_.time_s(spec, done) == pytest.approx(
        22 * 0.303e-6 + 16 * 0.2952e-6 + 2 * 0.29e-6, rel=1e-9
    )
    energy = sum(analog_neurram_.energies_pj(spec, done).values())
    assert energy == pytest.approx(16 * 142.32 + 7 * 1130.6, rel=1e-3)
