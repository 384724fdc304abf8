"""The arrays alone: every sum of every cycle, in the cycle that the timing laws state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tetrapla.ir.graph import Array
from tetrapla.simulators.rtl.model import Model
from tetrapla.simulators.rtl.toolchain import Design, lint

HERE = Path(__file__).parent
CYCLES = 1024
SIZES = [
    (4, 4),
    (8, 8),
    (4, 16),
    *(pytest.param(*size, marks=pytest.mark.slow) for size in [(16, 16), (32, 32), (16, 8)]),
]
WS = ("sa_ws.sv", "pe_ws.sv", "sa_ws_structural.sv", HERE / "sa_ws_bench.sv")


def weight_stationary(rows: int, cols: int, structural: bool = False) -> Design:
    return Design(
        "sa_ws_bench",
        WS,
        {"R": rows, "C": cols, "LOG_CYCLES": 10, "STRUCTURAL": int(structural)},
        ("rows", "swap", "weights", "shift", "sums"),
    )


def output_stationary(rows: int, cols: int) -> Design:
    return Design(
        "sa_os_bench",
        ("sa_os.sv", HERE / "sa_os_bench.sv"),
        {"R": rows, "C": cols, "LOG_CYCLES": 10},
        ("taps", "first", "weights", "drain", "sums"),
    )


def played(design: Design, *stimuli: Array) -> Array:
    """What was on the output, (CYCLES, columns), for the stimuli in the memories' order."""
    with Model(design) as model:
        for name, stimulus in zip(design.memories, stimuli, strict=False):
            model.memory(name, stimulus.dtype)[:] = stimulus.reshape(-1)
        model.reset()
        assert model.run(CYCLES + 1) == CYCLES
        return model.memory("sums", np.int32).reshape(CYCLES, -1).copy()


def operands(rng: np.random.Generator, rows: int, cols: int) -> tuple[Array, Array]:
    """Activations int9 in int16 and weights int8, extremes among them."""
    x = rng.integers(-256, 256, (CYCLES, rows)).astype(np.int16)
    w = rng.integers(-128, 128, (CYCLES, cols)).astype(np.int8)
    x[rng.random(x.shape) < 0.1] = -256
    w[rng.random(w.shape) < 0.1] = -128
    return x, w


@pytest.mark.parametrize(("rows", "cols"), SIZES)
@pytest.mark.parametrize("behind", [0, 5])
def test_tiles_follow_each_other_after_the_longer_of_rows_and_shift(
    rng: np.random.Generator, rows: int, cols: int, behind: int
) -> None:
    x, w = operands(rng, rows, cols)
    length = rows + behind  # rows of activations: max(M, R) = M
    starts = range(0, CYCLES - length - 3 * rows - cols, length)
    swap, shift = np.zeros((2, CYCLES), np.uint8)
    for start in starts:
        shift[start : start + rows] = 1
        swap[start + rows] = 1
    found = played(weight_stationary(rows, cols), x, swap, w, shift)
    for start in starts:
        tile = w[start : start + rows][::-1].astype(np.int32)
        first = start + rows
        t0 = first + 1
        seen = t0 + rows + cols - 1
        wanted = x[first : first + length].astype(np.int32) @ tile
        assert np.array_equal(found[seen : seen + length], wanted)


@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (8, 4), (4, 8)])
def test_loops_are_the_structural_array_in_every_cycle(
    rng: np.random.Generator, rows: int, cols: int
) -> None:
    x, w = operands(rng, rows, cols)
    swap, shift = (rng.random((2, CYCLES)) < [[0.2], [0.7]]).astype(np.uint8)
    loops, structural = (
        played(weight_stationary(rows, cols, structural), x, swap, w, shift)
        for structural in (False, True)
    )
    assert loops.any()
    assert np.array_equal(loops, structural)


@pytest.mark.parametrize(("rows", "cols"), SIZES)
@pytest.mark.parametrize("taps", [1, 0, 3])
def test_sums_drain_behind_each_other_in_the_stated_cycles(
    rng: np.random.Generator, rows: int, cols: int, taps: int
) -> None:
    count = rows + taps if taps != 1 else 1  # of a pass; one tap has the period R
    period = max(count, rows)
    x, w = operands(rng, rows, cols)
    first, drain = np.zeros((2, CYCLES), np.uint8)
    starts = range(0, CYCLES - period - 3 * rows - cols, period)
    for start in starts:
        first[start] = 1
        drain[start + count - 1] = 1
    found = played(output_stationary(rows, cols), x, first, w, drain)
    for start in starts:
        part = slice(start, start + count)
        wanted = x[part].T.astype(np.int32) @ w[part].astype(np.int32)
        t0 = start + 1
        for row in range(rows):
            seen = t0 + count + cols - 1 + 2 * (rows - 1) - row
            assert np.array_equal(found[seen], wanted[row])


@pytest.mark.parametrize(
    "design",
    [weight_stationary(4, 8), weight_stationary(4, 4, True), output_stationary(8, 4)],
    ids=["loops", "structural", "output stationary"],
)
def test_the_arrays_are_lint_clean(design: Design) -> None:
    assert lint(design) == ""
