"""The integer requantiser against the float32 form of the Python machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tetrapla.ir.graph import Array
from tetrapla.simulators.rtl.model import Model
from tetrapla.simulators.rtl.toolchain import Design, lint
from tetrapla.simulators.systolic.requantize import requantized
from tetrapla.simulators.systolic.tables import RequantizeRow

LOG_CYCLES = 16
VECTORS = 2**LOG_CYCLES
DESIGN = Design(
    "requantize_bench",
    ("requantize_pkg.sv", "requantize.sv", Path(__file__).parent / "requantize_bench.sv"),
    {"LOG_CYCLES": LOG_CYCLES},
    ("sums", "biases", "scales", "ranges", "results"),
)
DIRECTED = (0, 1, -1, 2**24 - 1, 2**24, 2**24 + 1, 2**24 + 3, -(2**24) - 1, 2**31 - 1, -(2**31))


def vectors(rng: np.random.Generator, kind: int) -> tuple[Array, Array, Array]:
    """Sums of every size, biases, and scales: any, powers of two (ties), ones that fit."""
    sums = rng.integers(-(2**31), 2**31, VECTORS) >> rng.integers(0, 32, VECTORS)
    sums[: len(DIRECTED)] = DIRECTED
    biases = rng.integers(-5000, 5000, VECTORS)
    biases[: len(DIRECTED)] = 0
    match kind:
        case 0:
            scales = np.ldexp(rng.random(VECTORS) + 1, rng.integers(-40, 3, VECTORS))
        case 1:
            scales = np.ldexp(1.0, rng.integers(-26, 1, VECTORS))
        case _:
            scales = rng.random(VECTORS) * 300 / (np.abs(sums + biases) + 1.0)
    return sums.astype(np.int32), biases.astype(np.int32), scales.astype(np.float32)


def wanted(sums: Array, biases: Array, scales: Array, bounds: tuple[int, int, int]) -> Array:
    zero, low, high = bounds
    row = RequantizeRow(0, zero, low, high, low == 0, biases, scales)
    found: Array = requantized(sums[None, None], row, 1, (slice(None),))[0, 0]
    return found


@pytest.mark.parametrize("unsigned", [False, True])
def test_a_million_vectors_round_as_float32_does(
    rng: np.random.Generator, unsigned: bool
) -> None:
    ties = 0
    with Model(DESIGN) as model:
        kinds = {"sums": np.int32, "biases": np.int32, "scales": np.float32}
        held = [model.memory(name, kind) for name, kind in kinds.items()]
        ranges = model.memory("ranges", np.int16).reshape(VECTORS, 4)
        for part in range(9):
            sums, biases, scales = stimuli = vectors(rng, part % 3)
            zero = int(rng.integers(0, 256) if unsigned else rng.integers(-128, 128))
            bounds = (zero, 0, 255) if unsigned else (zero, -128, 127)
            for memory, stimulus in zip(held, stimuli, strict=True):
                memory[:] = stimulus
            ranges[:, :3] = bounds
            model.reset()
            model.run(VECTORS + 9)
            found = model.memory("results", np.int16)
            assert np.array_equal(found, wanted(sums, biases, scales, bounds))
            real = (sums.astype(np.float64) + biases) * scales
            ties += int(np.count_nonzero(np.abs(real % 1 - 0.5) == 0))
    assert ties > 1000  # else the rounding of ties would not be tested


def test_the_requantiser_is_lint_clean() -> None:
    assert lint(DESIGN) == ""
