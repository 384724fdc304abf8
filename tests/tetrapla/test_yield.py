"""Yield: shares by hand, Wilson's interval against the binomial distribution."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from math import comb
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapla.quantities import chip_yield
from tetrapla.simulators.yield_ import wilson, yield_of


def test_five_chips_by_hand() -> None:
    found = yield_of([0.9, 0.95, 0.97, 0.98, 1.0], 0.96)
    assert (found.chips, found.good_frac, found.least_accuracy) == (5, 0.6, 0.96)
    # between the ends, linear in rank: 0.2 of the way from 0.9 to 0.95, and from 1.0 to 0.98
    assert found.accuracy_quantiles == pytest.approx({"0.05": 0.91, "0.5": 0.97, "0.95": 0.996})
    # (0.6 + 1.9207 / 5 +- 1.96 sqrt(0.24 / 5 + 3.8415 / 100)) / (1 + 3.8415 / 5)
    assert found.interval_95 == pytest.approx((0.2307, 0.8824), abs=1e-4)
    assert chip_yield(asdict(found)) == (
        "yield: 3 of 5 chips have an accuracy of at least 96.0 %, so 23 to 88 % of all do, "
        "with 95 % confidence; 5, 50 and 95 % of the chips have at most 91.0, 97.0, 99.6 %"
    )


@given(st.integers(1, 60), st.data())
def test_an_interval_holds_its_share_and_turns_around(count: int, data: Any) -> None:
    good = data.draw(st.integers(0, count))
    low, high = wilson(good, count)
    assert 0 <= low <= good / count <= high <= 1
    assert wilson(count - good, count) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_the_interval_covers_about_as_often_as_it_says(share: float) -> None:
    """Over all outcomes of 100 chips; Wilson's coverage is near 95 %, above it or below."""
    covered = 0.0
    for good in range(101):
        low, high = wilson(good, 100)
        if low <= share <= high:
            covered += comb(100, good) * share**good * (1 - share) ** (100 - good)
    assert covered == pytest.approx(0.95, abs=0.03)


def test_chips_and_what_a_good_one_has_are_asked_for(
    cli: Callable[..., Any], mlp: str, tmp_path: Path
) -> None:
    words = ["simulate", mlp, "--target", "isaac", "--data", "digits", "--samples", 40]
    words += ["--set", "device.spread=0.4", "--chips", 8, "--least-accuracy", 0.9]
    done = cli(*words, "--json", tmp_path / "r.json")
    assert done.status == 0
    assert "isaac: yield: " in done.out
    report = json.loads((tmp_path / "r.json").read_text("utf-8"))
    found = report["yield"]
    assert (found["chips"], found["least_accuracy"]) == (8, 0.9)
    assert report["accuracy"]["seeds"] == 8
