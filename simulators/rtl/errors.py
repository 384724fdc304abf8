"""Why the RTL does not run a program: what it lacks, and what its error register says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.simulators.rtl.loading import complaint
from tetrapla.simulators.systolic.faults import RULES, FaultError, broken, rule_of, whole, word
from tetrapla.simulators.systolic.isa import WORD_BYTES, Instruction, decode
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec

_AWAY = "take a chip of one dense int8 array, or simulate without the RTL"
_ILLEGAL_WORD, _LACKS = 1, 2
_HAS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "LDW": {"fmt": (0, 2), "sparse": (0,)},
    "LUW": {"fmt": (0,)},
    "MM": {"fmt": (0,)},
    "RQ": {"fmt": (0,), "transposed": (0,)},
}
"""By operation, which values of an operand the RTL has; all of those that are not here."""


def refuse_array(spec: SystolicSpec) -> None:
    """Hold a design point to what the RTL has.

    Raises:
        UnsupportedError: it has another array.
    """
    array = spec.array
    for name, found, wanted in (
        ("units", array.units, 1),
        ("sparsity", array.sparsity, "none"),
    ):
        if found != wanted:
            raise UnsupportedError(
                f"array.{name} must be {wanted} for the RTL, not {found}; {_AWAY}"
            )
    if array.dataflow == "input_stationary":
        raise UnsupportedError(
            "array.dataflow must be weight_stationary or output_stationary for the RTL, not "
            f"input_stationary; {_AWAY}"
        )


def refuse_instructions(program: Program) -> None:
    """Hold a program to the instructions that the RTL has.

    Raises:
        UnsupportedError: names the first one that it lacks.
    """
    for number, instruction in enumerate(program.instructions):
        for operand, has in _HAS.get(instruction.op, {}).items():
            if instruction[operand] not in has:
                raise UnsupportedError(
                    f"program '{program.name}' instruction {number}: {instruction.op} "
                    f"{operand} must be {' or '.join(map(str, has))} for the RTL, not "
                    f"{instruction[operand]}; {_AWAY}"
                )


def refused_word(program: Program, code: int, number: int, words: bytes) -> Exception:
    """Why the dispatcher has stopped at a word."""
    own = words[number * WORD_BYTES : (number + 1) * WORD_BYTES]
    if code == _LACKS:
        return UnsupportedError(
            f"program '{program.name}' instruction {number}: {decode(own).op} "
            f"{RULES['LACKS']}; {_AWAY}"
        )
    assert code == _ILLEGAL_WORD, "the dispatcher knows two errors"
    return illegal_word(program.name, number, own)


def illegal_word(name: str, number: int, data: bytes) -> FaultError:
    """The fault of a word that no assembler writes."""
    try:
        decode(data)
    except ModelError as error:
        return word(name, number, error)
    raise AssertionError("the decoder and the RTL's package come from one table")


def stopped(program: Program, words: bytes, error: Sequence[int]) -> FaultError:
    """The fault that the error register names: code, instruction, value, bound, which."""
    code, number, value, bound, which = error
    rule = rule_of(code)
    if rule in ("BEGIN", "END"):
        return whole(program.name, number, rule)
    if rule == "PLACES":
        return FaultError(rule, number, complaint(program.routines[which], program))
    return broken(
        program.name, number, _decoded(words, number), RULES[rule], value, bound, which
    )


def _decoded(words: bytes, number: int) -> Instruction:
    return decode(words[number * WORD_BYTES : (number + 1) * WORD_BYTES])
