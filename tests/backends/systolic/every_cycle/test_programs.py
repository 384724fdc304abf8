"""Random programs in the judge: whatever the instructions and waits, the cycles agree."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.backends.systolic.every_cycle.conftest import Judge, chips
from tetrapla.simulators.systolic.isa import ENGINES, Instruction, parse
from tetrapla.simulators.systolic.legal import check_legal
from tetrapla.simulators.systolic.program import Layer, Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.tables import Descriptor, RequantizeRow
from tetrapla.simulators.systolic.timing import held_cycles, schedule

DESCRIPTOR = Descriptor(0, 3, width=40, out_w=40, pixel_stride=3).pack()
ROW = RequantizeRow(
    3, 0, -128, 127, False, np.zeros(3, np.int32), np.ones(3, np.float32)
).pack()
WINDOW = Descriptor(0, 3, 2, 1, 1, 40, 1, 40, pixel_stride=3, low=-9, high=9).pack()
CONSTANTS = DESCRIPTOR + WINDOW + ROW.ljust(128, b"\0") + bytes(64)
FIRST = (
    "MARK",
    "CFG dram=0 bytes=128",
    "CFG dram=128 index=1 bytes=128",
    f"CFG dram=256 kind=1 bytes={len(ROW)}",
    "LDW dram=384 rows=2 cols=3",
    "LDW dram=384 slot=1 rows=1 cols=2 wait=DMA:0",
    "LW wait=DMA:0",
    "MM len=1 lanes=1 swap=1 wait=LW:0",
)
LAST = ("MARK", "HALT")


@st.composite
def instructions(draw: st.DrawFn) -> Instruction:
    """Any instruction with any waits: what it computes is nobody's business here."""
    names = ["NOP", "SYNC", "MARK", "LDW", "LDA", "LW", "MM", "RQ", "VE", "ST", "CFG"]
    op, length, one = draw(st.sampled_from(names)), draw(st.integers(1, 12)), st.integers(0, 1)
    func = draw(st.sampled_from([0, 4]))
    waits = draw(st.dictionaries(st.sampled_from(ENGINES), st.integers(0, 6), max_size=3))
    operands = {
        "LDW": {"dram": 384, "slot": draw(one), "rows": draw(st.integers(1, 2)), "cols": 2},
        "LDA": {"dram": 384, "bytes": length, "host": draw(one)},
        "ST": {"dram": len(CONSTANTS), "bytes": length, "host": draw(one)},
        "LW": {"slot": draw(one)},
        "MM": {"len": length, "lanes": 2, "swap": draw(one), "accumulate": draw(one)},
        "RQ": {"len": length, "cols": 3, "raw": draw(one)},
        "VE": {"func": func, "a": 0 if func else draw(one), "len": length},
        "CFG": {"dram": 128, "index": 1, "bytes": 128},
    }
    return Instruction(op, operands.get(op, {}), waits)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(chips(), st.lists(instructions(), max_size=25))
def test_random_programs_take_the_recurrence_s_cycles(
    spec: SystolicSpec, middle: list[Instruction]
) -> None:
    assume(spec.array.cols >= 3)
    program = Program(
        name="random",
        rows=spec.array.rows,
        cols=spec.array.cols,
        weight_slots=2,
        accumulator_rows=12,
        unified_buffer_bytes=512,
        dram_bytes=len(CONSTANTS) + 64,
        instructions=(*map(parse, FIRST), *middle, *map(parse, LAST)),
        constants=CONSTANTS,
        layers=(Layer("all", "test", 0),),
        packed={},
        inputs=(),
        outputs=(),
        to_device=(),
        from_device=(),
    )
    check_legal(program)
    judge = Judge(program, spec, bytes(64))
    cycles = judge.run()
    plan = schedule(program, spec)
    assert judge.dispatched == [event.dispatch for event in plan.events]
    assert cycles == plan.cycles
    assert sum(sum(c.values()) for c in held_cycles(plan, [0])) == cycles
