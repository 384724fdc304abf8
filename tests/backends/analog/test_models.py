"""Whole models on crossbars: what goes onto arrays, what the periphery does, and exactly so."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.analog.conftest import EXACT, KEY, chip, compiled, verdict
from tests.passes.random_graphs import FAMILIES, sampled
from tetrapla.simulators.analog import machine

SMALL = chip(32, 32).ideal()


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_model_of_every_step_is_computed_bit_by_bit(family: str) -> None:
    build, steps = FAMILIES[family]
    module = build(steps, 5)
    data = sampled(module, 5)
    lowered = compiled(module, SMALL, data)
    check, run = verdict(lowered, SMALL, data)
    assert check == EXACT
    assert lowered.program.products
    converted = machine.run(lowered.program, SMALL, data, KEY, fold=False)
    for name, array in run.outputs.items():
        np.testing.assert_array_equal(converted.outputs[name], array)
