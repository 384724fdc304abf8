"""What a report says of energy, power and area: ranges, TDP, what is derived or absent."""

from __future__ import annotations

from typing import Any

import pytest

import tetrapla
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
