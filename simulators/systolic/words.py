"""The instruction words of a whole program, operand by operand over arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.systolic.isa import (
    ENGINES,
    MOST_OUTSTANDING,
    OPERANDS_START,
    OPERATIONS,
    WAIT_BITS,
    WORD_BYTES,
    Field,
    Instruction,
    encode,
)

_HALF = 64
_WAITS_START = OPERANDS_START - 8 * WAIT_BITS
_WAIT_SHIFTS = {e: _WAITS_START + WAIT_BITS * slot for slot, e in enumerate(ENGINES)}


def binary(instructions: Sequence[Instruction]) -> bytes:
    """The words one after another, 16 bytes each.

    Raises:
        ModelError: as `encode`, of the first instruction of an operation that does not fit.
    """
    halves = np.zeros((len(instructions), 2), "<u8")
    places: dict[str, list[int]] = {}
    for number, instruction in enumerate(instructions):
        places.setdefault(instruction.op, []).append(number)
        if instruction.waits:
            halves[number, 0] = _waits(instruction)
    for op, numbers in places.items():
        some = [instructions[number] for number in numbers]
        halves[numbers] |= _operands(op, some)
    return halves.tobytes()


def _waits(instruction: Instruction) -> int:
    word = 0
    for engine, allowed in instruction.waits.items():
        if engine not in _WAIT_SHIFTS or not 0 <= allowed <= MOST_OUTSTANDING:
            encode(instruction)  # says what is wrong
        word |= (allowed + 1) << _WAIT_SHIFTS[engine]
    return word


def _operands(op: str, instructions: Sequence[Instruction]) -> Array:
    """Opcode and operands of instructions of one operation, (instructions, 2) of uint64."""
    if op not in OPERATIONS:
        encode(instructions[0])
    row, start = OPERATIONS[op], OPERANDS_START
    names = frozenset(field.name for field in row.fields)
    for instruction in instructions:
        if not names.issuperset(instruction.operands):
            encode(instruction)
    found = np.zeros((len(instructions), 2), "<u8")
    found[:, 0] = row.opcode
    for field in row.fields:
        values = _values(field, instructions)
        half, bit = divmod(start, _HALF)
        found[:, half] |= values << np.uint64(bit)
        if half == 0 and bit + field.bits > _HALF:
            found[:, 1] |= values >> np.uint64(_HALF - bit)
        start += field.bits
    assert start <= 8 * WORD_BYTES, "the table's operands fit a word"
    return found


def _values(field: Field, instructions: Sequence[Instruction]) -> Array:
    """One operand of all, held to its field."""
    name = field.name
    held = [instruction.operands.get(name, 0) for instruction in instructions]
    if min(held) < 0 or max(held) > field.most:
        encode(next(i for i in instructions if not 0 <= i[name] <= field.most))
    return np.array(held, "<u8")
