"""Larger memories make no program slower; the words of a program are those of its steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.backends.systolic.conftest import KEY, Net, chip, gemm
from tetrapla.backends.systolic.array.slots import Slots
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.backends.systolic.design import Machine
from tetrapla.backends.systolic.trials import MOST_INSTRUCTIONS, fastest
from tetrapla.ir.errors import ModelError
from tetrapla.ir.module import Module
from tetrapla.simulators.systolic import words
from tetrapla.simulators.systolic.isa import Instruction, encode
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.timing import schedule


def network(rng: np.random.Generator) -> Module:
    net = Net(rng, (1, 3, 12, 12))
    y = net.conv(net.x, 40, (3, 3), "a", pads=(1, 1, 1, 1))
    y = net.conv(y, 24, (3, 3), "b", strides=(2, 2))
    return net.finish(net.conv(y, 70, (1, 1), "c"))


@pytest.mark.parametrize("place", [0, 1])
def test_more_memory_is_not_slower(rng: np.random.Generator, place: int) -> None:
    module, found = network(rng), []
    for doubled in range(4):
        sizes = [64, 2]
        sizes[place] <<= doubled
        spec = chip(16, 16, *sizes)
        found.append(schedule(compile_graph(module.graph, spec, "m"), spec).cycles)
    assert found == sorted(found, reverse=True)


def made(machine: Machine, counts: list[tuple[int, int]], program: Program) -> Program:
    counts.append((machine.weight_tiles, machine.accumulator_rows))
    return program


def tried(program: Program, spec: Any) -> list[tuple[int, int]]:
    counts: list[tuple[int, int]] = []
    fastest(lambda machine: made(machine, counts, program), Machine.of(spec), spec)
    return counts


def test_a_long_program_is_made_once() -> None:
    spec = chip(8, 8, 256, 32)
    program = compile_graph(gemm(8, 8, 8).graph, spec, "m")
    mark, *middle, halt = program.instructions
    every = [(32, 256), (16, 256), (8, 256), (4, 256), (2, 256), (32, 128), (32, 64), (32, 32)]
    assert tried(program, spec) == every
    nops = [Instruction("NOP")] * MOST_INSTRUCTIONS
    longer = replace(program, instructions=(mark, *nops, *middle, halt))
    assert tried(longer, spec) == every[:1]


def test_the_fastest_of_all_is_taken() -> None:
    spec = chip(8, 8, 64, 4)
    program = compile_graph(gemm(8, 8, 8).graph, spec, "m")
    mark, *rest = program.instructions
    slow = replace(program, instructions=(mark, *[Instruction("NOP")] * 50, *rest))

    def make(machine: Machine) -> Program:
        return program if machine.weight_tiles == 2 else slow

    assert fastest(make, Machine.of(spec), spec) is program
    assert run(program, spec, {}, KEY).cycles + 50 == run(slow, spec, {}, KEY).cycles


def test_the_words_of_a_program_are_those_of_its_instructions(
    rng: np.random.Generator,
) -> None:
    program = compile_graph(network(rng).graph, chip(8, 8), "m")
    assert {i.op for i in program.instructions} >= {"LDW", "LDA", "LW", "MM", "RQ", "ST", "CFG"}
    assert words.binary(program.instructions) == b"".join(map(encode, program.instructions))
    full = [  # every bit of the operands that lie in both halves of a word
        Instruction("LDW", {"dram": 2**40 - 1, "slot": 2**16 - 1, "rows": 4095, "cols": 4095}),
        Instruction("MM", {"row": 2**24 - 1, "k": 2**20 - 1, "lanes": 4095, "drain": 1}),
        Instruction("LDA", {"host": 1, "bytes": 2**27 - 1}, {"DMA": 6, "LW": 0}),
        Instruction("SYNC", {}, {"MM": 3}),
    ]
    assert words.binary(full) == b"".join(map(encode, full))
    assert words.binary([]) == b""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Instruction("LW", {"slot": 2**16}), "LW slot must be 0..65535, not 65536"),
        (Instruction("LW", {"slot": -1}), "LW slot must be 0..65535, not -1"),
        (Instruction("LW", {"row": 1}), "LW has no operand 'row'; there are: slot, spread"),
        (Instruction("SYNC", {}, {"MM": 7}), "SYNC wait MM must be 0..6, not 7"),
        (
            Instruction("SYNC", {}, {"VX": 0}),
            "SYNC has no engine 'VX'; there are: LW, MM, RQ, VE, DMA",
        ),
        (Instruction("LWW"), "no instruction 'LWW'; did you mean 'LW'?"),
    ],
)
def test_what_does_not_fit_a_word_is_refused_as_one_instruction_is(
    wrong: Instruction, said: str
) -> None:
    with pytest.raises(ModelError) as refused:
        words.binary([Instruction("LW", {"slot": 1}), wrong])
    assert str(refused.value) == said
    with pytest.raises(ModelError) as alone:
        encode(wrong)
    assert str(alone.value) == said


def test_a_tile_that_must_stay_makes_no_room_even_if_its_next_use_is_the_farthest() -> None:
    # 0 and 1 lie there; 1 is never used again, but has not been shifted in when 2 comes
    slots = Slots(2, [0, 1, 2, 0])
    assert [slots.take(place, current)[0] for place, current in ((0, 0), (1, 0), (2, 1))] == [
        0,
        1,
        0,
    ]
    assert slots.take(3, 3) == (1, False)
