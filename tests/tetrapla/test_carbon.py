"""CO2 and cost of the energy: by hand, with sources, and unknown where the energy is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import tetrapla
from tetrapla import carbon
from tetrapla.ir.errors import ModelError


def test_a_joule_in_germany() -> None:
    # 1 J = 1e12 pJ = 1/3.6e6 kWh; x 1.5 x 381 g/kWh
    found = carbon.emissions(1e12, carbon.region("DEU"), 1.5)
    assert found["operational_g"] == pytest.approx(1.5 * 381 / 3.6e6, rel=1e-12)
    assert carbon.bill(1e12, 0.3, 1.5)["electricity"] == pytest.approx(1.5 * 0.3 / 3.6e6)


def test_unknown_energy_has_unknown_emissions() -> None:
    assert carbon.emissions(None, carbon.region("FRA"), 1.0)["operational_g"] is None
    assert carbon.bill(None, 0.3, 1.0)["electricity"] is None


@pytest.mark.parametrize("text", ["GBR", "gbr", "United Kingdom", " united kingdom "])
def test_a_region_is_a_code_or_a_name(text: str) -> None:
    assert carbon.region(text).code == "GBR"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Germny", "; did you mean DEU (Germany)?"),
        ("FRB", "; did you mean FRA (France)?"),
        ("", ""),
        ("12345", ""),
    ],
)
def test_another_region_is_refused_with_the_nearest(text: str, hint: str) -> None:
    with pytest.raises(ModelError) as error:
        carbon.region(text)
    assert str(error.value) == (
        f"--region must be one of {', '.join(carbon.regions())} or a country's name, not "
        f"'{text}'{hint}"
    )


def test_every_region_has_a_year_a_source_and_a_sane_figure() -> None:
    assert len(carbon.regions()) >= 15
    for code, each in carbon.regions().items():
        assert code == each.code.upper()
        assert 2018 <= each.year <= 2026
        assert 10 < each.g_per_kwh < 1000  # hydropower to lignite
        assert each.source
        assert each.name


def test_a_report_has_both(mlp: str) -> None:
    chosen = {"region": "france", "price_per_kwh": 0.25, "pue": 1.58}
    found = tetrapla.simulate(mlp, "tpu-v1", samples=1, **chosen)
    data = found.to_dict()
    kwh = data["energy_pj"]["total"] / 3.6e18
    assert data["co2"] == {
        "region": "FRA",
        "grid_g_per_kwh": 56,
        "year": 2023,
        "pue": 1.58,
        "operational_g": pytest.approx(kwh * 1.58 * 56, rel=1e-12),
        "source": carbon.region("FRA").source,
    }
    assert data["cost"] == {
        "price_per_kwh": 0.25,
        "pue": 1.58,
        "electricity": pytest.approx(kwh * 1.58 * 0.25, rel=1e-12),
    }
    assert data["warnings"][-1] == (
        "the chip's energy x PUE 1.58; operational CO2 is that x 56 g/kWh (France, 2023; "
        f"{carbon.region('FRA').source}), without what making the hardware emitted; cost is "
        "that x 0.25 a kWh, electricity alone"
    )
    assert data["command"].endswith("--region france --pue 1.58 --price-per-kwh 0.25")


def test_a_chip_without_prices_has_neither(mlp: str) -> None:
    found = tetrapla.simulate(mlp, "edge-tpu", samples=1, region="DEU").to_dict()
    assert found["energy_pj"]["total"] is None
    assert found["co2"]["operational_g"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--pue", "0.9", "--region", "DEU"),
            "--pue must be from 1 to 10, not 0.9; it is what "
            "a site draws over what its computers draw",
        ),
        (
            ("--pue", "nan", "--region", "DEU"),
            "--pue must be from 1 to 10, not nan; it is what "
            "a site draws over what its computers draw",
        ),
        (("--pue", "1.2"), "--pue must come with --region or --price-per-kwh, not alone"),
        (("--price-per-kwh", "-1"), "--price-per-kwh must be at least 0, not -1"),
        (("--price-per-kwh", "cheap"), "--price-per-kwh must be a number, not 'cheap'"),
    ],
)
def test_wrong_numbers_are_refused(
    words: tuple[str, ...], message: str, refused: Callable[..., None], mlp: str
) -> None:
    refused(message, "simulate", mlp, "--target", "tpu-v1", *words)


def test_regions_are_listed(cli: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = cli("regions")
    assert status == 0
    line = next(line for line in out.splitlines() if line.startswith("DEU"))
    assert line.split()[:5] == ["DEU", "Germany", "2023", "381", "g/kWh"]
