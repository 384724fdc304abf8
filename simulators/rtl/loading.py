"""What a program brings beside its words: the entries of VX and GTH, and its bounds."""

from __future__ import annotations

from collections.abc import Iterator

from tetrapla.ir.errors import ModelError
from tetrapla.simulators.rtl.package import LIMITS
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.routines import Routine, check, issue_cycles
from tetrapla.simulators.systolic.spec import SystolicSpec


def named(program: Program, spec: SystolicSpec) -> Iterator[tuple[int, ...]]:
    """The entries that VX and GTH name, as the words of `package.ROUTINE` and `GATHER`."""
    first = 0
    for routine in program.routines:
        count = len(routine.operands) + len(routine.results)
        legal = int(not complaint(routine, program))
        cycles = issue_cycles(routine, spec.vector.lanes) if legal else 1
        yield cycles, legal, first, count
        first += count
    for g in program.gathers:
        wide = int(g.index_dtype == "i64")
        yield g.dram, g.row_bytes, g.rows, g.indices_ub, wide, g.count, g.ub


def places(program: Program) -> list[int]:
    """What each routine reads and then writes: a bit for writes, 32 of end, 31 of start."""
    found = list[int]()
    for routine in program.routines:
        for writes, some in ((0, routine.operands), (1, routine.results)):
            for place in some:
                end = place.address + place.traffic_bytes
                found.append(writes << 63 | (end & 2**32 - 1) << 31 | place.address & 2**31 - 1)
    return found


def limits(program: Program, watch: bool) -> list[int]:
    """The program's bounds, in the order of `LIMITS`."""
    bounds = {
        "words": len(program.instructions),
        "constants": len(program.constants),
        "dram": program.dram_bytes,
        "buffer": program.unified_buffer_bytes,
        "slots": program.weight_slots,
        "sums": program.accumulator_rows,
        "layers": len(program.layers),
        "routines": len(program.routines),
        "gathers": len(program.gathers),
        "watch": int(watch),
    }
    return [bounds[name] for name in LIMITS]


def complaint(routine: Routine, program: Program) -> str:
    """What the static check says of a routine; empty where it is legal."""
    try:
        check(routine, program.unified_buffer_bytes)
    except ModelError as error:
        return str(error)
    return ""
