"""Random networks, of the families that passes are tested on: every bit, also in strips."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.systolic.conftest import EXACT, KEY, chip, verdict
from tests.passes.random_graphs import FAMILIES, sampled
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.target_ import Options
from tetrapla.simulators.systolic.machine import run

_ALIKE = 4  # networks of a family and a memory


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["24 MiB", "3000 B"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_random_network_is_exact(family: str, memory: str, rng: np.random.Generator) -> None:
    make, known = FAMILIES[family]
    spec = chip(16, 16, 4096, 4, f"memories.unified_buffer={memory}")
    for seed in range(_ALIKE):
        steps = [str(step) for step in rng.choice(known, int(rng.integers(1, 6)))]
        module = make(steps, seed)
        inputs = sampled(module, seed)
        lowered = TARGET.lower(module, spec, inputs, Options())
        result = run(lowered.program, spec, inputs, KEY)
        assert verdict(lowered, spec, inputs, result) == EXACT, (steps, seed)
