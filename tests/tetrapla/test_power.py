"""What a report says of energy, power and area: ranges, TDP, what is derived or absent."""

from __future__ import annotations

from math import fsum
from typing import Any

import pytest

import tetrapla
from tetrapla.ir.errors import SpecError, TetraplaError
from tetrapla.simulators.report import Report

CHOSEN: dict[str, Any] = {"data": "digits", "samples": 2}


def simulated(mlp: str, target: str, *overrides: str) -> Report:
    return tetrapla.simulate(mlp, target, overrides=overrides, **CHOSEN)


@pytest.mark.parametrize("target", ["tpu-v1", "tpu-v4", "eyeriss", "gemmini"])
def test_the_range_of_the_energy_holds_the_total(mlp: str, target: str) -> None:
    report = simulated(mlp, target)
    total_pj = report.energy.total_pj
    assert total_pj is not None
    assert report.energy_range_pj is not None
    low, high = report.energy_range_pj
    assert low < total_pj < high
    assert sum(pj or 0 for pj in report.energy.by_unit.values()) == pytest.approx(total_pj)
    assert "static" in report.energy.by_unit


def dynamic(report: Report) -> dict[str, float | None]:
    return {unit: pj for unit, pj in report.energy.by_unit.items() if unit != "static"}


@pytest.mark.parametrize(
    ("target", "power_w", "slower"),
    [
        ("tpu-v1", 28.0, "clock=350 MHz"),
        ("tpu-v1", 28.0, "dram.latency=20 us"),
        ("eyeriss", 0.0927, "host.latency=20 us"),
        ("h100", 80.0, "timing.product.launch=90 us"),
        ("loihi", 0.104, "barrier.from_1_tile=6 us"),
        ("isaac", 10.4, "clock=0.6 GHz"),
    ],
)
def test_static_energy_is_power_times_time_on_every_family(
    mlp: str, target: str, power_w: float, slower: str
) -> None:
    usual, slow = simulated(mlp, target), simulated(mlp, target, slower)
    assert slow.time_s > usual.time_s
    for report in (usual, slow):
        energy = report.energy
        assert energy.by_unit["static"] == pytest.approx(power_w * report.time_s * 1e12)
        parts = [pj for pj in energy.by_unit.values() if pj is not None]
        assert energy.total_pj == fsum(parts)
    # what a machine does is the same, only later
    assert dynamic(slow) == dynamic(usual)


def test_at_half_the_pace_of_everything_static_energy_doubles_and_no_other(mlp: str) -> None:
    halved = (
        "clock=350 MHz",
        "dram.bandwidth=17 GB/s",
        "dram.latency=200 ns",
        "host.bandwidth=7 GiB/s",
        "host.latency=2 us",
    )
    usual, slow = simulated(mlp, "tpu-v1"), simulated(mlp, "tpu-v1", *halved)
    assert slow.cycles == usual.cycles
    assert slow.time_s == 2 * usual.time_s
    assert usual.energy.by_unit["static"] == pytest.approx(28e12 * usual.time_s)
    assert slow.energy.by_unit["static"] == pytest.approx(2 * 28e12 * usual.time_s)
    assert dynamic(slow) == dynamic(usual)


def test_a_clock_tree_with_a_price_is_paid_by_the_cycle(mlp: str) -> None:
    priced = ("cost.clock.cycle=10 nJ", "chip.static_power=10 W")
    usual = simulated(mlp, "tpu-v1", *priced)
    slow = simulated(mlp, "tpu-v1", *priced, "clock=350 MHz")
    for report in (usual, slow):
        assert report.energy.by_unit["clock"] == pytest.approx(1e4 * report.cycles)
        assert report.energy.by_unit["static"] == pytest.approx(10e12 * report.time_s)
    assert "clock" not in simulated(mlp, "tpu-v1").energy.by_unit


def test_the_range_of_the_static_power_is_in_that_of_the_energy(mlp: str) -> None:
    low_w, high_w = 0.0278, 0.139  # of eyeriss.yaml
    wide, narrow = simulated(mlp, "eyeriss"), simulated(mlp, "eyeriss", "chip.static_power=0 W")
    assert wide.energy_range_pj is not None
    assert narrow.energy_range_pj is not None
    for end, power_w in zip((0, 1), (low_w, high_w), strict=True):
        between = wide.energy_range_pj[end] - narrow.energy_range_pj[end]
        assert between == pytest.approx(power_w * wide.time_s * 1e12)


def test_static_power_is_among_the_numbers_of_the_report(mlp: str) -> None:
    (entry,) = [e for e in simulated(mlp, "tpu-v1").provenance if "static" in e.field]
    assert (entry.field, entry.value, entry.unit) == ("chip.static_power", "28", "W")
    assert entry.source.startswith('[paper: N. P. Jouppi et al., "In-Datacenter Performance')
    assert entry.source.endswith("] table 2: idle")
    assert entry.grade == "published"


def test_without_a_static_power_the_energy_is_null(mlp: str) -> None:
    report = simulated(mlp, "tpu-v1", "chip.static_power=null")
    assert report.energy.total_pj is None
    assert (
        "the energy total is null: no source gives the price of static.second "
        "(chip.static_power)"
    ) in report.warnings


def test_a_format_can_be_added_and_its_price(mlp: str) -> None:
    added = "array.formats.bf16=2"
    report = tetrapla.simulate(mlp, "tpu-v1", quant="bf16", overrides=(added,), **CHOSEN)
    assert report.energy.by_unit["mac"] is None
    price = "cost.mac.bf16=1 pJ"
    report = tetrapla.simulate(mlp, "tpu-v1", quant="bf16", overrides=(added, price), **CHOSEN)
    assert report.energy.total_pj is not None
    entries = {entry.field: entry.grade for entry in report.provenance}
    assert entries["array.formats.bf16"] == entries["cost.mac.bf16"] == "user"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "array.formats.bf17=1",
            "--set array.formats.bf17 must be one of int8, int16x8, int16, bf16, fp16, int4, "
            "not bf17; did you mean 'bf16'?",
        ),
        (
            "array.formats.int8=0",
            "--set array.formats.int8 must be at least 1 cycle a row, not 0; leave a format "
            "out that the array lacks",
        ),
        ("chip.tdp=0W", "--set chip.tdp must be greater than 0 W, not 0W; give a larger one"),
        (
            "vector.lanes=99999999999999999999",
            "--set vector.lanes must be a whole number of at most 18 digits, not "
            "99999999999999999999; give a smaller one",
        ),
    ],
)
def test_what_the_command_line_sets_is_named(mlp: str, override: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        simulated(mlp, "tpu-v1", override)
    assert str(caught.value) == message


def test_a_refusal_names_the_chip_and_not_its_family(mlp: str) -> None:
    with pytest.raises(TetraplaError) as caught:
        tetrapla.simulate(mlp, "tpu-v1", quant="bf16", **CHOSEN)
    assert str(caught.value) == (
        "tpu-v1: --quant must be a format of the array, int8 or int4 or int16, not bf16; leave "
        "--quant out or take another chip"
    )


def test_the_average_power_is_what_the_tdp_is_held_against(mlp: str) -> None:
    def said(*overrides: str) -> list[str]:
        report = simulated(mlp, "tpu-v1", *overrides)
        return [text for text in report.warnings if "chip.tdp" in text]

    usual = simulated(mlp, "tpu-v1")
    assert usual.energy.total_pj is not None
    power_w = usual.energy.total_pj * 1e-12 / usual.time_s
    assert said(f"chip.tdp={power_w * 1.001} W") == []
    assert len(said(f"chip.tdp={power_w * 0.999} W")) == 1
    # 28 W of it are static
    (text,) = said(f"chip.static_power={100 - (power_w - 28)} W")
    assert text.startswith("the average power, 100 W, is over chip.tdp, 75 W: ")


def test_a_run_above_the_tdp_is_not_silent(mlp: str) -> None:
    report = simulated(mlp, "tpu-v1", "chip.tdp=20 W")
    said = [text for text in report.warnings if "chip.tdp" in text]
    assert said == [text for text in said if ", is over chip.tdp, 20 W: the prices are" in text]
    assert len(said) == 1
    assert not any("chip.tdp" in text for text in simulated(mlp, "tpu-v1").warnings)


def test_what_differs_from_the_chip_is_said(mlp: str) -> None:
    said = simulated(mlp, "gemmini").warnings
    assert said[0] == (
        "gemmini is not the chip in all: weights have a quarter of the scratchpad for "
        "themselves, and no cache stands before DRAM"
    )
    assert said[1].startswith("prices come of several tables, cacti-7-hp, horowitz: CACTI has")
    assert said[2].startswith("the area is derived, not published: ")


def test_a_chip_without_a_published_node_has_no_energy(mlp: str) -> None:
    report = simulated(mlp, "tpu-v5e")
    assert report.energy.total_pj is None
    assert report.energy_range_pj is None
    assert any("no source gives the price of" in text for text in report.warnings)


def test_a_datasheet_gives_time_and_energy_and_no_check(mlp: str) -> None:
    report = simulated(mlp, "groq-tsp")
    assert report.cross_check is None
    assert report.energy.by_unit.keys() == {"chip"}
    assert report.energy.total_pj == pytest.approx(300e12 * report.time_s)
    assert report.cycles == pytest.approx(report.time_s * 900e6)
    assert {row.bound_by for row in report.layers} <= {"clock", "compute", "memory"}
    assert report.accuracy is not None
    assert report.accuracy.target == report.accuracy.reference
