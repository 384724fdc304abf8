"""How long a program takes: the max-plus recurrence over its instructions.

Dispatch is in order, at most one per cycle. With d the dispatch cycle of an instruction:

    LW    busy d+1 .. d+R, retires d+R
    MM    issues its rows d+1 .. d+len, retires d+len+R+C
    RQ    issues its rows d+1 .. d+n, retires d+n+2, n = len, with raw 4 len
    VE    issues its work d+1 .. d+n, retires d+n+2, n = rows x pixels x ceil(channels / lanes)
    DMA   busy d+1 .. d+n, retires d+n+latency, n = ceil(bytes / bytes per cycle)

An engine accepts its next instruction in the cycle of its last issue and retires in order
(none before the one sent before it). A wait asks for d >= retire + 1, HALT waits for all, and
the run takes d(HALT) + 1 cycles. No instruction's time depends on data, so the same program
always takes the same time. Bytes per cycle are a fraction, not a rounded number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil

from tetrapla.simulators.systolic.formats import tile_bytes
from tetrapla.simulators.systolic.isa import ENGINES, Instruction
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.tables import Descriptor
from tetrapla.simulators.systolic.vector import ADD

BOUND_BY = {
    "LW": "weight load",
    "MM": "array",
    "RQ": "vector",
    "VE": "vector",
    "DMA": "dma",
    None: "dispatch",
}
RAW_BYTES = 4  # of an int32; RQ writes one byte per column and cycle
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
    """All events of a program, in its order, and the cycles of the whole."""

    events: tuple[Event, ...]
    cycles: int


def schedule(program: Program, spec: SystolicSpec) -> Schedule:
    """The recurrence."""
    sent: dict[str, list[int]] = {engine: [] for engine in ENGINES}
    events: list[Event] = []
    descriptors: dict[int, Descriptor] = {}
    for number, instruction in enumerate(program.instructions):
        _track(program, instruction, descriptors)
        engine = instruction.engine
        dispatch, cause, held = (events[-1].dispatch + 1 if events else 0), number - 1, None
        for other, allowed in _waits(instruction).items():
            place = len(sent[other]) - allowed - 1
            if place >= 0 and events[sent[other][place]].retire + 1 > dispatch:
                cause, held = sent[other][place], other
                dispatch = events[cause].retire + 1
        if engine is not None and sent[engine]:
            last = sent[engine][-1]
            if events[last].free > dispatch:
                dispatch, cause, held = events[last].free, last, engine
        issue, latency = issue_and_latency(program, spec, instruction, descriptors)
        free = dispatch + issue
        retire = free + latency
        if engine is not None:
            if sent[engine]:
                retire = max(retire, events[sent[engine][-1]].retire)
            sent[engine].append(number)
        events.append(Event(dispatch, free, retire, cause, held))
    return Schedule(tuple(events), events[-1].dispatch + 1 if events else 0)


def issue_and_latency(
    program: Program,
    spec: SystolicSpec,
    instruction: Instruction,
    descriptors: Mapping[int, Descriptor],
) -> tuple[int, int]:
    """Cycles that an instruction occupies its engine, and from there to its results."""
    match instruction.engine:
        case "LW":
            return spec.array.rows, 0
        case "MM":
            return instruction["len"], spec.array.rows + spec.array.cols
        case "RQ":
            return instruction["len"] * (RAW_BYTES if instruction["raw"] else 1), _PIPELINE
        case "VE":
            a = descriptors[instruction["a"]]
            groups = ceil(a.channels / spec.vector.lanes)
            pixels = 1 if instruction["func"] == ADD else a.taps
            return instruction["len"] * pixels * groups, _PIPELINE
        case "DMA":
            link = spec.host if instruction["host"] else spec.dram
            pace, latency = _link(spec.clock_hz, link.bandwidth_bytes_per_s, link.latency_s)
            return ceil(transfer_bytes(instruction) * pace), latency
        case _:
            return 0, 0


def transfer_bytes(instruction: Instruction) -> int:
    """What a DMA instruction moves."""
    if instruction.op == "LDW":
        return tile_bytes(
            instruction["rows"],
            instruction["cols"],
            instruction["fmt"],
            bool(instruction["sparse"]),
        )
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
    layer, number, end = len(starts) - 1, len(plan.events) - 1, plan.cycles
    while number >= 0:
        event = plan.events[number]
        start = plan.events[event.cause].dispatch + 1 if event.cause >= 0 else 0
        stop = event.dispatch + 1
        name = BOUND_BY[event.held]
        while stop > start:
            while starts[layer] >= stop:
                layer -= 1
            first = max(start, starts[layer])
            found[layer][name] = found[layer].get(name, 0) + stop - first
            stop = first
        number = event.cause
        end = start
    assert end == 0 or not plan.events, "the critical path starts at cycle 0"
    return found


def _waits(instruction: Instruction) -> Mapping[str, int]:
    return dict.fromkeys(ENGINES, 0) if instruction.op == "HALT" else instruction.waits


def _track(
    program: Program, instruction: Instruction, descriptors: dict[int, Descriptor]
) -> None:
    if instruction.op == "CFG" and instruction["kind"] == 0:
        start = instruction["dram"]
        data = program.constants[start : start + instruction["bytes"]]
        descriptors[instruction["index"]] = Descriptor.unpack(data)
