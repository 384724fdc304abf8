"""Why a program is stopped: one table of rules, for the Python machine and for the RTL.

A rule's code is its place in the table. The RTL's error register holds the code, the number of
the instruction and three numbers (value, bound, which), from which `stopped` makes the same
sentence as the static check does.
"""

from __future__ import annotations

from collections.abc import Mapping

from tetrapla.ir.errors import ModelError
from tetrapla.simulators.systolic.isa import Instruction

MEMORIES: Mapping[str, str] = {
    "descriptor": "an access descriptor",
    "row": "a requantise row",
    "slot": "a weight slot",
    "shadow": "the shadow weights",
    "sums": "the accumulators",
    "buffer": "the unified buffer",
    "dram": "DRAM",
}
"""What two instructions may touch, and what a message calls it; the tables come first."""

_MOST = "{} must be at most {{bound}}, not {{value}}"
_LEAST = "{} must be at least 1, not 0"
_UNWRITTEN = "reads {}, which no instruction before it writes"

OTHER = "OTHER"
"""Of formats and units that the RTL lacks: the sentence says it all."""

RULES: Mapping[str, str] = {
    "NONE": "",
    OTHER: "",
    "WORD": "",
    "PLACES": "",
    "LACKS": "must be one of the RTL's, which multiplies int8 on one array",
    "BEGIN": "must begin with MARK",
    "END": "must have one HALT, at its end",
    **{
        f"{name}_MOST": _MOST.format(thing)
        for name, thing in (
            ("ID", "id"),
            ("ROWS", "rows"),
            ("COLS", "cols"),
            ("SLOT", "slot"),
            ("LANES", "lanes"),
            ("LEN", "len"),
            ("INDEX", "index"),
            ("CHANNELS", "channels"),
            ("TAP", "last tap"),
            ("ACC", "acc end"),
            ("DRAM", "dram end"),
            ("UB", "ub end"),
            ("WINDOW", "end of descriptor {which}"),
            ("WEIGHTS", "end of the weights"),
            ("TABLE", "end of the table"),
            ("INDICES", "end of the indices"),
        )
    },
    **{
        f"{name.upper()}_LEAST": _LEAST.format(name)
        for name in ("len", "lanes", "rows", "cols", "bytes")
    },
    "GATHER_LEAST": "count, rows and row_bytes must be at least 1, not 0",
    **{
        f"{name}_UNWRITTEN": _UNWRITTEN.format(thing)
        for name, thing in (
            ("SLOT", "slot {which}"),
            ("DESCRIPTOR", "descriptor {which}"),
            ("ROW", "requantise row {which}"),
            ("SHADOW", "shadow weights"),
            ("WEIGHTS", "weights"),
        )
    },
    "EMPTY": "descriptor {which} must have a window of at least one element",
    "ZERO_SIGNED": "zero_x must be {bound} of signed values, not {value}",
    "ZERO_UNSIGNED": "zero_x must be {bound} of unsigned values, not {value}",
    "PAD_WEIGHT": "pad_value - zero_x must be -128..127, not {value}",
    "PAD_SUM": "pad_value must be -256..255, not {value}",
    "ROUTINE": "routine must be below the program's {bound}, not {value}",
    "ENTRY_BYTES": "bytes must be at least {bound}, not {value}",
    "ENTRY_STEP": "bytes must be those of a header and whole columns, not {value}",
    "CONSTANT": "dram must be at least {bound}, after the constants, not {value}",
    "DRAIN": "drain must be 0 with dataflow weight_stationary, not 1",
    "BEGUN": "accumulate must continue sums of i32, not nothing",
    "PIXELS": "operands must be of one pixel and equal channels",
    "PIXEL": "operand must be of one pixel, not {value}",
    **{
        f"HAZARD_{name.upper()}": (
            f"must wait for instruction {{which}}, which has not finished with {meaning}"
        )
        for name, meaning in MEMORIES.items()
    },
}
"""By name, what a program must not break; the name's place is the code."""

CODES: Mapping[str, int] = {name: code for code, name in enumerate(RULES)}
_NAMES = tuple(RULES)
_BY_TEXT = {text: name for name, text in RULES.items() if text}


class FaultError(ModelError):
    """A program that no machine executes.

    Attributes:
        rule: by its name.
        number: of the instruction.
    """

    def __init__(self, rule: str, number: int, message: str) -> None:
        super().__init__(message)
        self.rule, self.number = rule, number

    @property
    def code(self) -> int:
        """The rule's place in the table."""
        return CODES[self.rule]


def broken(
    program: str,
    number: int,
    instruction: Instruction,
    text: str,
    value: int = 0,
    bound: int = 0,
    which: int = 0,
) -> FaultError:
    """The fault of an instruction that breaks the rule of this text.

    Args:
        program: its name.
        number: of the instruction.
        instruction: that breaks the rule.
        text: of the rule; one that is not in the table is `OTHER`.
        value: what was found.
        bound: what it is held to.
        which: an entry, or another instruction.
    """
    said = text.format(value=value, bound=bound, which=which)
    return FaultError(
        _BY_TEXT.get(text, OTHER),
        number,
        f"program '{program}' instruction {number}: {instruction.op} {said}; compile it again",
    )


def whole(program: str, number: int, rule: str) -> FaultError:
    """The fault of a program as a whole: `BEGIN` or `END`."""
    return FaultError(rule, number, f"program '{program}' {RULES[rule]}; compile it again")


def word(program: str, number: int, error: ModelError) -> FaultError:
    """The fault of a word that no assembler writes; `error` is what `isa` says of it."""
    return FaultError(
        "WORD", number, f"program '{program}' instruction {number}: {error}; compile it again"
    )


def rule_of(code: int) -> str:
    """The name of the rule of a code."""
    return _NAMES[code]
