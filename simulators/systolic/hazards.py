"""Hazards: an instruction that touches what one before it has not finished with.

An instruction holds what it reads and writes from its dispatch to its retirement. Another that
is dispatched in that time must not touch it if one of the two writes it. The granularity is the
entry of a table, the weight slot, the row of the accumulators, and the byte of the unified
buffer and of DRAM; of a window the bytes from its first image's first to its last image's last,
of rows with gaps between them the bytes from the first to the last.

An engine keeps its own order: there only a read of the unified buffer or of DRAM after a write
counts, since results arrive late, and a transfer into bytes of the unified buffer that one
before it still sends. LW may follow the MM that takes the shadow weights: its wave is behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tetrapla.simulators.systolic.faults import RULES, FaultError, broken
from tetrapla.simulators.systolic.formats import ELEMENT_BYTES, stored_format, tile_bytes
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.known import Known
from tetrapla.simulators.systolic.legal import first_illegal
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import Schedule, schedule
from tetrapla.simulators.systolic.vector import ADD, DEPTHWISE, LOOKUP, TABLE_BYTES


class Access(NamedTuple):
    """Places `start` .. `end` - 1 of a memory, as `faults.MEMORIES` names it."""

    memory: str
    start: int
    end: int
    writes: bool


class _Held(NamedTuple):
    """An access of an instruction that has not retired."""

    retire: int
    number: int
    engine: str | None
    start: int
    end: int
    writes: bool


def checked(program: Program, spec: SystolicSpec) -> Schedule:
    """The times of a program that is legal and waits where it must.

    Raises:
        FaultError: of the first instruction that is illegal or touches something too early.
            Of one that does both, table entries come first: what is legal depends on them.
    """
    illegal = first_illegal(program)
    plan = schedule(program, spec, None if illegal is None else illegal.number)
    early = first_hazard(program, plan)
    if early is not None:
        raise early
    if illegal is not None:
        raise illegal
    return plan


def first_hazard(program: Program, plan: Schedule) -> FaultError | None:
    """The first instruction that touches something too early.

    Args:
        program: legal, up to the last instruction that `plan` has, of which only the table
            entries are looked at unless it is the program's last.
        plan: its times.
    """
    touches = Touches(program)
    held: dict[str, list[_Held]] = {}
    count = len(plan.dispatch)
    for number, instruction in enumerate(program.instructions[:count]):
        now, engine = plan.dispatch[number], instruction.engine
        found = touches.tables(instruction)
        if number + 1 < count or count == len(program.instructions):
            found += touches.memories(instruction)
        for access in found:
            flying = [h for h in held.get(access.memory, ()) if h.retire >= now]
            early = [h.number for h in flying if _conflict(h, access, engine)]
            if early:
                rule = RULES[f"HAZARD_{access.memory.upper()}"]
                return broken(program.name, number, instruction, rule, which=min(early))
            held[access.memory] = flying
        retire = plan.retire[number]
        for memory, start, end, writes in found:
            held[memory].append(_Held(retire, number, engine, start, end, writes))
    return None


def _conflict(held: _Held, access: Access, engine: str | None) -> bool:
    if held.start >= access.end or access.start >= held.end:
        return False
    if held.engine != engine:
        # a wave of shadow weights is behind the one that took them
        return held.writes or (access.writes and access.memory != "shadow")
    if access.memory not in ("buffer", "dram"):
        return False
    if held.writes:
        return not access.writes
    return access.writes and engine == "DMA" and access.memory == "buffer"


class Touches:
    """What the instructions of a program touch, asked for in its order."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._known = Known(program)
        self._shadow: tuple[int, ...] = ()
        self._stream: tuple[int, ...] = ()
        self._stays = program.dataflow == "output_stationary"

    def tables(self, i: Instruction) -> list[Access]:
        """Entries of the tables."""
        match i.op:
            case "CFG":
                return [_one(("descriptor", "row")[i["kind"]], i["index"], True)]
            case "MM" | "LUW":
                return [_one("descriptor", i["desc"])]
            case "RQ":
                return [_one("row", i["table"])]
            case "VE":
                found = [_one("descriptor", i["a"])]
                if i["func"] == ADD:
                    found.append(_one("descriptor", i["b"]))
                if i["func"] == DEPTHWISE:
                    found.append(_one("row", i["b"]))
                return found
            case _:
                return []

    def memories(self, i: Instruction) -> list[Access]:
        """Everything else; the instruction is legal."""
        match i.op:
            case "LDW":
                count = tile_bytes(i["rows"], i["cols"], i["fmt"], bool(i["sparse"]))
                return [_part("dram", i["dram"], count), _one("slot", i["slot"], True)]
            case "LDA" | "ST":
                loads = i.op == "LDA"
                dram = _part("dram", i["dram"], i["bytes"], not loads)
                buffer = _part("buffer", i["ub"], i["bytes"], loads)
                return [dram, buffer] if loads else [buffer, dram]
            case "CFG":
                self._known.configure(i)
                return [_part("dram", i["dram"], i["bytes"])]
            case "GTH":
                return self._gather(i)
            case "LW":
                self._shadow = tuple(
                    range(i["slot"], i["slot"] + (self._program.units if i["spread"] else 1))
                )
                slots = [] if self._stays else [_one("slot", slot) for slot in self._shadow]
                return [*slots, _one("shadow", 0, True)]
            case "LUW":
                count = i["cols"] if i["transpose"] else i["rows"]
                width = ELEMENT_BYTES[stored_format(i["fmt"])]
                window = self._window(i["desc"], i["row"], count, width)
                return [window, _one("slot", i["slot"], True)]
            case "MM":
                return [*self._product(i)]
            case "RQ":
                return self._requantize(i)
            case "VE":
                return [*self._vector(i)]
            case "VX":
                routine = self._program.routines[i["routine"]]
                places = [(p, False) for p in routine.operands]
                places += [(p, True) for p in routine.results]
                return [_part("buffer", p.address, p.traffic_bytes, w) for p, w in places]
            case _:
                return []

    def _gather(self, i: Instruction) -> list[Access]:
        g = self._program.gathers[i["routine"]]
        index_bytes = g.count * (4 if g.index_dtype == "i32" else 8)
        return [
            _part("buffer", g.indices_ub, index_bytes),
            _part("dram", g.dram, g.rows * g.row_bytes),
            _part("buffer", g.ub, g.count * g.row_bytes, True),
        ]

    def _product(self, i: Instruction) -> Iterator[Access]:
        yield self._window(i["desc"], i["row"], i["len"], 1 if i["fmt"] == 0 else 2)
        if i["swap"]:
            self._stream = self._shadow
            yield _one("shadow", 0)
        if self._stays:
            yield from (_one("slot", slot) for slot in self._stream)
        self._known.multiply(i)
        if i["drain"] or not self._stays:
            yield _part("sums", i["acc"], i["len"], True)

    def _requantize(self, i: Instruction) -> list[Access]:
        count, across = i["len"], i["cols"]
        if i["transposed"]:
            count, across = across, count
        stride = self._known.rows[i["table"]].stride
        size = (count - 1) * stride + across * self._known.result_bytes(i)
        return [_part("sums", i["acc"], i["len"]), _part("buffer", i["ub"], size, True)]

    def _vector(self, i: Instruction) -> Iterator[Access]:
        a, func, count = self._known.descriptors[i["a"]], i["func"], i["len"]
        yield self._window(i["a"], i["row"], count)
        if func == ADD:
            yield self._window(i["b"], i["row"], count)
        if func == DEPTHWISE:
            yield _part("buffer", a.weights, a.taps * a.channels)
        if func == LOOKUP:
            yield _part("buffer", a.weights, TABLE_BYTES)
        size = (count - 1) * (a.out_stride or a.channels) + a.channels
        yield _part("buffer", i["ub"], size, True)

    def _window(self, index: int, row: int, count: int, width: int = 1) -> Access:
        """The images that some rows of a window lie in."""
        d = self._known.descriptors[index]
        pixels = d.out_h * d.out_w
        first, last = row // pixels, (row + count - 1) // pixels
        end = (
            (d.height - 1) * d.row_stride + (d.width - 1) * d.pixel_stride + d.channels * width
        )
        return Access(
            "buffer",
            d.base + first * d.image_stride,
            d.base + last * d.image_stride + end,
            False,
        )


def _one(memory: str, number: int, writes: bool = False) -> Access:
    return Access(memory, number, number + 1, writes)


def _part(memory: str, start: int, count: int, writes: bool = False) -> Access:
    return Access(memory, start, start + count, writes)
