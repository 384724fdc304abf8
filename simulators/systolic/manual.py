"""The manual of the instruction set, made from its tables."""

from __future__ import annotations

from tetrapla.simulators.systolic import formats, lanes, routines, sparse, tables, timing
from tetrapla.simulators.systolic.isa import (
    DESCRIPTORS,
    ENGINES,
    OPERANDS_START,
    REQUANTIZE_ROWS,
    TABLE,
    WAIT_BITS,
    WAIT_SLOTS,
    WORD_BYTES,
)


def markdown() -> str:
    """The text of ``docs/isa.md``."""
    lines = [_HEAD, "| opcode | name | engine | meaning |", "|---|---|---|---|"]
    lines += [f"| {o.opcode} | {o.name} | {o.engine or '-'} | {o.meaning} |" for o in TABLE]
    for row in TABLE:
        if row.fields:
            lines += ["", f"## {row.name}", "", "| bits | operand | meaning |", "|---|---|---|"]
            start = OPERANDS_START
            for f in row.fields:
                lines.append(f"| {start + f.bits - 1}:{start} | {f.name} | {f.meaning} |")
                start += f.bits
            if start < 8 * WORD_BYTES:
                lines.append(f"| {8 * WORD_BYTES - 1}:{start} | - | zero |")
    lines += ["", "## Tables", "", _body(tables.__doc__), "", "| word | name | type |"]
    lines.append("|---|---|---|")
    lines += [
        f"| {n} | {name} | {_TYPES[code]} |" for n, (name, code) in enumerate(tables.WORDS)
    ]
    lines += ["", "Requantise header: " + ", ".join(tables.HEADER_NAMES) + "."]
    lines += ["", "## Vector functions", "", *(f"* {text}" for text in _VECTOR)]
    lines += ["", "## Routines", "", _body(routines.__doc__), "", _body(lanes.__doc__), ""]
    lines += ["| cycles of an element in a lane | operators |", "|---|---|"]
    lines += [f"| {cycles} | {_kinds(cycles)} |" for cycles in _costs()]
    lines += ["", "## Formats", "", _body(formats.__doc__), "", _body(sparse.__doc__)]
    lines += ["", "## Time", "", _body(timing.__doc__)]
    return "\n".join(lines) + "\n"


def _costs() -> list[int]:
    return sorted(set(lanes.LANE_CYCLES.values()))


def _kinds(cycles: int) -> str:
    """The operators of a cost; a star where each element is a `vector.function`."""
    found = sorted(kind for kind, cost in lanes.LANE_CYCLES.items() if cost == cycles)
    return ", ".join(f"{kind}*" if kind in lanes.FUNCTIONS else kind for kind in found)


def _body(text: str | None) -> str:
    """A module's docstring without its first line."""
    assert text is not None, "the docstring is the manual"
    return text.partition("\n\n")[2].strip("\n")


_TYPES = {"I": "uint32", "i": "int32", "f": "float32"}

_VECTOR = (
    "0 max: the largest value of each window; the padding never wins.",
    "1 average: s = float32 sum, taps in order, of float32(x - zero_x) p0; "
    "sat(rint(s / n / p1 + zero_y)); n = pixels inside, or all where flags has bit 1.",
    "2 global average: sat(rint(float32(sum of x - zero_x) p0) + zero_y).",
    "3 add: sat(rint(fma(a, p0, fma(b, p1, p2)))), each fma rounded once to float32.",
    "4 clamp: low where x < low, high where x > high, else x.",
    "5 depthwise: the int32 sum over the window of x w, w int8 at `weights`, taps x channels; "
    "then as RQ with row `b` of its table; the padding is pad_value.",
    "6 lookup: the byte at `weights` + x, x taken as a byte without sign.",
    "7 copy: x.",
)

_HEAD = f"""# Instruction set of the systolic machine

Made from the tables in `simulators/systolic/isa.py` and `tables.py` by `manual.markdown()`; a
test holds them together.

Fixed {8 * WORD_BYTES}-bit words, little-endian: opcode `[3:0]`, wait `[27:4]`, operands from
bit {OPERANDS_START} up. Bits that no operand names are zero; another word is illegal.

**Wait.** {WAIT_SLOTS} slots of {WAIT_BITS} bits, slot 0 lowest: {", ".join(ENGINES)}; the
others are reserved and zero. 0: no wait. v >= 1: dispatch only when all instructions sent to
that engine, except the v - 1 latest, have retired. The assembly writes the allowed number,
v - 1.

**Dispatch** is in order, at most one per cycle. CFG fills {DESCRIPTORS} access descriptors and
{REQUANTIZE_ROWS} rows of the requantise table from DRAM.

**Illegal programs** are refused before they run: one that does not begin with MARK and end with
its only HALT; an address, length or index outside a memory, a table, the array or a window; and
slots, weights, descriptors or rows that are used before an instruction wrote them. Memories are
not cleared at the start.

**Hazards** are the program's business: a machine stops at one, and interlocks nothing but the
drains of an output-stationary array. The result of an instruction is there when it has retired,
also for the next one of its own engine; a VE, VX or GTH must not write what it still has to
read.

**Activations** of int8 products are int8 or uint8, as the descriptor says: a PE multiplies
9-bit signed activations by int8 weights. Numbers of other types go into the tables' flags.

**Units** are equal arrays in lock step. With `spread` 1, unit u has columns u C .. u C + C - 1
of the accumulators and its own weights; with 0 it does rows u ceil(len / units) and on, with
the weights of all. The `spread` of an MM is that of the LW of its weights.

**Output-stationary** arrays keep row m of an MM in PE row m of its unit. An MM without
`accumulate` begins new sums in all PEs, one with it continues them; `drain` copies rows 0 ..
len - 1 to the accumulators, and is 0 on other arrays.

**Input-stationary** arrays are weight-stationary ones whose weights come from the unified
buffer (LUW) and whose results are written transposed (RQ).

**GTH** counts negative indices from the end of its table, and takes the nearest row for an
index outside it.

**Requantisation** (RQ): t = acc + bias, wrapped to int32 (int64 sums: to int64); y =
rint(clamp(float32(float32(t) scale), low - zero point, high - zero point)) + zero point, ties
to even. A float result is float32(float32(t) scale), clamped to low .. high where the row's
flags have bit 1, rounded to nearest even. With `raw`, t itself: four bytes, int64 eight.
Transposed, element (row r, column c) goes to ub + c stride + r bytes of a result.
"""
