"""A program survives JSON and its binary, and needs no values to have cycles."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.backends.systolic.conftest import KEY, Net, chip, digits, gemm, lower
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.backends.target_ import Options
from tetrapla.ir.errors import ModelError
from tetrapla.simulators.systolic.counts import actions
from tetrapla.simulators.systolic.isa import WORD_BYTES, decode, encode, text
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec


@pytest.fixture
def compiled(rng: np.random.Generator) -> tuple[Program, SystolicSpec]:
    images = {"x": rng.random((5, 1, 1, 8, 8)).astype(np.float32)}
    spec = chip(16, 16)
    return TARGET.lower(digits(rng), spec, images, Options()).program, spec


def test_a_program_survives_json(
    compiled: tuple[Program, SystolicSpec], rng: np.random.Generator
) -> None:
    program, spec = compiled
    again = Program.from_dict(json.loads(json.dumps(program.to_dict())))
    assert again.text() == program.text()
    assert again.binary() == program.binary()
    assert again.to_dict() == program.to_dict()
    images = {"x": rng.random((5, 1, 1, 8, 8)).astype(np.float32)}
    first, second = (run(p, spec, images, KEY) for p in (program, again))
    assert np.array_equal(first.outputs["y"], second.outputs["y"])
    assert first.layers == second.layers


def test_the_binary_decodes_to_the_program(compiled: tuple[Program, SystolicSpec]) -> None:
    program, _ = compiled
    binary = program.binary()
    words = [binary[n : n + WORD_BYTES] for n in range(0, len(binary), WORD_BYTES)]
    assert [text(decode(word)) for word in words] == [text(i) for i in program.instructions]
    assert b"".join(encode(decode(word)) for word in words) == binary


def test_the_binary_is_written_beside_it(compiled: tuple[Program, SystolicSpec]) -> None:
    assert TARGET.sources(compiled[0]) == {"program.bin": compiled[0].binary()}


def test_the_program_prints(compiled: tuple[Program, SystolicSpec]) -> None:
    program, _ = compiled
    lines = program.text().splitlines()
    assert lines[0] == f"; digits: 16 x 16, {len(program.instructions)} instructions"
    assert lines[1] == "; host before: qnn.quantize x.quantize"
    assert "; conv2: qnn.conv2d, 294912 MACs" in lines  # 64 pixels x 32 filters x 144 taps


def test_a_program_without_a_part_is_refused(compiled: tuple[Program, SystolicSpec]) -> None:
    data = compiled[0].to_dict()
    del data["constants"]
    with pytest.raises(ModelError) as refused:
        Program.from_dict(data)
    assert str(refused.value) == ("a program must have the part 'constants'; compile it again")


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("constants", "?", "a program must be as it was written, not changed ("),
        ("layers", 3, "a program must be as it was written, not changed ("),
        ("instructions", ["LWX"], "no instruction 'LWX'; did you mean 'LW'?"),
    ],
)
def test_a_program_that_was_changed_is_refused(
    compiled: tuple[Program, SystolicSpec], part: str, content: object, message: str
) -> None:
    with pytest.raises(ModelError) as refused:
        Program.from_dict({**compiled[0].to_dict(), part: content})
    assert str(refused.value).startswith(message)


def test_a_shape_only_module_has_cycles_but_no_values() -> None:
    spec = chip(8, 8)
    program = compile_graph(gemm(4, 4, 4).graph, spec, "m")
    assert run(program, spec, {}, KEY).cycles > 0
    with pytest.raises(ModelError) as refused:
        run(program, spec, {"x": np.zeros((1, 4, 4), np.int8)}, KEY)
    assert str(refused.value) == "model 'm' is shape-only and has no values to compute"


def test_weights_count_in_the_layer_that_multiplies_with_them() -> None:
    # tiles of later layers are loaded beside the work of earlier ones
    net = Net(np.random.default_rng(2), (4, 24))
    y = net.product(net.product(net.product(net.x, 40, "a"), 16, "b"), 9, "c")
    spec = chip(8, 8, tiles=8)
    program = lower(net.finish(y), spec).program
    loads = [n for n, i in enumerate(program.instructions) if i.op == "LDW"]
    marks = [n for n, i in enumerate(program.instructions) if i.op == "MARK"]
    assert any(marks[1] < n < marks[2] for n in loads)
    found = {
        program.layers[program.instructions[n]["id"]].name: layer["weight_memory.write_byte"]
        for n, layer in zip(marks, actions(program), strict=True)
    }
    assert {k: v for k, v in found.items() if v} == {"a": 24 * 40, "b": 40 * 16, "c": 16 * 9}
    names = [each.name for each in run(program, spec, {}, KEY).trace]
    assert names.count("LDW c") == 2 * 2  # of 16 x 9 weights in tiles of 8 x 8
