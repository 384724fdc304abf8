"""Random programs on the RTL, on the Python machine and on its judge: what differs first.

python -m tests.rtl.agreement FIRST COUNT
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from tests.rtl import programs
from tests.rtl.test_machine import small
from tetrapla.ir.errors import ModelError
from tetrapla.simulators.rtl.machine import RtlRun, run
from tetrapla.simulators.systolic.every_cycle.machine import every_cycle
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import Schedule, schedule
from tetrapla.simulators.systolic.values import State, execute

_SPARE_CYCLES = 1000
_LENGTH = 14  # instructions behind those that fill the tables
# fast links, so that the engines and not transfers are most of what the judge steps through
_LINKS = ("dram.bandwidth=300 GB/s", "host.bandwidth=200 GB/s", "host.latency=50 ns")
_NARROW = "dram.bandwidth=9 GB/s"  # 13 bytes a cycle: less than a tile
SPECS = (
    small(4, 4, *_LINKS, "dram.latency=6 ns", _NARROW),
    small(8, 8, *_LINKS, "dram.latency=0 ns"),
    small(4, 4, *_LINKS, "dram.latency=30 ns", dataflow="output_stationary"),
    small(4, 8, *_LINKS, "dram.latency=11 ns"),
    small(8, 8, *_LINKS, "dram.latency=3 ns", dataflow="output_stationary"),
    small(8, 4, *_LINKS, "dram.latency=60 ns"),
)


def drawn(seed: int, length: int = _LENGTH) -> tuple[Program, SystolicSpec, bool]:
    """Program `seed`, and whether it is in order; else its waits behind the tables are any."""
    rng, spec = np.random.default_rng(seed), SPECS[seed // 2 % len(SPECS)]
    stays = spec.array.dataflow == "output_stationary"
    draft = programs.draft(rng, spec.array.rows, spec.array.cols, length, stays)
    ordered = seed % 2 == 0
    made = programs.ordered(draft) if ordered else programs.racing(draft)
    filled = [i.op for i in made].index("LW")
    made[filled] = replace(made[filled], waits={**made[filled].waits, "DMA": 0})
    return programs.program(draft, made), spec, ordered


def differences(seeds: Iterable[int]) -> dict[int, str]:
    """Of the programs that differ, what differs first."""
    found = ((seed, difference(*drawn(seed), judged=True)) for seed in seeds)
    return {seed: text for seed, text in found if text}


def difference(program: Program, spec: SystolicSpec, ordered: bool, judged: bool) -> str:
    """The first difference in words, empty where there is none.

    Args:
        program: legal; DRAM behind its constants starts as zeros.
        spec: the design point.
        ordered: no instruction races another, so that the values mean something.
        judged: run the judge too, every register of every PE in every cycle.
    """
    plan = schedule(program, spec)
    state = State(program, 1)
    state.regions[:] = 0
    dram = np.concatenate([state.constants, state.regions[0]])
    sums = state.sums("i32", 0, program.accumulator_rows)[0]
    try:
        most = plan.cycles + _SPARE_CYCLES
        rtl = run(program, spec, dram, state.buffer[0], sums, most, watch=ordered)
    except ModelError as error:
        return str(error)
    if found := _trace(program, plan, rtl):
        return found
    if ordered:
        execute(program, state)
        sums = state.sums("i32", 0, program.accumulator_rows)[0]
        if not np.array_equal(rtl.dram[len(state.constants) :], state.regions[0]):
            return "DRAM"
        if not np.array_equal(rtl.buffer, state.buffer[0]):
            return "unified buffer"
        if not np.array_equal(rtl.accumulators[:, : sums.shape[1]], sums):
            return "accumulators"
    return _judge(program, spec, rtl, ordered) if judged else ""


def _trace(program: Program, plan: Schedule, rtl: RtlRun) -> str:
    """Dispatches, which waits tie to retirements, MARKs and the whole."""
    if not np.array_equal(rtl.dispatched, plan.dispatch):
        at = int(np.flatnonzero(rtl.dispatched != plan.dispatch)[0])
        return f"dispatch of {program.instructions[at].op}"
    marks = [
        (i["id"], t)
        for i, t in zip(program.instructions, plan.dispatch, strict=True)
        if i.op == "MARK"
    ]
    if rtl.marks != tuple(marks):
        return "marks"
    return "" if rtl.cycles == plan.cycles else "cycles"


def _judge(program: Program, spec: SystolicSpec, rtl: RtlRun, ordered: bool) -> str:
    region = bytes(program.dram_bytes - len(program.constants))
    judge = every_cycle(program, spec, region)
    if judge.dispatch != rtl.dispatched.tolist() or judge.cycles != rtl.cycles:
        return "the judge's cycles"
    if ordered and not np.array_equal(judge.buffer, rtl.buffer):
        return "the judge's unified buffer"
    if ordered and not np.array_equal(judge.dram, rtl.dram):
        return "the judge's DRAM"
    return ""


def main() -> None:
    """Compare FIRST .. FIRST + COUNT - 1; print how many agree, then what differs by number."""
    first, count = map(int, sys.argv[1:])
    differing = differences(range(first, first + count))
    sys.stdout.write(f"{count - len(differing)} {differing}\n")


if __name__ == "__main__":
    main()
