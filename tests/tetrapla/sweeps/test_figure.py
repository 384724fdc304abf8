"""A sweep's figure: where its points are, which are named, and what cannot be drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

Cli = Callable[..., Any]
Refused = Callable[..., None]
SVG = "{http://www.w3.org/2000/svg}"


def drawn(path: Path) -> ElementTree.Element:
    return ElementTree.fromstring(path.read_text("utf-8"))


def test_every_point_is_drawn_and_the_front_named(cli: Cli, mlp: str, tmp_path: Path) -> None:
    words = ["sweep", mlp, "--target", "tpu-v1", "--samples", 1, "--figure", tmp_path / "f.svg"]
    words += ["--set", "clock=100MHz,400MHz", "--set", "chip.static_power=10W,40W"]
    assert cli(*words).status == 0
    figure = drawn(tmp_path / "f.svg")
    dots = {
        dot.findtext(f"{SVG}title"): (float(dot.attrib["cx"]), float(dot.attrib["cy"]))
        for dot in figure.iter(f"{SVG}circle")
    }
    assert len(dots) == 4
    quick, slow = (
        dots[f"clock={clock}, chip.static_power=10W"] for clock in ("400MHz", "100MHz")
    )
    # latency to the right, energy upwards: quicker is to the left
    assert quick[0] < slow[0]
    dear = dots["clock=400MHz, chip.static_power=40W"]
    assert dear[0] == quick[0]
    assert dear[1] < quick[1]
    names = {each.text for each in figure.iter(f"{SVG}text")}
    assert "400MHz/10W" in names
    assert "100MHz/40W" not in names


def test_accuracy_is_read_upwards(cli: Cli, mlp: str, tmp_path: Path) -> None:
    words = ["sweep", mlp, "--target", "loihi", "--data", "digits", "--samples", 60]
    words += ["--set", "timesteps=2,16", "--objective", "accuracy,latency"]
    assert cli(*words, "--figure", tmp_path / "f.svg").status == 0
    figure = drawn(tmp_path / "f.svg")
    dots = {
        dot.findtext(f"{SVG}title"): (float(dot.attrib["cx"]), float(dot.attrib["cy"]))
        for dot in figure.iter(f"{SVG}circle")
    }
    assert dots["timesteps=2"][0] < dots["timesteps=16"][0]
    assert dots["timesteps=2"][1] > dots["timesteps=16"][1]


def test_energy_without_what_is_drawn_all_the_time_is_an_objective(
    cli: Cli, mlp: str, tmp_path: Path
) -> None:
    words = ["sweep", mlp, "--target", "isaac", "--samples", 1, "--figure", tmp_path / "f.svg"]
    words += ["--set", "adc.bits=6 bit,8 bit", "--json", tmp_path / "f.json"]
    found = cli(*words, "--objective", "dynamic_energy,area")
    assert found.status == 0
    points = json.loads((tmp_path / "f.json").read_text("utf-8"))["points"]
    totals, parts = [], []
    for point in points:
        energy = point["report"]["energy_pj"]
        totals.append(energy["total"])
        parts.append(energy["total"] - energy["by_unit"]["static"])
    # the links' 10.4 W hide what two bits of the converters change
    assert totals[1] < 1.001 * totals[0]
    assert parts[1] > 1.2 * parts[0]
    assert [point["pareto"] for point in points] == [True, False]
    assert "dynamic energy" in found.out
    names = [each.text for each in drawn(tmp_path / "f.svg").iter(f"{SVG}text")]
    assert "dynamic energy" in names


def test_what_cannot_be_drawn_is_said(refused: Refused, mlp: str, tmp_path: Path) -> None:
    words = ["sweep", mlp, "--target", "tpu-v1", "--samples", 1, "--set", "clock=100MHz"]
    refused(
        "--figure must have two objectives, not latency; give --objective energy,accuracy",
        *words,
        *("--objective", "latency", "--figure", tmp_path / "f.svg"),
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["f.svg"])
def test_the_same_sweep_gives_the_same_bytes(
    cli: Cli, mlp: str, tmp_path: Path, name: str
) -> None:
    words = ["sweep", mlp, "--target", "tpu-v1", "--samples", 1, "--set", "clock=1MHz,100MHz"]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        assert cli(*words, "--figure", tmp_path / folder / name).status == 0
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
