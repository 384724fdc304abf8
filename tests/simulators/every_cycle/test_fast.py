"""The compiled steps against the plain ones: every register of every PE, and what leaves."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields

import numpy as np
import pytest

from tetrapla.ir.graph import Array
from tetrapla.simulators.systolic.every_cycle import array as plain
from tetrapla.simulators.systolic.every_cycle.array import NUMBERS, Edge, Grid, Registers

fast = pytest.importorskip(
    "tetrapla.simulators.systolic.every_cycle.fast",
    reason="the extra 'fast' is not installed",
)
STEPPERS = {
    "weight_stationary": (plain.step_weight_stationary, fast.step_weight_stationary),
    "output_stationary": (plain.step_output_stationary, fast.step_output_stationary),
}


def fill(rng: np.random.Generator, held: Registers | Edge) -> None:
    """Anything; bits never, seldom or as often as not."""
    for one in fields(held):
        values: Array = getattr(held, one.name)
        if values.dtype == np.bool_:
            values[:] = rng.random(values.shape) < rng.choice([0, 0.02, 0.5])
        elif values.dtype == np.uint8:
            values[:] = rng.integers(0, 4, values.shape)
        elif values.dtype == np.float32:
            values[:] = rng.normal(size=values.shape)
        else:
            info = np.iinfo(values.dtype)
            values[:] = rng.integers(info.min, info.max, values.shape, endpoint=True)


def grid(rng: np.random.Generator, kind: str, planes: int) -> Grid:
    """Up to 40 x 40 PEs, so that the last rows are fewer than go together."""
    rows, cols = rng.integers(1, 41, 2).tolist()
    made = Grid(rows, cols, NUMBERS[kind], plain.step_weight_stationary, planes)
    fill(rng, made.edge)
    fill(rng, made.registers)
    made.registers.sums[0] = made.registers.second[0] = 0
    return made


def differing(made: Grid, dataflow: str, start: int, cycles: int) -> list[str]:
    """The registers that are not equal after so many cycles."""
    out = np.zeros((cycles, made.cols), made.numbers.sums)
    twin, twin_out = deepcopy(made.registers), out.copy()
    one, other = STEPPERS[dataflow]
    with np.errstate(over="ignore"):
        one(made.registers, made.edge, start, out)
    other(twin, made.edge, start, twin_out)
    names = [f.name for f in fields(twin)]
    pairs = [(n, getattr(made.registers, n), getattr(twin, n)) for n in names]
    return [n for n, a, b in [*pairs, ("out", out, twin_out)] if not np.array_equal(a, b)]


@pytest.mark.slow  # most of it is the compiler's time
@pytest.mark.parametrize("dataflow", STEPPERS)
@pytest.mark.parametrize("planes", [1, 4])
@pytest.mark.parametrize("kind", NUMBERS)
def test_every_register_is_equal_on_random_arrays(
    rng: np.random.Generator, dataflow: str, planes: int, kind: str
) -> None:
    edges = (1, 2, 3, fast.BLOCK - 1, fast.BLOCK, fast.BLOCK + 1, 2 * fast.BLOCK + 5)
    for cycles in (*edges, *rng.integers(1, 100, 8).tolist()):
        made = grid(rng, kind, planes)
        start = made.history + int(rng.integers(0, 50))
        assert differing(made, dataflow, start, cycles) == []


@pytest.mark.parametrize("dataflow", STEPPERS)
def test_calls_that_follow_each_other_are_one(rng: np.random.Generator, dataflow: str) -> None:
    """The registers carry everything: stretches of any length give what one long one gives."""
    made = grid(rng, "i32", 1)
    start = made.history
    for cycles in (1, 5, 1, 70, 2, 40):
        assert differing(made, dataflow, start, cycles) == []
        start += cycles


@pytest.mark.parametrize("dataflow", STEPPERS)
def test_a_bit_that_comes_a_cycle_late_changes_registers(
    rng: np.random.Generator, dataflow: str
) -> None:
    """So that equality says something: the bits of these logs matter."""
    made = Grid(5, 7, NUMBERS["i32"], plain.step_weight_stationary)
    fill(rng, made.edge)
    fill(rng, made.registers)
    made.edge.begin[:] = made.edge.end[:] = False
    made.edge.begin[made.history + 3] = made.edge.end[made.history + 2] = True
    late, out = deepcopy(made), np.zeros((30, 7), np.int32)
    for log in (late.edge.begin, late.edge.end):
        log[1:] = log[:-1].copy()
    _, other = STEPPERS[dataflow]
    other(made.registers, made.edge, made.history, out)
    other(late.registers, late.edge, late.history, out.copy())
    held = "weight" if dataflow == "weight_stationary" else "sums"
    assert not np.array_equal(getattr(made.registers, held), getattr(late.registers, held))
