"""How long a program takes: the max-plus recurrence over its instructions.

Dispatch is in order, at most one per cycle. With d the dispatch cycle of an instruction and n
the cycles that it occupies its engine, d+1 .. d+n:

    LW    n = R, retires d+n; on an output-stationary array n = 1
    LUW   n = rows, transposed the larger of rows and cols; retires d+n
    MM    n = rows x cycles per row, retires d+n+R+C; rows = len, or ceil(len / units) where
          the rows are split over the units
    MM    output-stationary: n = lanes x cycles per tap; one that drains retires d+n+2R+C-1 and
          issues its last tap at least R cycles after the drain before it, another retires d+n
    RQ    n = rows x bytes of a result, retires d+n+2; rows as for MM
    VE    n = rows x pixels x ceil(channels / lanes), retires d+n+2
    VX    n = the routine's cycles, retires d+n+2
    GTH   n = count x ceil(row bytes / bytes per cycle), retires d+n+latency
    DMA   any other: n = ceil(bytes / bytes per cycle), retires d+n+latency

An engine accepts its next instruction in the cycle of its last issue and retires in order
(none before the one sent before it). A wait asks for d >= retire + 1, HALT waits for all, and
the run takes d(HALT) + 1 cycles. No instruction's time depends on data, so the same program
always takes the same time. Bytes per cycle are a fraction, not a rounded number.

LW has read its slot when it retires. On an output-stationary array the slot is read by each MM
that multiplies with it, until that MM retires.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from math import ceil

from tetrapla.simulators.systolic.formats import PRODUCTS, tile_bytes
from tetrapla.simulators.systolic.isa import ENGINES, Instruction
from tetrapla.simulators.systolic.known import Known
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.routines import issue_cycles
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.vector import ADD

BOUND_BY = {
    "LW": "weight load",
    "MM": "array",
    "RQ": "vector",
    "VE": "vector",
    "DMA": "dma",
    None: "dispatch",
}
_PIPELINE = 2  # cycles from the last issue of RQ or VE to its write
_FINEST = 10**12  # picoseconds: finer than this, a latency would keep its float error


@dataclass(frozen=True)
class Event:
    """One instruction in time.

    Attributes:
        dispatch: cycle in which the dispatcher sent it.
        free: cycle from which its engine takes the next one.
        retire: cycle in which its results are written.
        cause: number of the instruction that set the dispatch cycle; -1 for the first.
        held: engine that held it up, None where only the dispatcher's order did.
    """

    dispatch: int
    free: int
    retire: int
    cause: int
    held: str | None


@dataclass(frozen=True)
class Schedule:
    """All events of a program, in its order, by column; and the cycles of the whole."""

    dispatch: list[int]
    free: list[int]
    retire: list[int]
    cause: list[int]
    held: list[str | None]
    cycles: int

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """The events by row."""
        columns = (self.dispatch, self.free, self.retire, self.cause, self.held)
        return tuple(Event(*row) for row in zip(*columns, strict=True))


def schedule(program: Program, spec: SystolicSpec, illegal: int | None = None) -> Schedule:
    """The recurrence.

    Args:
        program: legal, but for one instruction.
        spec: the design point.
        illegal: its number; of it only the dispatch is known, and nothing behind it.
    """
    work = Work(program, spec)
    sent: dict[str | None, list[int]] = {engine: [] for engine in ENGINES}
    dispatches: list[int] = []
    frees: list[int] = []
    retires: list[int] = []
    causes: list[int] = []
    holders: list[str | None] = []
    dispatch, drained, drain = -1, 0, -1
    for number, instruction in enumerate(program.instructions):
        engine, cause, held = instruction.engine, number - 1, None
        dispatch += 1
        if number == illegal:
            issue, latency = work.product(instruction) if instruction.op == "MM" else (0, 0)
        else:
            issue, latency = work.issue_and_latency(instruction)
        for other, allowed in _waits(instruction).items():
            queue = sent[other]
            if len(queue) > allowed and retires[queue[-1 - allowed]] >= dispatch:
                cause, held = queue[-1 - allowed], other
                dispatch = retires[cause] + 1
        retire = dispatch
        if engine is not None:
            queue = sent[engine]
            if queue and frees[queue[-1]] > dispatch:
                cause, held, dispatch = queue[-1], engine, frees[queue[-1]]
            if instruction["drain"]:
                if drain >= 0 and drained + work.rows - issue > dispatch:
                    cause, held, dispatch = drain, engine, drained + work.rows - issue
                drain, drained = number, dispatch + issue
            retire = dispatch + issue + latency
            if queue:
                retire = max(retire, retires[queue[-1]])
            queue.append(number)
        dispatches.append(dispatch)
        frees.append(dispatch + issue)
        retires.append(retire)
        causes.append(cause)
        holders.append(held)
        if number == illegal:
            break
    return Schedule(dispatches, frees, retires, causes, holders, dispatch + 1)


class Work:
    """How long each instruction occupies its engine, in the order of a program."""

    def __init__(self, program: Program, spec: SystolicSpec) -> None:
        self.rows = spec.array.rows
        self._program, self._spec = program, spec
        self._known = Known(program)
        self._stationary = spec.array.dataflow == "output_stationary"

    def issue_and_latency(self, instruction: Instruction) -> tuple[int, int]:
        """Cycles that an instruction occupies its engine, and from there to its results."""
        match instruction.op:
            case "LW":
                return 1 if self._stationary else self.rows, 0
            case "LUW":
                rows, cols = instruction["rows"], instruction["cols"]
                return max(rows, cols) if instruction["transpose"] else rows, 0
            case "MM":
                self._known.multiply(instruction)
                return self.product(instruction)
            case "RQ":
                width = self._known.result_bytes(instruction)
                return self._share(instruction) * width, _PIPELINE
            case "VE":
                a = self._known.descriptors[instruction["a"]]
                groups = ceil(a.channels / self._spec.vector.lanes)
                pixels = 1 if instruction["func"] == ADD else a.taps
                return instruction["len"] * pixels * groups, _PIPELINE
            case "VX":
                routine = self._program.routines[instruction["routine"]]
                return issue_cycles(routine, self._spec.vector.lanes), _PIPELINE
            case "LDW" | "LDA" | "ST" | "CFG" | "GTH":
                if instruction.op == "CFG" and instruction["kind"] == 0:
                    self._known.configure(instruction)
                return self._transfer(instruction)
            case _:
                return 0, 0

    def product(self, instruction: Instruction) -> tuple[int, int]:
        """As `issue_and_latency`, of MM."""
        array = self._spec.array
        pace = array.formats.get(PRODUCTS[instruction["fmt"]], 1)
        if self._stationary:
            latency = 2 * array.rows + array.cols - 1 if instruction["drain"] else 0
            return instruction["lanes"] * pace, latency
        return self._share(instruction) * pace, array.rows + array.cols

    def _share(self, instruction: Instruction) -> int:
        """Rows of each unit."""
        if instruction["spread"]:
            return instruction["len"]
        return -(-instruction["len"] // self._spec.array.units)

    def _transfer(self, instruction: Instruction) -> tuple[int, int]:
        spec = self._spec
        link = spec.host if instruction["host"] else spec.dram
        pace, latency = _link(spec.clock_hz, link.bandwidth_bytes_per_s, link.latency_s)
        if instruction.op == "GTH":
            gather = self._program.gathers[instruction["routine"]]
            return gather.count * _cycles(gather.row_bytes, pace), latency
        return _cycles(transfer_bytes(self._program, instruction), pace), latency


def _cycles(moved_bytes: int, pace: Fraction) -> int:
    """Whole cycles, rounded up."""
    return -(-moved_bytes * pace.numerator // pace.denominator)


def transfer_bytes(program: Program, instruction: Instruction) -> int:
    """What a DMA instruction moves."""
    match instruction.op:
        case "LDW":
            rows, cols = instruction["rows"], instruction["cols"]
            return tile_bytes(rows, cols, instruction["fmt"], bool(instruction["sparse"]))
        case "GTH":
            gather = program.gathers[instruction["routine"]]
            return gather.count * gather.row_bytes
        case _:
            return instruction["bytes"]


@lru_cache(maxsize=8)
def _link(
    clock_hz: float, bandwidth_bytes_per_s: float, latency_s: float
) -> tuple[Fraction, int]:
    """Cycles per byte, exact, and whole cycles of latency."""
    latency = Fraction(latency_s).limit_denominator(_FINEST) * Fraction(clock_hz)
    return Fraction(clock_hz) / Fraction(bandwidth_bytes_per_s), ceil(latency)


def held_cycles(plan: Schedule, starts: list[int]) -> list[dict[str, int]]:
    """Who was critical, per layer.

    The critical path is walked back from the end: where an engine held an instruction up, the
    cycles since that engine's instruction was dispatched are that engine's; other cycles are
    the dispatcher's. The cycles of all layers and causes add up to those of the run.

    Args:
        plan: the events.
        starts: cycle in which each layer begins, ascending from 0.
    """
    found: list[dict[str, int]] = [{} for _ in starts]
    layer, number, end = len(starts) - 1, len(plan.dispatch) - 1, plan.cycles
    while number >= 0:
        cause = plan.cause[number]
        start = plan.dispatch[cause] + 1 if cause >= 0 else 0
        stop = plan.dispatch[number] + 1
        name = BOUND_BY[plan.held[number]]
        while stop > start:
            while starts[layer] >= stop:
                layer -= 1
            first = max(start, starts[layer])
            found[layer][name] = found[layer].get(name, 0) + stop - first
            stop = first
        number = cause
        end = start
    assert end == 0 or not plan.dispatch, "the critical path starts at cycle 0"
    return found


def _waits(instruction: Instruction) -> Mapping[str, int]:
    return _ALL if instruction.op == "HALT" else instruction.waits


_ALL = dict.fromkeys(ENGINES, 0)
