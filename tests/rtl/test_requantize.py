"""The integer requantiser against the float32 form of the Python machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.rtl.mutants import PYTHON_REQUANTIZER, REQUANTIZER, Mutant, mutated
from tetrapla.ir.graph import Array
from tetrapla.simulators.rtl.model import Model
from tetrapla.simulators.rtl.toolchain import Design, lint
from tetrapla.simulators.systolic.requantize import requantized
from tetrapla.simulators.systolic.tables import RequantizeRow

DESIGN = Design(
    "requantize_bench",
    ("requantize_pkg.sv", "requantize.sv", Path(__file__).parent / "requantize_bench.sv"),
    {"LOG_CYCLES": 20},
    ("sums", "biases", "scales", "ranges", "results"),
)
SMALL = replace(DESIGN, parameters={"LOG_CYCLES": 14}, quick=True)
DIRECTED = (0, 1, -1, 2**24 - 1, 2**24, 2**24 + 1, 2**24 + 3, -(2**24) - 1, 2**31 - 1, -(2**31))
KINDS = 4


@dataclass
class Found:
    """How many vectors were compared, and of them ties and wrong ones."""

    vectors: int = 0
    ties: int = 0
    wrong: int = 0


def vectors(rng: np.random.Generator, kind: int, count: int) -> tuple[Array, Array, Array]:
    """Sums of every size, biases, and scales: any, powers of two (ties), ones that fit, ones
    that lead to halves but for what float32 rounds off."""
    sums = rng.integers(-(2**31), 2**31, count) >> rng.integers(0, 32, count)
    sums[: len(DIRECTED)] = DIRECTED
    biases = rng.integers(-5000, 5000, count)
    biases[: len(DIRECTED)] = 0
    match kind:
        case 0:
            scales = np.ldexp(rng.random(count) + 1, rng.integers(-40, 3, count))
        case 1:
            scales = np.ldexp(1.0, rng.integers(-26, 1, count))
        case 2:
            scales = rng.random(count) * 300 / (np.abs(sums + biases) + 1.0)
        case _:
            halves = rng.integers(0, 256, count) + 0.5
            scales = halves / (np.abs(sums + biases) + (sums + biases == 0))
    return sums.astype(np.int32), biases.astype(np.int32), scales.astype(np.float32)


def played(
    rng: np.random.Generator,
    parts: int,
    design: Design = DESIGN,
    judge: Callable[..., Any] = requantized,
) -> Found:
    """Compare the design with the judge on `parts` fills of its memories, signed and not."""
    count, found = 2 ** design.parameters["LOG_CYCLES"], Found()
    with Model(design) as model:
        kinds = {"sums": np.int32, "biases": np.int32, "scales": np.float32}
        held = [model.memory(name, kind) for name, kind in kinds.items()]
        ranges = model.memory("ranges", np.int16).reshape(count, 4)
        for part in range(parts):
            sums, biases, scales = stimuli = vectors(rng, part % KINDS, count)
            low, high = (0, 255) if part // KINDS % 2 else (-128, 127)
            zero = int(rng.integers(low, high + 1))
            for memory, stimulus in zip(held, stimuli, strict=True):
                memory[:] = stimulus
            ranges[:, :3] = zero, low, high
            model.reset()
            model.run(count + 9)
            row = RequantizeRow(0, zero, low, high, low == 0, biases, scales)
            wanted: Array = judge(sums[None, None], row, 1, (slice(None),))[0, 0]
            result = model.memory("results", np.int16)
            found.vectors += count
            found.wrong += int(np.count_nonzero(result != wanted))
            real = (sums + biases).astype(np.float64) * scales
            found.ties += int(np.count_nonzero(np.abs(real % 1 - 0.5) == 0))
    return found


def test_eight_million_vectors_round_as_float32_does(rng: np.random.Generator) -> None:
    found = played(rng, 2 * KINDS)
    assert found.vectors == 2**23
    assert found.ties > 1000  # else the rounding of ties would not be tested
    assert found.wrong == 0


@pytest.mark.slow
def test_a_hundred_million_vectors_round_as_float32_does(rng: np.random.Generator) -> None:
    found = played(rng, 96)
    assert found.vectors >= 10**8
    assert found.ties > 10**5
    assert found.wrong == 0


def test_the_requantiser_is_lint_clean() -> None:
    assert lint(DESIGN) == ""


def test_the_small_build_is_right_without_a_planted_error(rng: np.random.Generator) -> None:
    assert played(rng, 2 * KINDS, SMALL).wrong == 0


@pytest.mark.parametrize("mutant", REQUANTIZER, ids=str)
def test_an_error_in_the_rtl_is_caught(
    rng: np.random.Generator, tmp_path: Path, mutant: Mutant
) -> None:
    assert played(rng, 2 * KINDS, mutated(SMALL, mutant, tmp_path)).wrong > 0


@pytest.mark.parametrize("mutant", PYTHON_REQUANTIZER, ids=str)
def test_an_error_in_the_python_machine_is_caught(
    rng: np.random.Generator, mutant: Mutant
) -> None:
    assert played(rng, 2 * KINDS, SMALL, mutant.module().requantized).wrong > 0
