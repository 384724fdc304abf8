"""Formats by layer under a budget that a chip prices."""

from __future__ import annotations

import numpy as np
import pytest

import tetrapla
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.samples import drawn

CHIP = "isaac"  # fewer bits of a weight take fewer crossbars there, so it prices 4 bits lower


@pytest.fixture(scope="module")
def module(mlp: str) -> Module:
    return tetrapla.load(mlp)


@pytest.fixture(scope="module")
def data(module: Module) -> dict[str, Array]:
    found = drawn(module, 0).calibration
    assert found is not None
    return {name: array[:16] for name, array in found.items()}


def test_the_budget_is_met_by_as_few_narrow_layers_as_it_takes(
    module: Module, data: dict[str, Array]
) -> None:
    formats = ("i8", "i4")
    wide = tetrapla.choose_precision(module, CHIP, data, energy_pj=1e15, formats=formats)
    assert set(wide.layers.values()) == {"i8"}
    budget = wide.cost * (1 - 1e-9)
    found = tetrapla.choose_precision(module, CHIP, data, energy_pj=budget, formats=formats)
    assert sorted(found.layers.values()).count("i4") == 1
    assert found.cost <= budget
    assert found.rel_error > wide.rel_error
    # the chip's own price of the module that came back
    report = tetrapla.compile(found.module, CHIP, data).run({k: v[:1] for k, v in data.items()})
    assert report.energy.total_pj == found.cost


def test_a_budget_below_the_cheapest_and_none_are_refused(
    module: Module, data: dict[str, Array]
) -> None:
    with pytest.raises(ModelError) as caught:
        tetrapla.choose_precision(module, CHIP, data, energy_pj=1.0, formats=("i8", "i4"))
    text = str(caught.value)
    assert text.startswith("a budget must be at least ")
    assert text.endswith(
        "which all layers in i4 cost, not 1; allow more or offer a cheaper format"
    )
    for budget in (None, 1.0):
        with pytest.raises(ModelError) as caught:
            tetrapla.choose_precision(module, CHIP, data, latency_s=budget, energy_pj=budget)
        assert str(caught.value) == (
            "a budget must be one of latency_s and energy_pj, not both or none"
        )
    assert np.isfinite(next(iter(data.values()))).all()
