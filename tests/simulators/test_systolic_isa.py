"""The instruction set: one table, and everything made from it agrees."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapla.ir.errors import ModelError, SpecError
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.systolic.isa import (
    ENGINES,
    MOST_OUTSTANDING,
    OPERANDS_START,
    TABLE,
    WORD_BYTES,
    Instruction,
    decode,
    encode,
    parse,
    text,
)
from tetrapla.simulators.systolic.manual import markdown
from tetrapla.simulators.systolic.spec import SystolicSpec


@st.composite
def instructions(draw: st.DrawFn) -> Instruction:
    row = draw(st.sampled_from(TABLE))
    operands = {f.name: draw(st.integers(0, f.most)) for f in row.fields}
    waits = draw(st.dictionaries(st.sampled_from(ENGINES), st.integers(0, MOST_OUTSTANDING)))
    return Instruction(row.name, operands, waits)


@given(instructions())
def test_encoding_and_assembly_are_round_trips(instruction: Instruction) -> None:
    assert decode(encode(instruction)) == instruction
    assert parse(text(instruction)) == instruction


@given(st.binary(min_size=WORD_BYTES, max_size=WORD_BYTES))
def test_a_word_is_illegal_or_encodes_back_to_itself(word: bytes) -> None:
    try:
        instruction = decode(word)
    except ModelError:
        return
    assert encode(instruction) == word


def test_every_operation_fits_a_word_and_has_its_own_opcode() -> None:
    for row in TABLE:
        assert OPERANDS_START + sum(f.bits for f in row.fields) <= 8 * WORD_BYTES
    assert len({row.opcode for row in TABLE}) == len({row.name for row in TABLE}) == len(TABLE)


def test_a_word_by_hand() -> None:
    # opcode 3; LW is slot 0 of the wait, "at most 1 outstanding" is 2 << 4; slot 7 from bit 28
    word = 3 | 2 << 4 | 7 << 28
    instruction = Instruction("LW", {"slot": 7}, {"LW": 1})
    assert encode(instruction) == word.to_bytes(16, "little")
    assert text(instruction) == "LW slot=7 wait=LW:1"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            13,
            "opcode must be one of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15], not 13",
        ),
        (0 | 1 << 19, "NOP wait slot 5 must be zero, not 1"),
        (3 | 1 << 45, "LW bits 127:45 must be zero, not 0x1"),
        (6 | 8 << 28, "VE func must be 0..7, not 8"),
    ],
)
def test_an_illegal_word_is_refused(word: int, message: str) -> None:
    with pytest.raises(ModelError) as refused:
        decode(word.to_bytes(16, "little"))
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (Instruction("LW", {"slot": 65536}), "LW slot must be 0..65535, not 65536"),
        (Instruction("LW", {"row": 1}), "LW has no operand 'row'; there are: slot, spread"),
        (
            Instruction("NOP", {}, {"TPU": 0}),
            "NOP has no engine 'TPU'; there are: LW, MM, RQ, VE, DMA",
        ),
        (Instruction("NOP", {}, {"MM": 7}), "NOP wait MM must be 0..6, not 7"),
        (Instruction("LWW"), "no instruction 'LWW'; did you mean 'LW'?"),
    ],
)
def test_what_does_not_fit_the_encoding_is_refused(
    instruction: Instruction, message: str
) -> None:
    with pytest.raises(ModelError) as refused:
        encode(instruction)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("setting", "bound"),
    [
        ("array.rows=4096", "4095"),
        ("array.cols=4096", "4095"),
        ("memories.weight_tiles=65537", "65536"),
        ("memories.accumulator_rows=65536", "65535"),
        ("dram.capacity=2 TiB", "1.09951e.12 bytes"),
    ],
)
def test_a_chip_s_limits_are_those_of_the_words(setting: str, bound: str) -> None:
    with pytest.raises(SpecError, match=f"must be at most {bound}"):
        load_spec("tpu-v1", SystolicSpec, [setting])


def test_the_manual_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "isa.md"
    assert page.read_text(encoding="utf-8") == markdown()
