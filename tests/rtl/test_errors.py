"""Programs that no machine executes: the RTL and the static check say the same of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from tests.rtl import programs
from tests.rtl.programs import Draft
from tests.rtl.test_machine import SPECS
from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.rtl import machine
from tetrapla.simulators.rtl.compare import memories_of
from tetrapla.simulators.rtl.errors import illegal_word
from tetrapla.simulators.systolic.faults import MEMORIES, RULES, FaultError
from tetrapla.simulators.systolic.hazards import checked
from tetrapla.simulators.systolic.isa import ENGINES, Instruction
from tetrapla.simulators.systolic.program import Gather, Program
from tetrapla.simulators.systolic.routines import Routine, Step
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.tables import Descriptor, RequantizeRow
from tetrapla.simulators.systolic.values import State
from tetrapla.simulators.systolic.views import Place

WS, OS = SPECS[0], SPECS[4]
EVERY = dict.fromkeys(ENGINES, 0)
Maker = Callable[[Draft], "list[Instruction]"]


def one(op: str, **operands: int) -> Maker:
    """The instruction alone."""
    return lambda draft: [Instruction(op, operands)]


def entry(draft: Draft, data: bytes, kind: int = 0) -> Instruction:
    """CFG of entry 7."""
    address = draft.constant(data)
    return Instruction("CFG", {"dram": address, "kind": kind, "index": 7, "bytes": len(data)})


def window(op: str, own: Mapping[str, int], **operands: int) -> Maker:
    """An instruction with a descriptor of its own in entry 7, of four channels otherwise."""
    held = Descriptor(**{"base": 0, "channels": 4, **own})
    return lambda draft: [entry(draft, held.pack()), Instruction(op, operands)]


def gather(**own: int) -> Maker:
    given = {"dram": 0, "row_bytes": 4, "rows": 2, "indices_ub": 0, "count": 1, "ub": 0, **own}

    def make(draft: Draft) -> list[Instruction]:
        draft.gathers.append(Gather(index_dtype="i32", **given))
        return [Instruction("GTH", {"routine": 0})]

    return make


def routine(draft: Draft) -> list[Instruction]:
    places = [Place(n, programs.BUFFER_BYTES - n, "i8", (1,)) for n in range(2)]
    step = Step("nn.neg", "far", (1,), (0,), 1)
    draft.routines.append(Routine("far", (places[1],), (places[0],), (step,)))
    return [Instruction("VX", {"routine": 0})]


def narrow(draft: Draft) -> list[Instruction]:
    """Depthwise on four channels with a row for one."""
    row = RequantizeRow(4, 0, -128, 127, False, np.zeros(1, np.int32), np.ones(1, np.float32))
    ((cfg, ve),) = [window("VE", {}, func=5, a=7, b=7, len=1)(draft)]
    return [cfg, entry(draft, row.pack(), 1), ve]


def bare(*instructions: tuple[str, dict[str, int]]) -> Maker:
    """The last one waits for nobody."""

    def make(draft: Draft) -> list[Instruction]:
        found = []
        for op, operands in instructions:
            own = dict(operands)
            if op == "CFG":
                index = len(draft.descriptors) - 1
                data = draft.descriptors[index].pack()
                if own.get("kind"):
                    data = programs.row(draft).pack()
                own |= {"dram": draft.constant(data), "bytes": len(data)}
            found.append(Instruction(op, own))
        return found

    return make


BEHIND = -1  # the constants
FAR = programs.BUFFER_BYTES - 2
BYTES = {"ub": 5000, "bytes": 40}
CASES: Mapping[str, tuple[SystolicSpec, Maker]] = {
    "ID_MOST": (WS, one("MARK", id=1)),
    "ROWS_MOST": (WS, one("LDW", rows=5, cols=4)),
    "COLS_MOST": (WS, one("LDW", rows=4, cols=5)),
    "SLOT_MOST": (WS, one("LDW", slot=4, rows=1, cols=1)),
    "LANES_MOST": (WS, window("MM", {"channels": 8}, desc=7, len=1, lanes=5)),
    "LEN_MOST": (OS, window("MM", {"out_w": 9}, desc=7, len=5, lanes=1)),
    "INDEX_MOST": (WS, one("CFG", index=16, bytes=128)),
    "CHANNELS_MOST": (WS, narrow),
    "TAP_MOST": (WS, window("MM", {}, desc=7, len=1, k=1, lanes=4)),
    "ACC_MOST": (WS, window("MM", {}, desc=7, acc=64, len=1, lanes=4)),
    "DRAM_MOST": (WS, one("LDA", dram=2**30, bytes=1)),
    "UB_MOST": (WS, one("LDA", ub=FAR, bytes=3)),
    "WINDOW_MOST": (WS, window("MM", {"base": FAR}, desc=7, len=1, lanes=4)),
    "WEIGHTS_MOST": (WS, window("VE", {"weights": FAR}, func=5, a=7, len=1)),
    "TABLE_MOST": (WS, window("VE", {"weights": FAR}, func=6, a=7, len=1)),
    "INDICES_MOST": (WS, gather(indices_ub=FAR)),
    "LEN_LEAST": (WS, one("MM", lanes=4)),
    "LANES_LEAST": (WS, one("MM", len=1)),
    "ROWS_LEAST": (WS, one("LDW", cols=4)),
    "COLS_LEAST": (WS, one("LDW", rows=4)),
    "BYTES_LEAST": (WS, one("LDA")),
    "GATHER_LEAST": (WS, gather(count=0)),
    "SLOT_UNWRITTEN": (WS, one("LW", slot=9)),
    "DESCRIPTOR_UNWRITTEN": (WS, one("MM", desc=15, len=1, lanes=1)),
    "ROW_UNWRITTEN": (WS, one("RQ", table=9, len=1, cols=1)),
    "EMPTY": (WS, window("MM", {"out_w": 0}, desc=7, len=1, lanes=1)),
    "ZERO_SIGNED": (WS, window("LUW", {"zero_x": -3}, desc=7, rows=1, cols=1)),
    "ZERO_UNSIGNED": (WS, window("LUW", {"flags": 1}, desc=7, rows=1, cols=1)),
    "PAD_WEIGHT": (WS, window("LUW", {"pad_value": -129}, desc=7, rows=1, cols=1)),
    "PAD_SUM": (WS, window("VE", {"pad_value": 256}, func=3, a=7, b=7, len=1)),
    "ROUTINE": (WS, one("VX", routine=3)),
    "PLACES": (WS, routine),
    "ENTRY_BYTES": (WS, one("CFG", bytes=100)),
    "ENTRY_STEP": (WS, one("CFG", kind=1, bytes=20)),
    "CONSTANT": (WS, one("ST", dram=-100, bytes=4)),
    "DRAIN": (WS, window("MM", {}, desc=7, len=1, lanes=1, drain=1)),
    "PIXELS": (WS, window("VE", {"channels": 50}, func=3, a=7, len=1)),
    "PIXEL": (WS, window("VE", {"kernel_w": 2, "width": 2}, func=7, a=7, len=1)),
    "END": (WS, one("HALT")),
    "HAZARD_DESCRIPTOR": (
        WS,
        bare(("CFG", {"index": 7}), ("LUW", {"desc": 7, "rows": 1, "cols": 1})),
    ),
    "HAZARD_ROW": (WS, bare(("RQ", {"ub": 5000, "len": 9, "cols": 1}), ("CFG", {"kind": 1}))),
    "HAZARD_SLOT": (WS, bare(("LW", {}), ("LDW", {"rows": 1, "cols": 1}))),
    "HAZARD_SHADOW": (WS, bare(("LW", {}), ("MM", {"len": 1, "lanes": 1, "swap": 1}))),
    "HAZARD_SUMS": (
        WS,
        bare(("MM", {"len": 1, "lanes": 1}), ("RQ", {"ub": 5000, "len": 1, "cols": 1})),
    ),
    "HAZARD_BUFFER": (WS, bare(("ST", BYTES), ("LDA", BYTES))),
    "HAZARD_DRAM": (WS, bare(("ST", BYTES), ("LDA", {**BYTES, "ub": 4100, "dram": BEHIND}))),
}
"""By rule, the machine, and instructions of which the last one breaks it."""

BY_HAND = {
    *("NONE", "OTHER", "WORD", "LACKS", "BEGIN", "SHADOW_UNWRITTEN"),
    *("WEIGHTS_UNWRITTEN", "BEGUN"),
}
"""Rules that have a test of their own, or no program."""


def drafted(spec: SystolicSpec) -> Draft:
    stays = spec.array.dataflow == "output_stationary"
    rows, cols = spec.array.rows, spec.array.cols
    return programs.draft(np.random.default_rng(0), rows, cols, 0, stays)


def assembled(draft: Draft, rule: str, instructions: list[Instruction]) -> Program:
    """Everything waits but the last instruction of a hazard."""
    draft.instructions[-2:-2] = instructions
    ordered = programs.ordered(draft)
    at = len(ordered) - 3
    if rule.startswith("HAZARD"):
        ordered[at] = replace(ordered[at], waits={})
    found = programs.program(draft, ordered)
    if ordered[at]["dram"] == BEHIND:  # behind the constants
        own = {**ordered[at].operands, "dram": len(draft.constants)}
        ordered[at] = replace(ordered[at], operands=own)
        found = replace(
            found,
            instructions=(*found.instructions[:at], ordered[at], *found.instructions[at + 1 :]),
        )
    return found


def ran(program: Program, spec: SystolicSpec, words: bytes | None = None) -> machine.RtlRun:
    held = memories_of(State(program, 1))
    sums = held.accumulators[:, : spec.array.cols]
    return machine.run(program, spec, held.dram, held.buffer, sums, 10**6, words=words)


def verdict(look: Callable[[], object]) -> tuple[str, int, str]:
    with pytest.raises(FaultError) as caught:
        look()
    return caught.value.rule, caught.value.number, str(caught.value)


def agreed(program: Program, spec: SystolicSpec) -> tuple[str, int, str]:
    """What both say."""
    wanted = verdict(lambda: checked(program, spec))
    assert verdict(lambda: ran(program, spec)) == wanted
    return wanted


@pytest.mark.parametrize("rule", CASES)
def test_both_stop_at_the_same_instruction_and_say_the_same(rule: str) -> None:
    spec, make = CASES[rule]
    draft = drafted(spec)
    program = assembled(draft, rule, make(draft))
    found, number, _ = agreed(program, spec)
    assert (found, number) == (rule, len(program.instructions) - 3)


def test_every_rule_has_its_program() -> None:
    assert {*CASES} | BY_HAND == {*RULES}
    assert {f"HAZARD_{name.upper()}" for name in MEMORIES} <= {*CASES}


def test_what_is_used_before_it_is_there() -> None:
    for spec, rule, skipped, swap in (
        (WS, "SHADOW_UNWRITTEN", 2, 1),
        (WS, "WEIGHTS_UNWRITTEN", 2, 0),
        (OS, "BEGUN", 1, 1),
    ):
        draft = drafted(spec)
        first = next(n for n, i in enumerate(draft.instructions) if i.op == "LW") + 2 - skipped
        operands = {"len": 1, "lanes": 1, "swap": swap, "accumulate": int(rule == "BEGUN")}
        draft.instructions[first : first + skipped] = [Instruction("MM", operands)]
        program = programs.program(draft, programs.ordered(draft))
        assert agreed(program, spec)[:2] == (rule, first)


def test_a_program_begins_with_mark_and_ends_with_halt() -> None:
    whole = programs.program(drafted(WS), programs.ordered(drafted(WS)))
    late = replace(whole, instructions=(Instruction("NOP"), *whole.instructions))
    assert agreed(late, WS) == (
        "BEGIN",
        0,
        "program 'random' must begin with MARK; compile it again",
    )
    endless = replace(whole, instructions=whole.instructions[:-1])
    assert agreed(endless, WS) == (
        "END",
        len(endless.instructions),
        "program 'random' must have one HALT, at its end; compile it again",
    )


def test_a_sentence_names_the_instruction_and_the_bound() -> None:
    spec, make = CASES["UB_MOST"]
    draft = drafted(spec)
    program = assembled(draft, "UB_MOST", make(draft))
    at = len(program.instructions) - 3
    assert agreed(program, spec)[2] == (
        f"program 'random' instruction {at}: LDA ub end must be at most 8192, not 8193; "
        "compile it again"
    )


def test_a_hazard_names_both_instructions_and_the_memory() -> None:
    spec, make = CASES["HAZARD_BUFFER"]
    draft = drafted(spec)
    program = assembled(draft, "HAZARD_BUFFER", make(draft))
    at = len(program.instructions) - 3
    assert agreed(program, spec)[2] == (
        f"program 'random' instruction {at}: LDA must wait for instruction {at - 1}, which has "
        "not finished with the unified buffer; compile it again"
    )


def test_an_illegal_word_is_what_the_disassembler_says() -> None:
    draft = drafted(WS)
    program = programs.program(draft, programs.ordered(draft))
    words = bytearray(program.binary())
    words[16 * 2 + 27 // 8] ^= 1 << 27 % 8  # of a wait slot that is reserved
    wanted = str(illegal_word(program.name, 2, bytes(words[32:48])))
    assert verdict(lambda: ran(program, WS, bytes(words))) == ("WORD", 2, wanted)
    assert wanted == (
        "program 'random' instruction 2: CFG wait slot 7 must be zero, not 4; compile it again"
    )


@pytest.mark.parametrize(
    ("op", "operands", "said"),
    [
        ("RQ", {"transposed": 1}, "RQ transposed must be 0 for the RTL, not 1"),
        ("MM", {"fmt": 3}, "MM fmt must be 0 for the RTL, not 3"),
        ("LDW", {"sparse": 1}, "LDW sparse must be 0 for the RTL, not 1"),
        ("LDW", {"fmt": 4}, "LDW fmt must be 0 or 2 for the RTL, not 4"),
        ("LUW", {"fmt": 1}, "LUW fmt must be 0 for the RTL, not 1"),
    ],
)
def test_what_the_rtl_lacks_is_refused_by_name(
    op: str, operands: dict[str, int], said: str
) -> None:
    draft = drafted(WS)
    program = assembled(draft, "", [Instruction(op, operands)])
    with pytest.raises(UnsupportedError) as caught:
        ran(program, WS)
    assert str(caught.value) == (
        f"program 'random' instruction {len(program.instructions) - 3}: {said}; take a chip "
        "of one dense int8 array, or simulate without the RTL"
    )


def test_a_word_that_the_rtl_lacks_stops_it() -> None:
    draft = drafted(WS)
    plain = assembled(draft, "", [Instruction("RQ", {"ub": 5000, "len": 1, "cols": 1})])
    at = len(plain.instructions) - 3
    words = bytearray(plain.binary())
    words[16 * at + 109 // 8] |= 1 << 109 % 8  # transposed
    with pytest.raises(UnsupportedError) as caught:
        ran(plain, WS, bytes(words))
    assert str(caught.value) == (
        f"program 'random' instruction {at}: RQ must be one of the RTL's, which multiplies "
        "int8 on one array; take a chip of one dense int8 array, or simulate without the RTL"
    )


@pytest.mark.parametrize("spec", SPECS)
def test_races_are_found_where_they_are(spec: SystolicSpec) -> None:
    """Any waits: both find the same instruction first, of several kinds."""
    stays = spec.array.dataflow == "output_stationary"
    rules = set[str]()
    for seed in range(30):
        draft = programs.draft(
            np.random.default_rng(seed), spec.array.rows, spec.array.cols, 30, stays
        )
        rules.add(agreed(programs.program(draft, programs.racing(draft)), spec)[0])
    assert len(rules) >= 2
    assert all(rule.startswith("HAZARD") for rule in rules)
