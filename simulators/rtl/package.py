"""The instruction set as a SystemVerilog package, made from the assembler's own table.

    python -m tetrapla.simulators.rtl.package > rtl/tpu_isa_pkg.sv

A test holds that the file in `rtl/` is what this makes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tetrapla.simulators.systolic.faults import CODES, MEMORIES, OTHER
from tetrapla.simulators.systolic.isa import (
    DESCRIPTORS,
    ENGINES,
    OPERANDS_START,
    REQUANTIZE_ROWS,
    TABLE,
    WAIT_BITS,
    WAIT_SLOTS,
    WORD_BYTES,
    Operation,
)
from tetrapla.simulators.systolic.tables import HEADER, WORDS

_HEAD = """\
// Made by simulators/rtl/package.py from the table of simulators/systolic/isa.py: do not edit.
//
// <OPERATION>_<OPERAND>_L is the operand's lowest bit in the word, _W its width.
package tpu_isa_pkg;
  /* verilator lint_off UNUSEDPARAM */
"""
_WORD_BITS = 8 * WORD_BYTES
NAMED_WORDS = 8
"""Of 64 bits, of an entry that VX or GTH names."""
ROUTINE = ("cycles", "legal", "first", "places")
"""Words of a routine's entry; its places begin at `first` of theirs."""
GATHER = ("dram", "row_bytes", "rows", "indices", "wide", "count", "ub")
"""Words of a gather's entry; `wide` indices have 64 bits."""
LIMITS = (
    *("words", "constants", "dram", "buffer", "slots", "sums", "layers"),
    *("routines", "gathers", "watch"),
)
"""What the error register holds a program to; `watch` is 1 where hazards stop it."""


def source() -> str:
    """The package's text."""
    return _HEAD + "".join(f"  {line}".rstrip() + "\n" for line in _lines()) + "endpackage\n"


def _lines() -> Iterator[str]:
    wait = OPERANDS_START - WAIT_BITS * WAIT_SLOTS
    for name, value in (
        ("WORD_BITS", _WORD_BITS),
        ("WAIT_L", wait),
        ("WAIT_W", WAIT_BITS),
        ("ENGINES", len(ENGINES)),
        ("NO_ENGINE", len(ENGINES)),
        ("DESCRIPTORS", DESCRIPTORS),
        ("DESCRIPTOR_WORDS", len(WORDS)),
        ("REQUANTIZE_ROWS", REQUANTIZE_ROWS),
        ("HEADER_WORDS", HEADER.size // 4),
        ("NAMED_BITS", 64 * NAMED_WORDS),
        *((f"V_{name.upper()}", number) for number, name in enumerate(ROUTINE)),
        *((f"G_{name.upper()}", number) for number, name in enumerate(GATHER)),
        ("LIMITS", len(LIMITS)),
        *((f"LIMIT_{name.upper()}", number) for number, name in enumerate(LIMITS)),
        *((f"ENGINE_{name}", number) for number, name in enumerate(ENGINES)),
        *((f"D_{name.upper()}", number) for number, (name, _) in enumerate(WORDS)),
    ):
        yield _parameter(name, value)
    for name, code in CODES.items():
        if name not in (OTHER, "NONE"):
            yield f"localparam logic signed [63:0] F_{name} = 64'sd{code};"
    first = next(name for name in CODES if name.startswith("HAZARD_"))
    yield f"localparam logic signed [63:0] F_HAZARD = F_{first};"
    for number, name in enumerate(MEMORIES):
        yield f"localparam logic [2:0] M_{name.upper()} = 3'd{number};"
    for row in TABLE:
        yield f"localparam logic [3:0] OP_{row.name} = 4'd{row.opcode};"
        start = OPERANDS_START
        for operand in row.fields:
            prefix = f"{row.name}_{operand.name.upper()}"
            yield _parameter(f"{prefix}_L", start)
            yield _parameter(f"{prefix}_W", operand.bits)
            start += operand.bits
    yield from _engines()
    yield from _legal()


def _parameter(name: str, value: int) -> str:
    return f"localparam int unsigned {name} = {value};"


def _engines() -> Iterator[str]:
    yield "/* verilator lint_on UNUSEDPARAM */"
    yield ""
    yield "// The engine of an opcode, NO_ENGINE where the dispatcher does it."
    yield "function automatic logic [2:0] engine_of(input logic [3:0] opcode);"
    yield "  case (opcode)"
    for row in TABLE:
        if row.engine is not None:
            yield f"    OP_{row.name}: return 3'(ENGINE_{row.engine});"
    yield "    default: return 3'(NO_ENGINE);"
    yield "  endcase"
    yield "endfunction"


def _legal() -> Iterator[str]:
    reserved = OPERANDS_START - WAIT_BITS * (WAIT_SLOTS - len(ENGINES))
    yield ""
    yield "// Whether the assembler could have written this word."
    yield "/* verilator lint_off UNUSEDSIGNAL */"
    yield f"function automatic logic legal(input logic [{_WORD_BITS - 1}:0] word);"
    yield "  /* verilator lint_on UNUSEDSIGNAL */"
    yield f"  if (word[{OPERANDS_START - 1}:{reserved}] != 0) return 1'b0;"
    yield "  case (word[3:0])"
    for row in TABLE:
        rules = " && ".join(_rules(row)) or "1'b1"
        yield f"    OP_{row.name}: return {rules};"
    yield "    default: return 1'b0;"
    yield "  endcase"
    yield "endfunction"


def _rules(row: Operation) -> Iterator[str]:
    start = OPERANDS_START
    for operand in row.fields:
        if operand.highest is not None:
            part = f"word[{start + operand.bits - 1}:{start}]"
            yield f"{part} <= {operand.bits}'d{operand.highest}"
        start += operand.bits
    if start < _WORD_BITS:
        yield f"word[{_WORD_BITS - 1}:{start}] == 0"


if __name__ == "__main__":
    sys.stdout.write(source())
