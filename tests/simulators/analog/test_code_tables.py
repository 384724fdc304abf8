"""Converters of unequal elements: thresholds by hand, their spread by formula, their check."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest

from tests.simulators.analog.helpers import compiled
from tetrapla.backends.analog import uneven
from tetrapla.backends.analog.check import cross_check
from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import adc, code_tables, machine
from tetrapla.simulators.analog.adc import Mismatch
from tetrapla.simulators.analog.converters import Circuit
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec

CIRCUITS: tuple[Circuit, ...] = ("sar", "ramp", "flash")


def isaac(*overrides: str) -> AnalogSpec:
    return load_spec("isaac", AnalogSpec, overrides).spec


def drawn(circuit: Circuit, bits: int, many: int, unit: float, comparator: float) -> Array:
    """Of arrays with a converter each, so that ramps differ too."""
    found = [
        code_tables.thresholds(
            circuit, bits, 1, Key(0, tile=n), unit_frac=unit, comparator_steps=comparator
        )
        for n in range(many)
    ]
    return np.concatenate(found)


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_equal_elements_make_equal_steps(circuit: Circuit) -> None:
    ideal = np.arange(31) + 0.5
    assert np.allclose(drawn(circuit, 5, 2, 0.0, 0.0), [ideal, ideal], atol=1e-12)


def test_two_bits_of_capacitors_by_hand() -> None:
    # 1 + 1 + 3 units: D = 4 (1, 3, 4) / 5
    found = code_tables.searched(np.array([[1.0, 1.0, 3.0]]))
    assert np.allclose(found, [[4 / 5 - 0.5, 12 / 5 - 0.5, 16 / 5 - 0.5]])
    # the upper bit weighs less than the lower one: code 1 would begin above code 2, so it is
    # missing, as comparing with 2 first has it
    found = code_tables.searched(np.array([[1.0, 2.0, 1.0]]))
    assert found.tolist() == [[0.5, 0.5, 2.5]]
    assert code_tables.codes(np.array([[0.4], [0.6], [2.4], [9.0]]), found).tolist() == [
        [0.0],
        [2.0],
        [2.0],
        [3.0],
    ]


def test_the_search_is_what_a_comparator_decides_bit_by_bit() -> None:
    rng = np.random.default_rng(0)
    parts = np.maximum(2.0 ** np.array([0, 0, 1, 2, 3]) * (1 + rng.normal(0, 0.4, (9, 5))), 0)
    table = code_tables.searched(parts)
    assert (np.diff(table, axis=1) >= 0).all()
    values = rng.uniform(-2, 18, 400)
    for own, capacitors in zip(table, parts, strict=True):
        scale = 16 / capacitors.sum()
        for value, code in zip(values, np.searchsorted(own, values, side="right"), strict=True):
            decided = 0.0
            number = 0
            for bit in (3, 2, 1, 0):
                tried = decided + capacitors[1 + bit]
                if value >= tried * scale - 0.5:
                    decided, number = tried, number | 1 << bit
            assert code == number


def test_units_by_hand() -> None:
    # 1, 2, 1, 0 of 4 units: steps end at 1, 3, 4
    assert np.allclose(code_tables.unary(np.array([[1.0, 2.0, 1.0, 0.0]])), [[0.5, 2.5, 3.5]])


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_the_spread_follows_the_formula(circuit: Circuit) -> None:
    many, bits, unit = 4000, 6, 0.02
    off = drawn(circuit, bits, many, unit, 0.0) - (np.arange(63) + 0.5)
    # sd of a sample's sd: 1 / sqrt(2 n); four of them
    within = 4 / sqrt(2 * many)
    assert off[:, 31].std() == pytest.approx(unit * sqrt(64) / 2, rel=within)
    step = np.diff(off, axis=1)[:, 30]
    expected = unit * (sqrt(63) if circuit == "sar" else sqrt(1 - 1 / 64))
    assert step.std() == pytest.approx(expected, rel=within)


def test_a_flash_converter_counts_comparators_that_are_off() -> None:
    found = drawn("flash", 4, 3000, 0.0, 0.3)
    assert (np.diff(found, axis=1) >= 0).all()
    mean = (found - (np.arange(15) + 0.5)).mean(axis=1)
    assert mean.std() == pytest.approx(0.3 / sqrt(15), rel=4 / sqrt(6000))


def test_a_ramp_is_one_for_the_array() -> None:
    circuits: tuple[Circuit, Circuit] = ("ramp", "flash")
    ramp, flash = (
        code_tables.thresholds(how, 4, 3, Key(0), unit_frac=0.1, comparator_steps=0.0)
        for how in circuits
    )
    assert np.array_equal(ramp[0], ramp[2])
    assert not np.array_equal(flash[0], flash[2])


def test_converters_take_turns_and_signed_codes_start_below_zero() -> None:
    table = Mismatch(
        np.ones(2), np.zeros(2), np.array([[0.5, 1.5, 2.5], [1.5, 1.5, 2.5]]), lowest=-2
    )
    section = isaac("adc.bits=2 bit", "adc.sign=signed", "adc.per_array=2").adc
    sums = np.array([[-4.0, -4.0, -2.0, -2.0, 0.0, 8.0]])
    seen = adc.mismatched(sums, np.full(6, 2.0), table)
    # in steps above the lowest code: 0 0 1 1 2 6
    assert adc.convert(seen, section, 2.0).tolist() == [[-2, -2, -1, -2, 0, 1]]


def test_moments_are_those_of_many_draws() -> None:
    rng = np.random.default_rng(1)
    tables = np.sort(np.arange(15) + 0.5 + rng.normal(0, 0.8, (3, 15)), axis=1)
    converters = Mismatch(np.ones(3), np.zeros(3), tables)
    centre, sd = rng.uniform(-1, 16, (2, 6)), rng.uniform(0.1, 2.0, (2, 6))
    sd[0, 0] = 0.0
    found = uneven.moments(centre, sd, converters)
    z = rng.standard_normal((40_000, 2, 6))
    drawn_codes = code_tables.codes((centre + sd * z).reshape(-1, 6), tables).reshape(z.shape)
    error = np.abs(drawn_codes.mean(axis=0) - found.mean)
    assert (error <= 5 * np.sqrt(found.variance / len(z)) + 1e-5).all()
    assert np.allclose(drawn_codes.var(axis=0), found.variance, rtol=0.1, atol=2e-3)
    assert found.variance[0, 0] == 0


CHIPS = [
    ("adc.unit=0.05",),
    ("adc.unit=0.05", "device.read_noise=0", "device.model=exact"),
    ("adc.unit=0.05", "converter.circuit=ramp", "adc.per_array=4", "adc.offset=0.5"),
    ("adc.unit=0.05", "converter.circuit=flash", "adc.comparator=0.4", "adc.per_array=3"),
    ("adc.unit=0.05", "adc.sign=signed", "adc.gain=0.01", "device.reads=sampled"),
]


@pytest.mark.parametrize("chip", CHIPS, ids=" ".join)
def test_an_honest_machine_passes(chip: tuple[str, ...]) -> None:
    lowered, spec, inputs, reference = compiled(*chip)
    run = machine.run(lowered.program, spec, inputs, Key(2))
    found = cross_check(lowered, spec, inputs, run, reference)
    assert found.kind == "statistical"
    assert found.passed, found


@pytest.mark.parametrize("chip", CHIPS, ids=" ".join)
def test_other_elements_than_the_spec_says_are_seen(
    chip: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    lowered, spec, inputs, reference = compiled(*chip)
    right = code_tables.thresholds

    def thresholds(*given: Any, unit_frac: float, comparator_steps: float) -> Array:
        return right(*given, unit_frac=9 * unit_frac, comparator_steps=9 * comparator_steps)

    monkeypatch.setattr(adc, "thresholds", thresholds)
    run = machine.run(lowered.program, spec, inputs, Key(2))
    assert not cross_check(lowered, spec, inputs, run, reference).passed


def right(values: Array, table: object) -> Array:
    del table
    return np.rint(values).clip(0, 255)


def test_a_run_with_right_converters_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    lowered, spec, inputs, reference = compiled(*CHIPS[0])
    with monkeypatch.context() as context:
        context.setattr(adc, "codes", right)
        run = machine.run(lowered.program, spec, inputs, Key(2))
    assert not cross_check(lowered, spec, inputs, run, reference).passed


def test_elements_without_a_spread_change_nothing() -> None:
    lowered, spec, inputs, _ = compiled("adc.unit=0", "adc.comparator=0")
    _, bare, _, _ = compiled()
    assert spec == bare
    uneven_chip = isaac("array.rows=32", "adc.unit=0.3")
    assert not uneven_chip.ideal().noisy
    run = machine.run(lowered.program, spec, inputs, Key(2))
    other = machine.run(lowered.program, uneven_chip, inputs, Key(2))
    assert not np.array_equal(run.outputs["y"], other.outputs["y"])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (
            ("adc.comparator=1",),
            "--set adc.comparator must be 0 where converter.circuit is sar, which has one "
            "comparator, not 1; set adc.offset, or converter.circuit=flash",
        ),
        (
            ("adc.unit=0.01", "adc.bits=16 bit"),
            "adc.bits must be at most 14 where adc.unit or adc.comparator is given, since "
            "every converter has a table of its codes, not 16; lower it or leave them out",
        ),
    ],
)
def test_what_no_table_can_hold_is_refused(given: tuple[str, ...], why: str) -> None:
    with pytest.raises(SpecError) as raised:
        isaac(*given)
    assert str(raised.value).endswith(why)
