"""Converters: the survey's regression by hand and by table, ratios, prices of other points."""

from __future__ import annotations

import csv
from math import ceil, exp, log
from pathlib import Path

import pytest

from tetrapla.ir.errors import SpecError
from tetrapla.simulators.analog.converters import (
    Circuit,
    area_ratio,
    dac_ratio,
    energy_ratio,
    steps,
    survey,
)
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.spec_ import load_spec

TABLE = Path(__file__).parents[3] / "tetrapla/data/golden/analog/adc_regression.csv"
CIRCUITS: tuple[Circuit, ...] = ("sar", "ramp", "flash")


def isaac(*overrides: str) -> AnalogSpec:
    return load_spec("isaac", AnalogSpec, overrides).spec


def test_the_regression_is_the_golden_one() -> None:
    with TABLE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 32
    for row in rows:
        found = survey(float(row["bits"]), float(row["freq_hz"]), float(row["tech_nm"]))
        assert found.energy_pj == pytest.approx(float(row["energy_pj"]), rel=1e-8)
        assert found.area_mm2 * 1e6 == pytest.approx(float(row["area_um2"]), rel=1e-8)


def test_the_regression_by_hand() -> None:
    # 8 bits at 1.28 GS/s and 32 nm: FOM = 213.78 - 2.8719 ln 1.28e9 = 153.56 dB, below the
    # ceiling 128.31 + 3.2205 * 8 = 154.07; SNDR = 49.92 dB
    merit = 213.7806687348118 - 2.8719030399529957 * log(1.28e9)
    assert merit == pytest.approx(153.56, abs=0.01)
    whole = exp(26.0496215686518 + 1.8800369206815004 * log(32))
    factor = whole * exp(-2.8291256050594527 * log(8) - 1.4702022133784405)
    expected = factor / (2 * 10 ** ((merit - 49.92) / 10))
    assert survey(8, 1.28e9, 32).energy_pj == pytest.approx(expected, rel=1e-9)
    # at 100 MS/s the ceiling of 8 bits holds, and a slower one is no better
    assert survey(8, 1e8, 32).energy_pj == survey(8, 1e6, 32).energy_pj
    assert survey(7.5, 1e6, 32).energy_pj != survey(8, 1e6, 32).energy_pj
    assert ceil(7.5) == 8


@pytest.mark.parametrize("numbers", [(0, 1e9, 32), (8, 0, 32), (8, 1e9, 0)])
def test_a_converter_of_nothing_is_refused(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"^bits, rate and node of an ADC must be positive$"):
        survey(*numbers)


def test_steps_by_circuit() -> None:
    assert [steps(circuit, 8) for circuit in CIRCUITS] == [8, 256, 1]


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_ratios_are_one_at_home_and_grow_with_the_bits(circuit: Circuit) -> None:
    for ratio in (energy_ratio, area_ratio):
        values = [ratio(circuit, bits, 8, 1e9, 32) for bits in range(4, 13)]
        assert values[4] == 1.0
        assert values == sorted(values)
        assert values[3] < 1 < values[5]


def test_ratios_by_hand() -> None:
    assert energy_ratio("ramp", 10, 8, 1e9, None) == 4.0
    assert energy_ratio("flash", 4, 3, 1e9, None) == 15 / 7
    assert area_ratio("ramp", 10, 8, 1e9, None) == 1.25
    assert dac_ratio(2, 1) == 3.0
    # the node scales both points of a SAR converter alike
    there, here = (energy_ratio("sar", 6, 8, 1e9, node) for node in (None, 14))
    assert there == pytest.approx(here, rel=1e-12)


def test_prices_at_the_published_point_are_the_stated_ones() -> None:
    spec = isaac()
    assert {name: spec.prices[name] for name in spec.cost} == dict(spec.cost)
    assert spec.area_mm2 == spec.chip.area_mm2


def test_prices_of_another_point_follow() -> None:
    spec = isaac()
    small = isaac("array.rows=64", "array.cols=32", "adc.bits=6 bit", "dac.bits=2 bit")

    def ratio(name: str) -> float:
        return (small.prices[name] or 0.0) / (spec.prices[name] or 0.0)

    assert ratio("crossbar.read") == 64 * 32 / 128**2
    assert ratio("sample_hold.read") == 32 / 128
    assert ratio("dac.convert") == pytest.approx(3.0, rel=1e-15)
    six, eight = (survey(bits, 1.28e9, 32).energy_pj for bits in (6, 8))
    assert ratio("adc.convert") == pytest.approx(six / eight, rel=1e-12)
    assert ratio("edram.byte") == 1.0


def test_an_ideal_run_is_priced_for_the_chips_own_converters() -> None:
    assert isaac().ideal().prices == isaac().prices


def test_the_area_follows_the_arrays_and_the_converters() -> None:
    whole = isaac().area_mm2
    assert whole is not None
    # 168 x 12 units whose ADCs take 0.0096 mm2: twice as many add that, over a sum of 85.433
    more = isaac("adc.per_array=2").area_mm2
    assert more == pytest.approx(whole * (1 + 168 * 12 * 0.0096 / 85.43312), rel=1e-6)
    fewer = isaac("array.tiles=84").area_mm2
    # half the tiles and all of the links: (85.43312 - 22.88) / 2 + 22.88 over 85.43312
    assert fewer == pytest.approx(whole * 54.15656 / 85.43312, rel=1e-6)
    sizes = [isaac(f"adc.bits={bits} bit").area_mm2 or 0.0 for bits in (4, 6, 8, 10)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] == whole < sizes[3]


def test_a_chip_may_ask_for_the_survey() -> None:
    spec = isaac("cost.adc.convert=null", "converter.price=survey")
    assert spec.prices["adc.convert"] == survey(8, 1.28e9, 32).energy_pj
    with pytest.raises(SpecError) as caught:
        isaac("converter.price=survey")
    assert str(caught.value).endswith(
        "converter.price must be stated where cost.adc.convert has a value, not survey; write "
        "'adc.convert: null' or leave converter.price out"
    )
    with pytest.raises(SpecError) as caught:
        isaac("cost.adc.convert=null", "converter.price=survey", "chip.node=null")
    assert str(caught.value).endswith(
        "converter.price can be survey where chip.node is known alone; add it"
    )


def test_a_step_of_the_circuit_times_a_conversion() -> None:
    assert isaac().conversion_s == 1 / 1.28e9
    for circuit, count in zip(CIRCUITS, (8, 256, 1), strict=True):
        spec = isaac(f"converter.circuit={circuit}", "converter.step=2 ns")
        assert spec.conversion_s == count * 2e-9
