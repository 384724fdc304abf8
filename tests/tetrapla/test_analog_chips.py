"""The analog chips of the catalogue: they run the digits, or say why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tetrapla
from tetrapla.backends.target_ import find
from tetrapla.frontend.builder import Builder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.module import Module
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.spec_ import chips, family_of

ANALOG = [name for name in chips() if family_of(name) == "analog"]
HOLDS = [name for name in ANALOG if name != "mark1-perceptron"]
MLP = "examples/digits_mlp.onnx"


def spec_of(name: str) -> AnalogSpec:
    spec = find(name)[1].spec
    assert isinstance(spec, AnalogSpec)
    return spec


def test_the_catalogue_has_the_analog_chips() -> None:
    assert set(ANALOG) == {
        *("isaac", "puma", "hermes", "neurram", "mythic-m1076", "sonos-xiao2022"),
        *("rram-22nm-8mb", "mark1-perceptron", "albireo", "lightmatter-envise"),
    }


@pytest.mark.parametrize("name", HOLDS)
def test_a_chip_runs_the_digits_and_passes_its_check(name: str, mlp: str) -> None:
    report = tetrapla.simulate(mlp, name, data="digits", samples=32)
    assert report.cross_check is not None
    assert report.cross_check.passed
    assert report.accuracy is not None
    assert report.accuracy.target > 0.8  # a tenth would be chance
    assert report.energy.total_pj is not None


@pytest.mark.parametrize("name", HOLDS)
def test_an_ideal_chip_is_the_reference(name: str, mlp: str) -> None:
    report = tetrapla.simulate(mlp, name, data="digits", samples=8, ideal=True)
    assert report.cross_check is not None
    assert (report.cross_check.kind, report.cross_check.mismatches) == ("bit_exact", 0)


def test_the_perceptron_says_what_it_lacks(mlp: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        tetrapla.simulate(mlp, "mark1-perceptron", data="digits", samples=4)
    assert str(caught.value).startswith(
        "mark1-perceptron: the model must fit its 1 crossbars, not need "
    )


def layer(rng: np.random.Generator) -> Module:
    """Of 400 inputs and 8 outputs, what the machine was built for."""
    b = Builder("retina")
    weights = rng.normal(size=(400, 8)).astype(np.float32)
    b.output("y", b.matmul(b.input("x", (1, 400)), weights))
    return b.build()


def test_the_perceptron_computes_one_layer_of_its_own_size(rng: np.random.Generator) -> None:
    images = {"x": rng.integers(0, 2, (16, 1, 400)).astype(np.float32)}
    report = tetrapla.compile(layer(rng), "mark1-perceptron", images).run(images)
    assert report.cross_check is not None
    assert report.cross_check.passed
    # no source gives a price, so none is made up
    assert report.energy.total_pj is None
    assert report.area_mm2 is not None


@pytest.mark.parametrize("name", ANALOG)
def test_prices_are_of_the_chips_own_design_point(name: str) -> None:
    spec = spec_of(name)
    assert {action: spec.prices[action] for action in spec.cost} == dict(spec.cost)
    assert spec.area_mm2 == spec.chip.area_mm2


@pytest.mark.parametrize("name", ANALOG)
def test_a_part_that_is_priced_elsewhere_says_where(name: str) -> None:
    loaded = find(name)[1]
    for entry in loaded.provenance:
        if entry.field.startswith("cost.") and entry.value == "0":
            assert (
                "within" in entry.source
                or "no figure" in entry.source
                or ("static_power" in entry.source)
            ), entry.field


def test_a_photonic_chip_draws_its_published_power() -> None:
    albireo = spec_of("albireo")
    # rings 7.52, modulators 3.45, lasers 2.36 W
    assert albireo.chip.static_power_w == pytest.approx(7.52 + 3.45 + 2.36)
    envise = spec_of("lightmatter-envise")
    read_pj = envise.prices["crossbar.read"]
    assert read_pj is not None
    busy_w = envise.array.total * read_pj * 1e-12 / envise.array.read_s
    assert busy_w == pytest.approx(78.0)
    a = envise.array
    tops = 2 * a.rows * (a.cols // 2) * a.total / a.read_s * 1e-12
    assert tops == pytest.approx(65.5, rel=0.001)


def test_the_report_shows_what_the_converters_take(cli: Any, mlp: str) -> None:
    words = ["simulate", mlp, "--target", "isaac", "--data", "digits", "--samples", 4]
    done = cli(*words)
    assert done.status == 0
    lines = done.out.splitlines()
    start = lines.index("energy by unit")
    assert lines[start + 1].split() == ["unit", "energy", "share", "without", "static"]
    table = {line.split()[0]: line.split() for line in lines[start + 3 : start + 14]}
    # 8 cells an output, 8 digits: (64 + 32 + 10) x 64 codes of 1.667 pJ
    assert table["adc"][1:3] == ["11.3", "nJ"]
    shares = [float(cells[-2]) for name, cells in table.items() if name != "static"]
    assert sum(shares) == pytest.approx(100, abs=0.5)  # of ten roundings
    assert table["static"][-1] == "n/a"
    assert any("in a pipeline, where layers work on different ones" in line for line in lines)


def test_a_report_is_the_same_for_every_chunk(cli: Any, mlp: str, tmp_path: Path) -> None:
    words = ["simulate", mlp, "--target", "isaac", "--data", "digits", "--samples", 5]
    words += ["--set", "cost.crossbar.joule=1 J", "--set", "array.drive=0.2 V"]
    words += ["--set", "wires.r_row=1 ohm", "--set", "wires.r_col=1 ohm"]
    found: list[bytes] = []
    for more in ([], ["--chunk", 1], ["--chunk", 70_000]):
        path = tmp_path / "r.json"
        assert cli(*words, *more, "--json", path).status == 0
        found.append(path.read_bytes())
    assert found[1:] == found[:1] * 2


def test_a_chunk_is_an_analog_machines(cli: Any, mlp: str) -> None:
    done = cli("simulate", mlp, "--target", "tpu-v1", "--chunk", 3)
    assert done.err == (
        "error: --chunk must come with an analog target, not tpu-v1; leave it out\n"
    )
    done = cli("simulate", mlp, "--target", "isaac", "--chunk", 0)
    assert done.err == "error: --chunk must be at least 1, not 0\n"
