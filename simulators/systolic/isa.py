"""The instruction set of the systolic machine: ONE table makes everything else.

`TABLE` is what encoder, decoder, assembler, disassembler and manual (``docs/isa.md``) are
made from; the RTL's package is to be made from it too. A word has 128 bits, little-endian:

    [3:0] opcode   [27:4] wait, 3 bits for each of 8 engine slots   [127:28] the operands

Operands lie in the table's order from bit 28 up; every bit that no operand names is zero, and
a word that breaks this is illegal. A wait of 0 means none; a wait of v >= 1 means: do not
dispatch before all instructions sent to that engine, except the v - 1 latest, have retired.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tetrapla.ir.errors import ModelError, nearest

WORD_BYTES = 16
WAIT_BITS = 3
WAIT_SLOTS = 8
MOST_OUTSTANDING = 2**WAIT_BITS - 2
ENGINES: tuple[str, ...] = ("LW", "MM", "RQ", "VE", "DMA")
DESCRIPTORS = 16
REQUANTIZE_ROWS = 16

_WAIT_START = 4
OPERANDS_START = _WAIT_START + WAIT_BITS * WAIT_SLOTS


@dataclass(frozen=True)
class Field:
    """One unsigned operand of `bits` bits; values above `most` are illegal.

    One that is `optional` is left out of the assembly where it is zero.
    """

    name: str
    bits: int
    meaning: str
    highest: int | None = None
    optional: bool = False

    @property
    def most(self) -> int:
        """The largest legal value."""
        return (1 << self.bits) - 1 if self.highest is None else self.highest


@dataclass(frozen=True)
class Operation:
    """One row of the table; `engine` is None where the dispatcher itself does it."""

    opcode: int
    name: str
    engine: str | None
    meaning: str
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True)
class Instruction:
    """An operation with its operands.

    Attributes:
        op: name of the operation.
        operands: by field name; one left out is 0.
        waits: by engine, how many of its instructions may still be outstanding.
    """

    op: str
    operands: Mapping[str, int] = field(default_factory=dict)
    waits: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> int:
        """The operand's value."""
        return self.operands.get(name, 0)

    @property
    def operation(self) -> Operation:
        """Its row of the table."""
        return OPERATIONS[self.op]

    @property
    def engine(self) -> str | None:
        """The engine that executes it."""
        return OPERATIONS[self.op].engine


_DRAM = Field("dram", 40, "byte address in DRAM")
_UB = Field("ub", 32, "byte address in the unified buffer")
_BYTES = Field("bytes", 27, "how many bytes")
_SLOT = Field("slot", 16, "slot of the weight memory")
_HOST = Field("host", 1, "1: over the link to the host, 0: from the accelerator's own DRAM")
_ACC = Field("acc", 16, "first accumulator row")
_DESCRIPTOR = Field("desc", 4, "access descriptor of the activations")
_ROW = Field("row", 24, "first output row")
_K = Field("k", 20, "first tap, fed to array row 0")
_ROUTINE = Field("routine", 24, "number of the program's entry")


def _bit(name: str, meaning: str) -> Field:
    return Field(name, 1, meaning, optional=True)


TABLE: tuple[Operation, ...] = (
    Operation(0, "NOP", None, "nothing, for one cycle"),
    Operation(
        1,
        "LDW",
        "DMA",
        "a tile of `rows` x `cols` weights from DRAM to a weight-memory slot; the rest of the "
        "slot becomes zero",
        (
            _DRAM,
            _SLOT,
            Field("rows", 12, "rows of the tile (reduction)"),
            Field("cols", 12, "columns of the tile (outputs)"),
            Field("fmt", 3, "0 int8, 1 int16, 2 int4, 3 bf16, 4 fp16", 4, optional=True),
            _bit("sparse", "1: 2:4 compressed, the values and then their positions"),
        ),
    ),
    Operation(
        2, "LDA", "DMA", "bytes from DRAM to the unified buffer", (_DRAM, _UB, _BYTES, _HOST)
    ),
    Operation(
        3,
        "LW",
        "LW",
        "shift a slot into the array's shadow weights; an output-stationary array points its "
        "stream of weights at the slot",
        (_SLOT, _bit("spread", "1: unit u takes slot `slot + u`, 0: every unit `slot`")),
    ),
    Operation(
        4,
        "MM",
        "MM",
        "output rows `row` .. `row + len - 1` of the descriptor, taps `k` .. `k + lanes - 1`, "
        "through the array into the accumulators; int32 addition wraps",
        (
            _DESCRIPTOR,
            _ACC,
            Field("len", 16, "how many rows"),
            _ROW,
            _K,
            Field("lanes", 12, "how many array rows are fed; the others get zero"),
            Field("swap", 1, "1: the shadow weights become the weights, with the wave front"),
            Field("accumulate", 1, "1: add to the accumulators, 0: overwrite them"),
            Field(
                "fmt",
                3,
                "activations x weights: 0 int8 x int8, 1 int16 x int8, 2 int16 x int16, "
                "3 bf16, 4 fp16",
                4,
                optional=True,
            ),
            _bit("spread", "1: every unit does all rows, with its weights, 0: rows are split"),
            _bit("drain", "1: output-stationary sums leave the PEs for the accumulators"),
        ),
    ),
    Operation(
        5,
        "RQ",
        "RQ",
        "accumulators plus bias, times the float32 scale, clamped, rounded to nearest even, "
        "plus the zero point, to the unified buffer",
        (
            _ACC,
            Field("len", 16, "how many rows"),
            Field("cols", 12, "how many columns"),
            Field("table", 4, "row of the requantise table"),
            _UB,
            Field("raw", 1, "1: write accumulator plus bias, four or eight bytes each"),
            _bit("transposed", "1: row r of the sums goes to column r; bias, scale by row"),
            _bit("spread", "1: the columns of all units, 0: rows are split over the units"),
            Field(
                "fmt",
                3,
                "result: 0 int8 or uint8, 1 int16, 3 bf16, 4 fp16, 5 float32",
                5,
                optional=True,
            ),
        ),
    ),
    Operation(
        6,
        "VE",
        "VE",
        "output rows `row` .. `row + len - 1` of descriptor `a` through the vector unit, all "
        "channels, to `ub`",
        (
            Field(
                "func",
                8,
                "0 max, 1 average, 2 global average, 3 add, 4 clamp, 5 depthwise, 6 lookup, "
                "7 copy",
                7,
            ),
            Field("a", 4, "access descriptor of the operand, with the numbers"),
            Field("b", 4, "descriptor of add's second operand; depthwise's requantise row"),
            _UB,
            Field("len", 24, "how many rows"),
            _ROW,
        ),
    ),
    Operation(
        7, "ST", "DMA", "bytes from the unified buffer to DRAM", (_DRAM, _UB, _BYTES, _HOST)
    ),
    Operation(
        8,
        "CFG",
        "DMA",
        "fill an entry of a table from DRAM",
        (
            _DRAM,
            Field("kind", 2, "0 access descriptor, 1 row of the requantise table", 1),
            Field("index", 8, "entry"),
            Field("bytes", 20, "how many bytes"),
        ),
    ),
    Operation(9, "SYNC", None, "nothing but its waits"),
    Operation(
        10,
        "LUW",
        "LW",
        "fill a weight-memory slot from the unified buffer: slot[r, c] = x(row + r, k + c), "
        "transposed x(row + c, k + r), less zero_x; the rest of the slot becomes zero",
        (
            _DESCRIPTOR,
            _SLOT,
            _ROW,
            Field("k", 20, "first tap"),
            Field("rows", 12, "rows of the slot"),
            Field("cols", 12, "columns of the slot"),
            Field("transpose", 1, "1: the slot's columns are output rows"),
            Field("fmt", 3, "0 int8, 1 int16, 3 bf16, 4 fp16", 4, optional=True),
        ),
    ),
    Operation(11, "VX", "VE", "a routine of the vector unit", (_ROUTINE,)),
    Operation(
        12,
        "GTH",
        "DMA",
        "rows of a table in DRAM to the unified buffer, by indices that lie there",
        (_ROUTINE,),
    ),
    Operation(
        14,
        "MARK",
        None,
        "write (id, cycle) to the trace memory",
        (Field("id", 24, "layer"),),
    ),
    Operation(15, "HALT", None, "wait for every engine, then stop"),
)

OPERATIONS: Mapping[str, Operation] = {row.name: row for row in TABLE}
_BY_OPCODE = {row.opcode: row for row in TABLE}


def most(op: str, operand: str) -> int:
    """The largest value that an operation's operand holds."""
    (found,) = (f for f in OPERATIONS[op].fields if f.name == operand)
    return found.most


def encode(instruction: Instruction) -> bytes:
    """The instruction's 16 bytes.

    Raises:
        ModelError: an operand is unknown or does not fit its field, or a wait names no engine
            or allows too many outstanding instructions.
    """
    row = _row(instruction.op)
    _refuse_unknown(row.name, "operand", instruction.operands, [f.name for f in row.fields])
    _refuse_unknown(row.name, "engine", instruction.waits, ENGINES)
    word = row.opcode
    for slot, engine in enumerate(ENGINES):
        if engine in instruction.waits:
            allowed = instruction.waits[engine]
            if not 0 <= allowed <= MOST_OUTSTANDING:
                raise ModelError(
                    f"{row.name} wait {engine} must be 0..{MOST_OUTSTANDING}, not {allowed}"
                )
            word |= (allowed + 1) << (_WAIT_START + WAIT_BITS * slot)
    start = OPERANDS_START
    for operand in row.fields:
        value = instruction[operand.name]
        _check(row, operand, value)
        word |= value << start
        start += operand.bits
    return word.to_bytes(WORD_BYTES, "little")


def decode(data: bytes) -> Instruction:
    """The instruction of one word.

    Raises:
        ModelError: the word is illegal.
    """
    if len(data) != WORD_BYTES:
        raise ModelError(f"an instruction must have {WORD_BYTES} bytes, not {len(data)}")
    word = int.from_bytes(data, "little")
    row = _BY_OPCODE.get(word & 15)
    if row is None:
        raise ModelError(f"opcode must be one of {sorted(_BY_OPCODE)}, not {word & 15}")
    waits = {}
    for slot in range(WAIT_SLOTS):
        held = word >> (_WAIT_START + WAIT_BITS * slot) & (1 << WAIT_BITS) - 1
        if held and slot >= len(ENGINES):
            raise ModelError(f"{row.name} wait slot {slot} must be zero, not {held}")
        if held:
            waits[ENGINES[slot]] = held - 1
    operands, start = {}, OPERANDS_START
    for operand in row.fields:
        operands[operand.name] = value = word >> start & (1 << operand.bits) - 1
        _check(row, operand, value)
        start += operand.bits
    if word >> start:
        raise ModelError(f"{row.name} bits 127:{start} must be zero, not {word >> start:#x}")
    return Instruction(row.name, operands, waits)


def text(instruction: Instruction) -> str:
    """One line of assembly, every operand named."""
    parts = [instruction.op]
    parts += [
        f"{f.name}={instruction[f.name]}"
        for f in instruction.operation.fields
        if instruction[f.name] or not f.optional
    ]
    if instruction.waits:
        held = [f"{e}:{instruction.waits[e]}" for e in ENGINES if e in instruction.waits]
        parts.append("wait=" + ",".join(held))
    return " ".join(parts)


def parse(line: str) -> Instruction:
    """The instruction of one line of assembly.

    Raises:
        ModelError: the line is not what `text` writes.
    """
    op, *parts = line.split() or [""]
    row = _row(op)
    operands: dict[str, int] = {}
    waits: dict[str, int] = {}
    try:
        for part in parts:
            name, _, value = part.partition("=")
            if name == "wait":
                pairs = (item.split(":") for item in value.split(","))
                waits = {engine: int(allowed) for engine, allowed in pairs}
            else:
                operands[name] = int(value)
    except ValueError:
        raise ModelError(f"'{line}' must be NAME operand=number ...; disassemble it") from None
    full = {f.name: operands.get(f.name, 0) for f in row.fields}
    instruction = Instruction(op, {**full, **operands}, waits)
    encode(instruction)
    return instruction


def _row(op: str) -> Operation:
    if op not in OPERATIONS:
        raise ModelError(f"no instruction '{op}'{nearest(op, OPERATIONS)}")
    return OPERATIONS[op]


def _check(row: Operation, operand: Field, value: int) -> None:
    if not 0 <= value <= operand.most:
        raise ModelError(f"{row.name} {operand.name} must be 0..{operand.most}, not {value}")


def _refuse_unknown(op: str, kind: str, found: Iterable[str], known: Iterable[str]) -> None:
    names = tuple(known)
    for name in found:
        if name not in names:
            there = ", ".join(names) or "none"
            raise ModelError(f"{op} has no {kind} '{name}'; there are: {there}")
