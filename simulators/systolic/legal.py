"""What a program may not do: reach outside a memory, or use what nothing has written.

The check is static: addresses, lengths and tables are known before anything runs. Whether the
waits cover every hazard is a matter of time: `hazards` has that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tetrapla.ir.errors import ModelError
from tetrapla.simulators.systolic import routines
from tetrapla.simulators.systolic.faults import FaultError, broken, whole, word
from tetrapla.simulators.systolic.formats import (
    ELEMENT_BYTES,
    PRODUCTS,
    STORED,
    SUMS,
    slot_format,
    stored_format,
    tile_bytes,
)
from tetrapla.simulators.systolic.isa import (
    DESCRIPTORS,
    MOST_OUTSTANDING,
    OPERATIONS,
    REQUANTIZE_ROWS,
    Instruction,
    encode,
)
from tetrapla.simulators.systolic.known import Known
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.tables import (
    DESCRIPTOR_BYTES,
    ENTRY_BYTES,
    HEADER,
    Descriptor,
)
from tetrapla.simulators.systolic.vector import ADD, DEPTHWISE, LOOKUP, ONE_PIXEL, TABLE_BYTES


def first_illegal(program: Program) -> FaultError | None:
    """The first instruction that `check_legal` refuses."""
    try:
        check_legal(program)
    except FaultError as fault:
        return fault
    return None


def check_legal(program: Program) -> None:
    """Refuse a program that the machine cannot run.

    Raises:
        FaultError: of the first instruction that is wrong, with the rule and the bound.
    """
    walk = _Walk(program, Known(program))
    last = len(program.instructions) - 1
    for walk.number, instruction in enumerate(program.instructions):
        _encodable(program, walk.number, instruction)
        if not walk.number and instruction.op != "MARK":
            raise whole(program.name, 0, "BEGIN")
        if instruction.op == "HALT" and walk.number < last:
            raise whole(program.name, walk.number, "END")
        if instruction.op in _CHECKS:
            _CHECKS[instruction.op](walk, instruction)
    if last < 0 or program.instructions[last].op != "HALT":
        raise whole(program.name, last + 1, "END" if last >= 0 else "BEGIN")


_HIGHEST = {o.name: {f.name: f.most for f in o.fields} for o in OPERATIONS.values()}


def _encodable(program: Program, number: int, i: Instruction) -> None:
    """Refuse what no word holds; nearly all fit, so this is quick to say so."""
    highest = _HIGHEST.get(i.op, {})
    fits = all(0 <= value <= highest.get(name, -1) for name, value in i.operands.items())
    if not (
        fits and i.op in _HIGHEST and all(0 <= v <= MOST_OUTSTANDING for v in i.waits.values())
    ):
        try:
            encode(i)
        except ModelError as error:
            raise word(program.name, number, error) from None


@dataclass(frozen=True)
class _Slot:
    """What a slot holds: the format of its weights, and the taps that they serve at most."""

    held: str
    sparse: bool = False


@dataclass
class _Walk:
    """Where the check is, and what has been written so far."""

    program: Program
    known: Known
    number: int = 0
    slots: dict[int, _Slot] = field(default_factory=dict[int, _Slot])
    shadow: tuple[_Slot, ...] = ()
    weights: tuple[_Slot, ...] = ()
    shadow_slots: tuple[int, ...] = ()
    stream: tuple[int, ...] = ()
    shadow_spread: int = 0
    spread: int = 0
    stationary: str | None = None  # type of the sums in an output-stationary array

    def most(self, i: Instruction, thing: str, value: int, bound: int, which: int = 0) -> None:
        """Hold `value` to at most `bound`."""
        if value > bound:
            rule = f"{thing} must be at most {{bound}}, not {{value}}"
            self.refuse(i, rule, value, bound, which)

    def entry(self, i: Instruction, count: int) -> None:
        """Hold a routine's or a gather's number to the program's."""
        if i["routine"] >= count:
            rule = "routine must be below the program's {bound}, not {value}"
            self.refuse(i, rule, i["routine"], count)

    def counted(self, i: Instruction, *names: str) -> None:
        """Hold operands to at least one."""
        for name in names:
            if i[name] < 1:
                self.refuse(i, f"{name} must be at least 1, not 0")

    def written(self, i: Instruction, thing: str, present: bool, which: int = 0) -> None:
        """Hold that something was written before it is used."""
        if not present:
            rule = f"reads {thing}, which no instruction before it writes"
            self.refuse(i, rule, which=which)

    def refuse(
        self, i: Instruction, rule: str, value: int = 0, bound: int = 0, which: int = 0
    ) -> None:
        """Raise; the rule's text is that of the table."""
        raise broken(self.program.name, self.number, i, rule, value, bound, which)

    def constant(self, i: Instruction, count: int) -> None:
        """Hold a DRAM read to the constants."""
        self.most(i, "dram end", i["dram"] + count, len(self.program.constants))

    def buffer(self, i: Instruction, count: int) -> None:
        """Hold the bytes at `ub` to the unified buffer."""
        self.most(i, "ub end", i["ub"] + count, self.program.unified_buffer_bytes)

    def window(self, i: Instruction, index: int, taps: int, width: int = 1) -> Descriptor:
        """Hold what a descriptor reads to the unified buffer, and the taps to its window."""
        there = index in self.known.descriptors
        self.written(i, "descriptor {which}", there, index)
        d = self.known.descriptors[index]
        if min(d.channels, d.taps, d.out_h, d.out_w) < 1:
            rule = "descriptor {which} must have a window of at least one element"
            self.refuse(i, rule, which=index)
        self.most(i, "last tap", taps, d.taps * d.channels)
        rows = i["cols"] if i.op == "LUW" and i["transpose"] else i["rows"]
        count = rows if i.op == "LUW" else i["len"]
        image = (i["row"] + count - 1) // (d.out_h * d.out_w)
        last = max(d.height - 1, 0) * d.row_stride + max(d.width - 1, 0) * d.pixel_stride
        end = d.base + image * d.image_stride + last + d.channels * width
        bound = self.program.unified_buffer_bytes
        self.most(i, "end of descriptor {which}", end, bound, index)
        return d


def _mark(walk: _Walk, i: Instruction) -> None:
    walk.most(i, "id", i["id"], len(walk.program.layers) - 1)


def _load_weights(walk: _Walk, i: Instruction) -> None:
    _fill(walk, i)
    walk.constant(i, tile_bytes(i["rows"], i["cols"], i["fmt"], bool(i["sparse"])))
    if i["sparse"] and walk.program.dataflow != "weight_stationary":
        walk.refuse(i, f"sparse must be 0 with dataflow {walk.program.dataflow}, not 1")
    walk.slots[i["slot"]] = _Slot(stored_format(i["fmt"]), bool(i["sparse"]))


def _fill(walk: _Walk, i: Instruction) -> None:
    walk.counted(i, "rows", "cols")
    walk.most(i, "rows", i["rows"], walk.program.rows)
    walk.most(i, "cols", i["cols"], walk.program.cols)
    walk.most(i, "slot", i["slot"], walk.program.weight_slots - 1)


def _weights_from_buffer(walk: _Walk, i: Instruction) -> None:
    _fill(walk, i)
    lanes = i["rows"] if i["transpose"] else i["cols"]
    if i["fmt"] == STORED.index("int4"):
        walk.refuse(i, "fmt must be 0, 1, 3 or 4, not 2")
    stored = stored_format(i["fmt"])
    d = walk.window(i, i["desc"], i["k"] + lanes, ELEMENT_BYTES[stored])
    wanted = 128 if d.unsigned and not i["fmt"] else 0
    if d.zero_x != wanted:
        kind = "unsigned" if d.unsigned else "signed"
        rule = f"zero_x must be {{bound}} of {kind} values, not {{value}}"
        walk.refuse(i, rule, d.zero_x, wanted)
    if not -128 <= d.pad_value - d.zero_x <= 127:
        rule = "pad_value - zero_x must be -128..127, not {value}"
        walk.refuse(i, rule, d.pad_value - d.zero_x)
    walk.slots[i["slot"]] = _Slot(stored)


def _gather(walk: _Walk, i: Instruction) -> None:
    gathers = walk.program.gathers
    walk.entry(i, len(gathers))
    g = gathers[i["routine"]]
    if min(g.count, g.rows, g.row_bytes) < 1:
        walk.refuse(i, "count, rows and row_bytes must be at least 1, not 0")
    if g.index_dtype not in ("i32", "i64"):
        walk.refuse(i, f"index_dtype must be i32 or i64, not {g.index_dtype}")
    constants = len(walk.program.constants)
    bound = constants if g.dram < constants else walk.program.dram_bytes
    walk.most(i, "dram end", g.dram + g.rows * g.row_bytes, bound)
    held = walk.program.unified_buffer_bytes
    index_bytes = g.count * (4 if g.index_dtype == "i32" else 8)
    walk.most(i, "end of the indices", g.indices_ub + index_bytes, held)
    walk.most(i, "ub end", g.ub + g.count * g.row_bytes, held)


def _routine(walk: _Walk, i: Instruction) -> None:
    found = walk.program.routines
    walk.entry(i, len(found))
    try:
        routines.check(found[i["routine"]], walk.program.unified_buffer_bytes)
    except ModelError as error:
        raise FaultError("PLACES", walk.number, str(error)) from None


def _move(walk: _Walk, i: Instruction) -> None:
    walk.counted(i, "bytes")
    walk.buffer(i, i["bytes"])
    start, constants = i["dram"], len(walk.program.constants)
    if i.op == "ST" and start < constants:
        rule = "dram must be at least {bound}, after the constants, not {value}"
        walk.refuse(i, rule, start, constants)
    own = start < constants
    walk.most(i, "dram end", start + i["bytes"], constants if own else walk.program.dram_bytes)


def _configure(walk: _Walk, i: Instruction) -> None:
    entries = REQUANTIZE_ROWS if i["kind"] else DESCRIPTORS
    walk.most(i, "index", i["index"], entries - 1)
    walk.constant(i, i["bytes"])
    least = HEADER.size if i["kind"] else DESCRIPTOR_BYTES
    if i["bytes"] < least:
        walk.refuse(i, "bytes must be at least {bound}, not {value}", i["bytes"], least)
    if i["kind"] and (i["bytes"] == least or (i["bytes"] - least) % ENTRY_BYTES):
        rule = "bytes must be those of a header and whole columns, not {value}"
        walk.refuse(i, rule, i["bytes"])
    walk.known.configure(i)


def _shift(walk: _Walk, i: Instruction) -> None:
    units = walk.program.units if i["spread"] else 1
    for slot in range(i["slot"], i["slot"] + units):
        walk.written(i, "slot {which}", slot in walk.slots, slot)
    walk.shadow_slots = tuple(range(i["slot"], i["slot"] + units))
    walk.shadow = tuple(walk.slots[slot] for slot in walk.shadow_slots)
    walk.shadow_spread = i["spread"]


def _multiply(walk: _Walk, i: Instruction) -> None:
    program = walk.program
    walk.counted(i, "len", "lanes")
    if i["swap"]:
        walk.written(i, "shadow weights", bool(walk.shadow))
        walk.weights, walk.spread = walk.shadow, walk.shadow_spread
        walk.stream = walk.shadow_slots
    if program.dataflow == "output_stationary":  # the slots are read now
        walk.weights = tuple(walk.slots[slot] for slot in walk.stream)
    walk.written(i, "weights", bool(walk.weights))
    if i["spread"] != walk.spread and program.units > 1:
        walk.refuse(i, f"spread must be that of its LW, {walk.spread}, not {i['spread']}")
    wanted = slot_format(i["fmt"])
    for slot in walk.weights:
        if slot.held != wanted:
            walk.refuse(
                i, f"fmt {PRODUCTS[i['fmt']]} must have {wanted} weights, not {slot.held}"
            )
    sparse = all(slot.sparse for slot in walk.weights)
    walk.most(i, "lanes", i["lanes"], (2 if sparse else 1) * program.rows)
    walk.most(i, "acc end", i["acc"] + i["len"], program.accumulator_rows)
    walk.window(i, i["desc"], i["k"] + i["lanes"], 1 if i["fmt"] == 0 else 2)
    (_stay if program.dataflow == "output_stationary" else _accumulate)(walk, i)
    walk.known.multiply(i)


def _accumulate(walk: _Walk, i: Instruction) -> None:
    if i["drain"]:
        walk.refuse(i, f"drain must be 0 with dataflow {walk.program.dataflow}, not 1")
    if i["accumulate"]:
        _same_sums(walk, i, SUMS[i["fmt"]])


def _same_sums(walk: _Walk, i: Instruction, wanted: str | None = None) -> None:
    kinds = walk.known.kinds(i)
    if len(kinds) > 1 or (wanted is not None and kinds != (wanted,)):
        allowed = wanted or "one type"
        walk.refuse(i, f"accumulators must hold {allowed}, not {' and '.join(kinds)}")


def _stay(walk: _Walk, i: Instruction) -> None:
    """Outputs stay in the PEs: an activation row takes a row of the array."""
    program, kind = walk.program, SUMS[i["fmt"]]
    units = 1 if i["spread"] else program.units
    walk.most(i, "len", i["len"], program.rows * units)
    if i["accumulate"] and walk.stationary != kind:
        held = walk.stationary or "nothing"
        walk.refuse(i, f"accumulate must continue sums of {kind}, not {held}")
    walk.stationary = kind


def _requantize(walk: _Walk, i: Instruction) -> None:
    program = walk.program
    walk.counted(i, "len", "cols")
    there = i["table"] in walk.known.rows
    walk.written(i, "requantise row {which}", there, i["table"])
    row, cols = walk.known.rows[i["table"]], i["cols"]
    if i["fmt"] == 2:
        walk.refuse(i, "fmt must be 0, 1, 3, 4 or 5, not 2")
    units = program.units if i["spread"] else 1
    entries = len(row.bias)
    if i["transposed"]:
        walk.most(i, "cols", cols, program.cols * units)
        walk.most(i, "len", i["len"], entries)
    else:
        walk.most(i, "cols", cols, min(program.cols * units, entries))
    walk.most(i, "acc end", i["acc"] + i["len"], program.accumulator_rows)
    _same_sums(walk, i)
    count, across = (cols, i["len"]) if i["transposed"] else (i["len"], cols)
    if i["transposed"] and cols > 1:
        width = across * walk.known.result_bytes(i)
        if row.stride < width:
            walk.refuse(i, f"stride must be at least a row's {width} bytes, not {row.stride}")
    walk.buffer(i, (count - 1) * row.stride + across * walk.known.result_bytes(i))


def _vector(walk: _Walk, i: Instruction) -> None:
    walk.counted(i, "len")
    func = i["func"]
    a = walk.window(i, i["a"], 0)
    if func == ADD:
        b = walk.window(i, i["b"], 0)
        if (b.channels, b.taps, a.taps) != (a.channels, 1, 1):
            walk.refuse(i, "operands must be of one pixel and equal channels")
        for d in (a, b):
            if not -256 <= d.pad_value <= 255:
                walk.refuse(i, "pad_value must be -256..255, not {value}", d.pad_value)
    elif func in ONE_PIXEL and a.taps != 1:
        walk.refuse(i, "operand must be of one pixel, not {value}", a.taps)
    held = walk.program.unified_buffer_bytes
    if func == LOOKUP:
        walk.most(i, "end of the table", a.weights + TABLE_BYTES, held)
    if func == DEPTHWISE:
        there = i["b"] in walk.known.rows
        walk.written(i, "requantise row {which}", there, i["b"])
        walk.most(i, "channels", a.channels, len(walk.known.rows[i["b"]].bias))
        walk.most(i, "end of the weights", a.weights + a.taps * a.channels, held)
    walk.buffer(i, (i["len"] - 1) * (a.out_stride or a.channels) + a.channels)


_CHECKS: dict[str, Callable[[_Walk, Instruction], None]] = {
    "MARK": _mark,
    "LDW": _load_weights,
    "LDA": _move,
    "LW": _shift,
    "LUW": _weights_from_buffer,
    "MM": _multiply,
    "RQ": _requantize,
    "VE": _vector,
    "VX": _routine,
    "ST": _move,
    "GTH": _gather,
    "CFG": _configure,
}
