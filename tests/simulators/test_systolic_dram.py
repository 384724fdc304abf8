"""Laws of the memory model and of the counts, on random programs of random machines.

Double counting, negative stalls and partial sums that nobody reads back are known faults of
other simulators; here they would be broken laws.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from tests.simulators.every_cycle.programs import random_program
from tetrapla.simulators.report import summed
from tetrapla.simulators.systolic.counts import actions
from tetrapla.simulators.systolic.formats import PRODUCTS
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import held_cycles, schedule, transfer_bytes

PROGRAMS = [random_program(np.random.default_rng(seed), True) for seed in range(60)]
MOVES = ("LDW", "LDA", "ST", "CFG", "GTH")


def transfers(program: Program) -> list[tuple[int, Instruction]]:
    return [(n, i) for n, i in enumerate(program.instructions) if i.op in MOVES]


def faster(spec: SystolicSpec, times: float) -> SystolicSpec:
    dram = spec.dram.model_copy(
        update={
            "bandwidth_bytes_per_s": spec.dram.bandwidth_bytes_per_s * times,
            "latency_s": spec.dram.latency_s / times,
        }
    )
    return spec.model_copy(update={"dram": dram})


def test_a_run_takes_its_bytes_over_the_bandwidth_at_least() -> None:
    for program, spec in PROGRAMS:
        seconds = Fraction(0)
        for _, i in transfers(program):
            link = spec.host if i["host"] else spec.dram
            seconds += transfer_bytes(program, i) / Fraction(link.bandwidth_bytes_per_s)
        assert schedule(program, spec).cycles >= seconds * Fraction(spec.clock_hz)


def test_every_transfer_is_timed_once_and_alone() -> None:
    for program, spec in PROGRAMS:
        plan = schedule(program, spec)
        busy = [(plan.dispatch[n], plan.free[n]) for n, _ in transfers(program)]
        assert all(one[1] <= two[0] for one, two in pairwise(busy))
        for (start, end), (_, i) in zip(busy, transfers(program), strict=True):
            link = spec.host if i["host"] else spec.dram
            exact = Fraction(spec.clock_hz) / Fraction(link.bandwidth_bytes_per_s)
            pieces = program.gathers[i["routine"]].count if i.op == "GTH" else 1
            least = transfer_bytes(program, i) * exact
            assert least <= end - start < least + pieces  # rounded up once for each piece


def test_every_byte_is_counted_once() -> None:
    for program, _ in PROGRAMS:
        total = summed(actions(program))
        moved = {"read": 0, "write": 0, "host": 0}
        for _, i in transfers(program):
            way = "host" if i["host"] else "write" if i.op == "ST" else "read"
            moved[way] += transfer_bytes(program, i)
        assert total["dram.read_byte"] == moved["read"]
        assert total["dram.write_byte"] == moved["write"]
        assert total["host_link.byte"] == moved["host"]


def test_no_stall_is_negative_and_all_add_up() -> None:
    for program, spec in PROGRAMS:
        plan = schedule(program, spec)
        assert all(two > one for one, two in pairwise(plan.dispatch))
        assert all(
            dispatch <= free <= retire
            for dispatch, free, retire in zip(
                plan.dispatch, plan.free, plan.retire, strict=True
            )
        )
        middle = plan.cycles // 2
        first, second = held_cycles(plan, [0, middle])
        assert min([*first.values(), *second.values()]) > 0
        assert sum(first.values()) == middle
        assert sum(second.values()) == plan.cycles - middle


@pytest.mark.parametrize("times", [2.0, 1000.0])
def test_a_faster_dram_never_takes_longer(times: float) -> None:
    shorter = 0
    for program, spec in PROGRAMS:
        slow, fast = schedule(program, spec), schedule(program, faster(spec, times))
        assert fast.cycles <= slow.cycles
        shorter += fast.cycles < slow.cycles
    assert shorter == len(PROGRAMS)  # all of them load something


def test_partial_sums_are_read_back() -> None:
    found = 0
    for program, _ in PROGRAMS:
        if program.dataflow == "output_stationary":
            continue
        total = summed(actions(program))
        cut = [i for i in program.instructions if i.op != "RQ"]
        # without RQ, what is read is what MM accumulates: as much as those MMs write
        written, read = _accumulated(program, cut)
        assert summed(actions(_with(program, cut)))["accumulator.read_byte"] == read
        assert total["accumulator.write_byte"] == written
        found += read > 0
    assert found >= 10


def test_every_pe_and_cycle_of_an_mm_is_counted_once() -> None:
    for program, spec in PROGRAMS:
        array, plan = spec.array, schedule(program, spec)
        cycles = 0
        for n, i in enumerate(program.instructions):
            if i.op == "MM":
                busy = plan.free[n] - plan.dispatch[n]
                cycles += busy // array.formats[PRODUCTS[i["fmt"]]]
        total = summed(actions(program))
        done = sum(count for name, count in total.items() if name.startswith("mac."))
        assert done == cycles * array.rows * array.cols * array.units
        assert all(count >= 0 for layer in actions(program) for count in layer.values())


def test_gating_moves_macs_to_zeros_and_changes_nothing_else() -> None:
    found = 0
    for program, _ in PROGRAMS:
        plain, gated = summed(actions(program)), summed(actions(program, gate_zeros=True))
        zeros = gated.pop("mac.zero", 0)
        kinds = [name for name in plain if name.startswith("mac.") and name != "mac.idle"]
        assert sum(plain.pop(n) for n in kinds) == sum(gated.pop(n, 0) for n in kinds) + zeros
        assert plain == gated
        found += zeros > 0
    assert found >= 5


def _with(program: Program, instructions: list[Instruction]) -> Program:
    return replace(program, instructions=tuple(instructions))


def _accumulated(program: Program, instructions: list[Instruction]) -> tuple[int, int]:
    """Bytes that MMs write to the accumulators, and those that they read first."""
    written = read = before = 0
    for n, i in enumerate(instructions):
        if i.op != "MM":
            continue
        after = summed(actions(_with(program, instructions[: n + 1])))["accumulator.write_byte"]
        written, step = int(after), int(after) - before
        before = int(after)
        read += step if i["accumulate"] else 0
    return written, read
