"""Which layer an instruction works for.

A layer begins with its MARK, but tiles of weights are loaded and shifted ahead, beside the work
of the layers before: they belong to the layer whose MM takes them.
"""

from __future__ import annotations

from tetrapla.simulators.systolic.program import Program


def owners(program: Program) -> list[int]:
    """For each instruction the number of its layer's MARK, from 0 on.

    What no MM takes belongs to the layer in which it was sent.
    """
    found: list[int] = []
    number = -1
    for instruction in program.instructions:
        number += instruction.op == "MARK"
        found.append(max(number, 0))
    taker: int | None = None
    readers: dict[int, int] = {}  # by slot, the layer that shifts it in next
    for n in range(len(found) - 1, -1, -1):
        instruction = program.instructions[n]
        match instruction.op:
            case "MM" if instruction["swap"]:
                taker = found[n]
            case "LW":
                found[n] = found[n] if taker is None else taker
                units = program.units if instruction["spread"] else 1
                slots = range(instruction["slot"], instruction["slot"] + units)
                readers.update(dict.fromkeys(slots, found[n]))
            case "LDW" | "LUW":
                found[n] = readers.pop(instruction["slot"], found[n])
            case _:
                pass
    return found
