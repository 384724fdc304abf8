"""The recurrence and the values against the judge, on random programs of random machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.simulators.every_cycle.programs import random_program
from tetrapla.ir.errors import ModelError
from tetrapla.simulators.systolic import timing
from tetrapla.simulators.systolic.every_cycle import machine
from tetrapla.simulators.systolic.every_cycle.array import WINDOW
from tetrapla.simulators.systolic.every_cycle.machine import Trace, every_cycle
from tetrapla.simulators.systolic.every_cycle.product import Product
from tetrapla.simulators.systolic.isa import Instruction, parse
from tetrapla.simulators.systolic.legal import check_legal
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import held_cycles, schedule
from tetrapla.simulators.systolic.values import State, execute


def agree(program: Program, spec: SystolicSpec, trace: Trace, safe: bool) -> None:
    """Every event, the cycles, and every byte of buffer and DRAM."""
    plan = schedule(program, spec)
    engines = [n for n, i in enumerate(program.instructions) if i.engine is not None]
    assert trace.dispatch == plan.dispatch
    assert [trace.free[n] for n in engines] == [plan.free[n] for n in engines]
    assert [trace.retire[n] for n in engines] == [plan.retire[n] for n in engines]
    assert trace.cycles == plan.cycles
    assert sum(sum(layer.values()) for layer in held_cycles(plan, [0])) == trace.cycles
    if safe:
        state = State(program, 1)
        execute(program, state)
        assert np.array_equal(trace.buffer, state.buffer[0])
        assert np.array_equal(trace.dram[len(program.constants) :], state.regions[0])


def hold(first: int, count: int) -> None:
    """Three of four programs have waits for every hazard; the fourth's values are nobody's."""
    for seed in range(first, first + count):
        safe = seed % 4 != 3
        program, spec = random_program(np.random.default_rng(seed), safe)
        check_legal(program)
        agree(program, spec, every_cycle(program, spec), safe)


@pytest.mark.parametrize("block", range(4))
def test_random_programs_agree_in_every_event_and_byte(block: int) -> None:
    hold(100 * block, 100)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_many_random_programs_agree_in_every_event_and_byte(block: int) -> None:
    hold(1000 + 400 * block, 400)


def test_the_judge_s_logs_slide() -> None:
    """Transfers of thousands of cycles: what enters and leaves is kept for a while only."""
    for seed in range(6):
        program, spec = random_program(np.random.default_rng(seed), True, most=8)
        dram = spec.dram.model_copy(update={"latency_s": 1.5 * WINDOW / spec.clock_hz})
        slow = spec.model_copy(update={"dram": dram})
        agree(program, slow, every_cycle(program, slow), safe=True)


@pytest.mark.slow  # most of it is the compiler's time
@pytest.mark.parametrize("block", range(2))
def test_stretches_of_cycles_at_once_are_one_after_the_other(block: int) -> None:
    """Compiled steps and quiet stretches: every event and byte, with and without waits."""
    pytest.importorskip("numba", reason="the extra 'fast' is not installed")
    for seed in range(150 * block, 150 * block + 150):
        program, spec = random_program(np.random.default_rng(seed), seed % 4 != 3)
        plain, fast = every_cycle(program, spec), every_cycle(program, spec, fast=True)
        for name in ("dispatch", "free", "retire", "cycles"):
            assert getattr(plain, name) == getattr(fast, name), (seed, name)
        assert np.array_equal(plain.buffer, fast.buffer), seed
        assert np.array_equal(plain.dram, fast.dram), seed


@pytest.mark.slow  # as above
@pytest.mark.parametrize(("name", "seeds"), [("_touch", (603,)), ("_settle", range(0, 40, 4))])
def test_work_that_is_put_off_too_long_is_caught(
    name: str, seeds: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operands that enter late see what was written since (603: by LDA), sums come too late."""
    pytest.importorskip("numba", reason="the extra 'fast' is not installed")
    made = [random_program(np.random.default_rng(n), n % 4 != 3, most=40) for n in seeds]
    right = [every_cycle(*one).buffer for one in made]
    found = [every_cycle(*one, fast=True).buffer for one in made]
    assert all(map(np.array_equal, right, found))

    def nothing(*_: object) -> None:
        """Nothing is entered or settled early enough."""

    monkeypatch.setattr(f"{machine.__name__}._Machine.{name}", nothing)
    late = [every_cycle(*one, fast=True).buffer for one in made]
    assert not all(map(np.array_equal, right, late))


def drains(seed: int) -> tuple[Program, SystolicSpec]:
    """Two products of one tap each on an output-stationary array, one right after the other."""
    program, spec = random_program(np.random.default_rng(seed), True, most=0)
    lines = (
        "LW slot=0 wait=DMA:0",
        "MM desc=0 len=2 lanes=1 swap=1 drain=1 wait=LW:0",
        "MM desc=0 acc=4 len=2 row=1 lanes=1 drain=1",
        "RQ len=6 cols=1 ub=300 raw=1 wait=MM:0",
        "SYNC wait=RQ:0",
        "HALT",
    )
    made = (*program.instructions[:-1], *map(parse, lines))
    return replace(program, instructions=made), spec


def stationary_seed() -> int:
    """A machine with its outputs in place, 3 rows or more, and a first sum that is not zero."""
    for seed in range(200):
        program, spec = drains(seed)
        array = spec.array
        try:
            check_legal(program)
        except ModelError:
            continue
        state = State(program, 1)
        execute(program, state)
        if array.dataflow != "output_stationary" or array.rows < 3 or array.units > 1:
            continue
        if state.sums("i32", 0, 1)[0, 0, 0]:
            return seed
    raise AssertionError("no such machine among the first 200")


def test_drains_follow_each_other_after_as_many_cycles_as_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program, spec = drains(stationary_seed())
    agree(program, spec, every_cycle(program, spec), safe=True)
    state = State(program, 1)
    execute(program, state)

    def early(self: Product, i: object, t: int) -> bool:
        last = self.last_capture
        return last is None or t + 1 - last >= spec.array.rows - 1

    # one cycle sooner, sums of the two meet in a register
    monkeypatch.setattr(Product, "may_drain", early)
    assert not np.array_equal(every_cycle(program, spec).buffer, state.buffer[0])


@pytest.mark.parametrize("name", ["_PIPELINE", "product"])
def test_an_off_by_one_in_the_recurrence_is_caught(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "_PIPELINE":
        monkeypatch.setattr(timing, name, 3)
    else:
        right = timing.Work.product

        def late(self: timing.Work, i: Instruction) -> tuple[int, int]:
            issue, latency = right(self, i)
            return issue, latency + 1

        monkeypatch.setattr(timing.Work, name, late)
    with pytest.raises(AssertionError):
        hold(0, 8)


def test_a_program_that_runs_on_is_given_up() -> None:
    program, spec = random_program(np.random.default_rng(0), True)
    with pytest.raises(ModelError) as refused:
        every_cycle(program, spec, most_cycles=3)
    assert str(refused.value) == (
        "program 'random' must halt within 3 cycles, not run on; allow more"
    )
