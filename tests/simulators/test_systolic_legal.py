"""An illegal program is refused with instruction, rule and bound, and never executed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tetrapla.ir.errors import ModelError, SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.systolic.isa import ENGINES, Instruction, parse
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.program import Gather, Layer, Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.tables import Descriptor, RequantizeRow
from tetrapla.simulators.systolic.views import Place

WINDOW = Descriptor(0, 4, width=10, out_w=10, pixel_stride=4).pack()
PAIR = Descriptor(0, 4, kernel_w=2, width=10, out_w=9, pixel_stride=4).pack()
ROW = RequantizeRow(
    3, 0, -128, 127, False, np.zeros(3, np.int32), np.ones(3, np.float32)
).pack()
CONSTANTS = WINDOW + PAIR + ROW.ljust(64, b"\0") + bytes(64)  # weights from 320 on
SPEC = load_spec("tpu-v1", SystolicSpec, ["array.rows=4", "array.cols=4"]).spec
EVERY = dict.fromkeys(ENGINES, 0)  # what is illegal is, whenever it goes
START = (
    "MARK",
    "CFG bytes=128",
    "CFG dram=128 index=1 bytes=128",
    "CFG dram=256 kind=1 bytes=40",
    "LDW dram=320 rows=4 cols=3",
    "LW wait=DMA:0",
    "MM len=5 lanes=4 swap=1 wait=LW:0",
)


def program(*lines: str) -> Program:
    return Program(
        name="p",
        rows=4,
        cols=4,
        weight_slots=2,
        accumulator_rows=10,
        unified_buffer_bytes=64,
        dram_bytes=len(CONSTANTS) + 64,
        instructions=tuple(replace(parse(line), waits=EVERY) for line in lines),
        constants=CONSTANTS,
        layers=(Layer("all", "test", 0),),
        packed={},
        inputs=(),
        outputs=(),
        to_device=(),
        from_device=(),
    )


def refusal(*lines: str) -> str:
    with pytest.raises(ModelError) as refused:
        run(program(*lines), SPEC, {}, Key(0))
    return str(refused.value)


def test_the_start_of_these_programs_is_legal() -> None:
    lines = (
        *START,
        "RQ len=5 cols=3",
        "VE a=1 len=9",
        "VE func=3 len=10",
        "ST dram=384 bytes=64",
    )
    assert run(program(*lines, "HALT"), SPEC, {}, Key(0)).cycles > 0


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("MARK id=1", "MARK id must be at most 0, not 1"),
        ("LDW dram=320 rows=5 cols=3", "LDW rows must be at most 4, not 5"),
        ("LDW dram=320 rows=4 cols=5", "LDW cols must be at most 4, not 5"),
        ("LDW dram=320 rows=0 cols=3", "LDW rows must be at least 1, not 0"),
        ("LDW dram=320 slot=2 rows=4 cols=3", "LDW slot must be at most 1, not 2"),
        ("LDW dram=373 rows=4 cols=3", "LDW dram end must be at most 384, not 385"),
        ("LDA bytes=65", "LDA ub end must be at most 64, not 65"),
        ("LDA dram=384 ub=1 bytes=64", "LDA ub end must be at most 64, not 65"),
        ("LDA dram=380 bytes=5", "LDA dram end must be at most 384, not 385"),
        ("LDA dram=385 bytes=64", "LDA dram end must be at most 448, not 449"),
        ("ST bytes=4", "ST dram must be at least 384, after the constants, not 0"),
        ("LW slot=1", "LW reads slot 1, which no instruction before it writes"),
        (
            "MM desc=2 len=1 lanes=1",
            "MM reads descriptor 2, which no instruction before it writes",
        ),
        ("MM len=0 lanes=4", "MM len must be at least 1, not 0"),
        ("MM len=2 lanes=5", "MM lanes must be at most 4, not 5"),
        ("MM len=2 k=1 lanes=4", "MM last tap must be at most 4, not 5"),
        ("MM acc=9 len=2 lanes=4", "MM acc end must be at most 10, not 11"),
        ("RQ len=2 cols=4", "RQ cols must be at most 3, not 4"),
        (
            "RQ len=2 cols=3 table=1",
            "RQ reads requantise row 1, which no instruction before it writes",
        ),
        ("RQ acc=9 len=2 cols=3", "RQ acc end must be at most 10, not 11"),
        ("RQ len=2 cols=3 ub=59", "RQ ub end must be at most 64, not 65"),
        ("RQ len=2 cols=3 ub=50 raw=1", "RQ ub end must be at most 64, not 65"),
        ("VE len=10 ub=25", "VE ub end must be at most 64, not 65"),
        ("VE func=3 a=1 len=9", "VE operands must be of one pixel and equal channels"),
        ("CFG index=16 bytes=128", "CFG index must be at most 15, not 16"),
        ("CFG bytes=100", "CFG bytes must be at least 128, not 100"),
        ("CFG dram=300 bytes=128", "CFG dram end must be at most 384, not 428"),
    ],
)
def test_an_illegal_instruction_is_named(line: str, rule: str) -> None:
    assert (
        refusal(*START, line, "HALT") == f"program 'p' instruction 7: {rule}; compile it again"
    )


def test_a_window_beyond_the_buffer_is_named() -> None:
    # 10 pixels of 4 channels from 40 on end at 80
    far = Descriptor(40, 4, width=10, out_w=10, pixel_stride=4).pack()
    made = program(*START, "CFG dram=0 bytes=128", "MM len=1 lanes=4", "HALT")
    constants = far + CONSTANTS[128:]
    broken = replace(made, constants=constants)
    with pytest.raises(ModelError, match="end of descriptor 0 must be at most 64, not 80"):
        run(broken, SPEC, {}, Key(0))


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        (("HALT",), "must begin with MARK"),
        ((), "must begin with MARK"),
        (("MARK",), "must have one HALT, at its end"),
        (("MARK", "HALT", "NOP"), "must have one HALT, at its end"),
        (("MARK", "HALT", "HALT"), "must have one HALT, at its end"),
    ],
)
def test_a_program_begins_with_mark_and_ends_with_halt(
    lines: tuple[str, ...], rule: str
) -> None:
    assert refusal(*lines) == f"program 'p' {rule}; compile it again"


def test_weights_are_there_before_they_are_used() -> None:
    assert refusal(*START[:5], "MM len=1 lanes=4 swap=1", "HALT") == (
        "program 'p' instruction 5: MM reads shadow weights, which no instruction before it "
        "writes; compile it again"
    )
    assert refusal(*START[:6], "MM len=1 lanes=4", "HALT") == (
        "program 'p' instruction 6: MM reads weights, which no instruction before it writes; "
        "compile it again"
    )


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((2, 3), np.float32), "float32 of shape (2, 3)"),
        (np.zeros((2, 1), np.int8), "int8 of shape (2, 1)"),
    ],
)
def test_an_input_of_another_type_or_shape_is_refused(array: Array, found: str) -> None:
    port = Place(0, len(CONSTANTS), "i8", (3,))
    made = replace(program("MARK", "HALT"), inputs=(("x", 0),), to_device=(port,))
    with pytest.raises(ModelError) as refused:
        run(made, SPEC, {"x": array}, Key(0))
    assert str(refused.value) == (
        f"an array for the accelerator must be i8 of shape (2, 3), not {found}"
    )


MIXED = ("LDW dram=320 slot=1 rows=2 cols=2 fmt=3", "LW slot=1 wait=DMA:0")


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        (("MM len=2 lanes=4 fmt=2",), "MM fmt int16 must have int16 weights, not int8"),
        (
            (*MIXED, "MM len=2 lanes=2 swap=1"),
            "MM fmt int8 must have int8 weights, not bf16",
        ),
        (
            ("MM len=2 lanes=4 drain=1",),
            "MM drain must be 0 with dataflow weight_stationary, not 1",
        ),
        (
            ("MM len=2 lanes=4 accumulate=1 fmt=1",),
            "MM accumulators must hold i64, not i32",
        ),
        (("RQ len=2 cols=3 fmt=2",), "RQ fmt must be 0, 1, 3, 4 or 5, not 2"),
        (
            ("MM acc=5 len=1 lanes=4 fmt=1", "RQ acc=4 len=2 cols=3"),
            "RQ accumulators must hold one type, not i32 and i64",
        ),
        (
            ("RQ len=4 cols=3 transposed=1",),
            "RQ len must be at most 3, not 4",
        ),
        (
            ("RQ len=2 cols=3 transposed=1 fmt=1",),
            "RQ stride must be at least a row's 4 bytes, not 3",
        ),
        (("VE func=7 a=1 len=1",), "VE operand must be of one pixel, not 2"),
        (("VE func=6 len=1",), "VE end of the table must be at most 64, not 256"),
        (
            ("VE func=5 b=2 len=1",),
            "VE reads requantise row 2, which no instruction before it writes",
        ),
        (("VE func=5 len=1",), "VE channels must be at most 3, not 4"),
        (("LUW desc=0 slot=2 rows=1 cols=1",), "LUW slot must be at most 1, not 2"),
        (("LUW desc=0 rows=1 cols=5",), "LUW cols must be at most 4, not 5"),
        (("LUW desc=0 k=1 rows=1 cols=4",), "LUW last tap must be at most 4, not 5"),
        (("VX routine=0",), "VX routine must be below the program's 0, not 0"),
        (("GTH routine=0",), "GTH routine must be below the program's 0, not 0"),
    ],
)
def test_an_illegal_use_of_the_second_edition_is_named(
    lines: tuple[str, ...], rule: str
) -> None:
    number = 6 + len(lines)
    assert refusal(*START, *lines, "HALT") == (
        f"program 'p' instruction {number}: {rule}; compile it again"
    )


def test_activations_that_do_not_fit_a_weight_are_refused() -> None:
    shifted = replace(Descriptor.unpack(WINDOW), zero_x=3).pack()
    constants = shifted + CONSTANTS[128:]
    made = replace(program(*START, "LUW desc=0 rows=1 cols=1", "HALT"), constants=constants)
    with pytest.raises(ModelError, match="zero_x must be 0 of signed values, not 3; compile"):
        run(made, SPEC, {}, Key(0))


@pytest.mark.parametrize(
    ("gather", "rule"),
    [
        ({"count": 0}, "count, rows and row_bytes must be at least 1, not 0"),
        ({"index_dtype": "i8"}, "index_dtype must be i32 or i64, not i8"),
        ({"rows": 100}, "dram end must be at most 384, not 400"),
        ({"indices_ub": 60}, "end of the indices must be at most 64, not 68"),
        ({"ub": 60}, "ub end must be at most 64, not 68"),
    ],
)
def test_an_illegal_gather_is_named(gather: dict[str, Any], rule: str) -> None:
    plain = Gather(0, 4, 10, 0, "i32", 2, 0)
    made = program(*START, "GTH routine=0", "HALT")
    made = replace(made, gathers=(replace(plain, **gather),))
    with pytest.raises(ModelError) as refused:
        run(made, SPEC, {}, Key(0))
    assert str(refused.value) == f"program 'p' instruction 7: GTH {rule}; compile it again"


def test_a_program_that_the_array_cannot_run_is_refused() -> None:
    wide = replace(program(*START, "HALT"), units=2)
    with pytest.raises(SpecError) as refused:
        run(wide, SPEC, {}, Key(0))
    assert str(refused.value) == (
        "array.units and array.dataflow must be the program's 2 and weight_stationary, not 1 "
        "and weight_stationary; compile the model for this chip"
    )
    lines = ("LDW dram=320 rows=2 cols=2 fmt=3", "LW wait=DMA:0")
    floats = program(*START[:4], *lines, "MM len=1 lanes=2 swap=1 fmt=3", "HALT")
    with pytest.raises(SpecError) as refused:
        run(floats, SPEC, {}, Key(0))
    assert str(refused.value) == (
        "array.formats must have the program's bf16, not only int8, int16x8, int16; compile "
        "the model for this chip"
    )
    sparse = program(*START[:4], "LDW dram=320 rows=2 cols=2 sparse=1", "HALT")
    with pytest.raises(SpecError) as refused:
        run(sparse, SPEC, {}, Key(0))
    assert str(refused.value) == (
        "array.sparsity must be the program's 2:4, not none; compile the model for this chip"
    )


def test_an_operand_that_no_word_holds_is_named() -> None:
    whole = program("MARK", "HALT")
    for instruction, said in (
        (Instruction("LW", {"slot": 65536}), "LW slot must be 0..65535, not 65536"),
        (Instruction("NOP", {}, {"MM": 7}), "NOP wait MM must be 0..6, not 7"),
        (Instruction("LW", {"bytes": 1}), "LW has no operand 'bytes'; there are: slot, spread"),
    ):
        wrong = replace(whole, instructions=(whole.instructions[0], instruction))
        with pytest.raises(ModelError) as refused:
            run(wrong, SPEC, {}, Key(0))
        assert str(refused.value) == f"program 'p' instruction 1: {said}; compile it again"
