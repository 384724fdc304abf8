"""Figures at one node and at one area: factors by hand from the published table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tetrapla
from tetrapla.designs import designs
from tetrapla.ir.errors import ModelError
from tetrapla.normalize import KEPT, MIXED, SCALED, Scale, normalised, scale_of
from tetrapla.simulators.spec_ import chips


def report(node: str = "45", family: str = "systolic", **units: float | None) -> dict[str, Any]:
    known = [pj for pj in units.values() if pj is not None]
    entry = {"field": "chip.node", "value": node, "unit": "" if node == "null" else "nm"}
    return {
        "family": family,
        "batch": 2,
        "time_s": 1e-6,
        "energy_pj": {
            "total": sum(known) if len(known) == len(units) else None,
            "by_unit": units,
        },
        "area_mm2": 50.0,
        "provenance": [entry],
    }


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("7nm", Scale(node_nm=7.0)),
        (" 22 nm", Scale(node_nm=22.0)),
        ("100mm2", Scale(area_mm2=100.0)),
        ("0.5 mm²", Scale(area_mm2=0.5)),
    ],
)
def test_a_scale_is_a_node_or_an_area(text: str, scale: Scale) -> None:
    assert scale_of(text) == scale


@pytest.mark.parametrize(
    "text", ["", "7", "nm", "-7nm", "0nm", "0mm2", "7um", "1e2mm2", "7nm,"]
)
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(ModelError) as error:
        scale_of(text)
    assert str(error.value) == (
        f"--normalize must be a node or an area above 0, not '{text}'; write 7nm or 100mm2"
    )


def test_a_node_outside_the_table_is_refused() -> None:
    with pytest.raises(ModelError) as error:
        scale_of("5nm")
    assert str(error.value) == (
        "--normalize must be a node from 7 to 130 nm, where the scaling table (Stillmaker and "
        "Baas 2017, 0.8 V) ends, not 5 nm; give a node within it"
    )


def test_logic_is_scaled_and_memory_beside_the_chip_is_not() -> None:
    # at 0.8 V: 45 nm 1.103 * 0.64 - 0.362 * 0.8 + 0.2767 = 0.69302
    #            7 nm 0.1776 * 0.64 - 0.09097 * 0.8 + 0.02447 = 0.065358
    factor = 0.065358 / 0.69302
    found, text = normalised(report(mac=100.0, static=50.0, dram=30.0), scale_of("7nm"))
    assert found["energy_pj"] == pytest.approx(150 * factor + 30, rel=1e-9)
    assert found["area_mm2"] == pytest.approx(50 / 17)  # the table's last row: 1 to 17
    assert (found["to"], found["from_nm"]) == ("7 nm", 45.0)
    assert text == (
        "normalised from 45 to 7 nm: energy x 0.0943, area x 0.0588 (Stillmaker and Baas 2017, "
        "0.8 V; good between neighbouring nodes only); time and the energy of dram stay"
    )


def test_a_chip_at_its_own_node_stays_as_it_is() -> None:
    found, _ = normalised(report(mac=100.0, dram=3.0), scale_of("45nm"))
    assert (found["energy_pj"], found["area_mm2"]) == (103.0, 50.0)


def test_an_analog_chip_keeps_its_converters_and_has_no_area() -> None:
    found, text = normalised(report("32", "analog", adc=5.0, vector=1.0), scale_of("32nm"))
    assert (found["energy_pj"], found["area_mm2"]) == (6.0, None)
    assert text.endswith("; its area is n/a: cells and converters do not shrink as logic does")


@pytest.mark.parametrize(
    ("node", "why"),
    [
        ("null", "the chip's node is not known"),
        (
            "4",
            "the chip's node, 4 nm, is outside the 7 to 130 nm of the scaling table "
            "(Stillmaker and Baas 2017, 0.8 V)",
        ),
    ],
)
def test_a_chip_without_a_node_in_the_table_has_no_figures(node: str, why: str) -> None:
    found, text = normalised(report(node, mac=1.0), scale_of("7nm"))
    assert (found["energy_pj"], found["area_mm2"]) == (None, None)
    assert text == f"not normalised to 7 nm: {why}"


def test_what_no_price_is_known_for_stays_unknown() -> None:
    assert normalised(report(mac=None), scale_of("7nm"))[0]["energy_pj"] is None
    found, text = normalised(report("7", "roofline", chip=9.0, static=1.0), scale_of("14nm"))
    assert found["energy_pj"] is None
    assert "its energy is n/a: no source parts it" in text


def test_an_area_holds_copies_side_by_side() -> None:
    # 2 inferences a microsecond on 50 mm2: four times as many on 200 mm2
    found, _ = normalised(report(mac=1.0), scale_of("200mm2"))
    assert found == {"to": "200 mm2", "copies": 4.0, "throughput_per_s": pytest.approx(8e6)}
    nowhere, text = normalised({**report(mac=1.0), "area_mm2": None}, scale_of("200mm2"))
    assert nowhere["throughput_per_s"] is None
    assert text == "not normalised to 200 mm2: the chip's area is not known"


def test_every_unit_of_every_chip_is_of_one_kind() -> None:
    assert not SCALED & KEPT
    for name, design in zip(chips(), designs(list(chips())), strict=True):
        units = {action.partition(".")[0] for action in design.chip.spec.prices}
        assert units <= SCALED | KEPT | MIXED, name


def test_a_report_has_it_beside_its_own_figures(mlp: str) -> None:
    plain = tetrapla.simulate(mlp, "tpu-v1", samples=1).to_dict()
    scaled = tetrapla.simulate(mlp, "tpu-v1", samples=1, normalize="16nm").to_dict()
    assert scaled["energy_pj"] == plain["energy_pj"]
    assert list(scaled["normalised"]) == ["to", "from_nm", "energy_pj", "area_mm2"]
    assert scaled["warnings"][-1].startswith("normalised from 28 to 16 nm: energy x 0.338")
    assert scaled["command"].endswith("--normalize 16nm")


def test_the_command_refuses_it(refused: Callable[..., None], mlp: str) -> None:
    refused(
        "--normalize must be a node or an area above 0, not 'small'; write 7nm or 100mm2",
        *("compare", mlp, "--targets", "tpu-v1", "--normalize", "small"),
    )
