"""Copies of layers on free arrays: the rule, what it saves, and the values of copies."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from tests.backends.analog.conftest import EXACT, KEY, chip, compiled, verdict
from tetrapla.backends.analog import TARGET
from tetrapla.backends.analog.replicate import replicated
from tetrapla.backends.target_ import Lowered
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.analog import cells, machine
from tetrapla.simulators.analog.program import Program
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key

ON = "mapping.replicate=true"


def three_layers(rng: np.random.Generator) -> Module:
    """Convolutions of 36 and 16 positions, and a product of one: int8 between them."""
    b = ModuleBuilder("three")
    x = b.input("x", (1, 2, 8, 8), "i8")
    points = {"x_zero_point": 0, "w_zero_point": 0}
    window: dict[str, Attribute] = {"strides": (1, 1), "pads": (0, 0, 0, 0)}
    window |= {"dilations": (1, 1), "groups": 1}
    form: dict[str, Attribute] = {"zero_point": 0, "low": -128, "high": 127, "dtype": "i8"}
    form |= {"axis": 1}
    y = x
    for name, into in (("one", 2), ("two", 4)):
        w = b.weight(f"{name}.w", rng.integers(-127, 128, (4, into, 3, 3)).astype(np.int8))
        acc = b.op("qnn.conv2d", [y, w], {**window, **points}, name)
        scale = b.weight(f"{name}.s", np.full(1, 0.002, np.float32))
        y = b.op("qnn.requantize", [acc, scale], form, f"{name}.q")
    flat = b.op("nn.reshape", [y], {"shape": (1, 64)}, "flat")
    v = b.weight("v", rng.integers(-127, 128, (64, 4)).astype(np.int8))
    b.output("y", b.op("qnn.matmul", [flat, v], points, "three"))
    return b.finish()


def data(rng: np.random.Generator, count: int = 3) -> dict[str, Array]:
    return {"x": rng.integers(-128, 128, (count, 1, 2, 8, 8)).astype(np.int8)}


def arrays(total: int, *settings: str) -> AnalogSpec:
    """Arrays of 64 x 32, one for each of the layers, and so many in all."""
    one = ("array.arrays_per_unit=1", "array.units_per_tile=1", f"array.tiles={total}")
    return chip(64, 32, *one, *settings)


def copies(lowered: Lowered[Program]) -> list[int]:
    return [step.copies for step in lowered.program.products]


# layers of 36, 16 and 1 positions: 18 rounds with a copy more, 16, 12, 9 (of 36 / 4), 8, ...
@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (3, [1, 1, 1]),
        (4, [2, 1, 1]),
        (5, [3, 1, 1]),  # 36 / 2 = 18 is still more than 16
        (6, [3, 2, 1]),
        (7, [4, 2, 1]),  # 12 against 8
        (53, [36, 16, 1]),
        (60, [36, 16, 1]),  # no position is left to deal out
    ],
)
def test_the_slowest_layer_gets_the_next_copy(
    rng: np.random.Generator, total: int, expected: list[int]
) -> None:
    lowered = compiled(three_layers(rng), arrays(total, ON), None)
    assert copies(lowered) == expected
    assert lowered.program.arrays == sum(expected)


def test_nothing_is_copied_unless_the_chip_says_so(rng: np.random.Generator) -> None:
    assert copies(compiled(three_layers(rng), arrays(60), None)) == [1, 1, 1]


def test_more_arrays_never_make_the_pipeline_slower(rng: np.random.Generator) -> None:
    module = three_layers(rng)
    times = []
    for total in range(3, 56, 4):
        spec = arrays(total, ON)
        run = machine.run(compiled(module, spec, None).program, spec, data(rng), KEY)
        assert run.interval_s is not None
        times.append((run.interval_s, run.time_s))
    for column in zip(*times, strict=True):
        assert list(column) == sorted(column, reverse=True)
    assert times[-1][0] < times[0][0] / 4


def test_no_other_split_of_the_arrays_is_faster(rng: np.random.Generator) -> None:
    """By trying all of them: the slowest of layers of 36, 16 and 1 positions."""
    module = three_layers(rng)
    for total in range(3, 24):
        found = copies(compiled(module, arrays(total, ON), None))
        best = min(
            max(ceil(36 / a), ceil(16 / b), 1)
            for a in range(1, total - 1)
            for b in range(1, total - a)
        )
        assert max(ceil(36 / found[0]), ceil(16 / found[1])) == best


def test_copies_on_an_ideal_chip_give_the_reference(rng: np.random.Generator) -> None:
    spec = arrays(20, ON).ideal()
    inputs = data(rng)
    lowered = compiled(three_layers(rng), spec, None)
    check, run = verdict(lowered, spec, inputs)
    assert check == EXACT
    assert max(copies(lowered)) > 5
    converted = machine.run(lowered.program, spec, inputs, KEY, fold=False)
    assert np.array_equal(converted.outputs["y"], run.outputs["y"])


def test_copies_are_programmed_each_on_its_own(rng: np.random.Generator) -> None:
    spec = arrays(20, ON)
    step = compiled(three_layers(rng), spec, None).program.products[0]
    one, two = (cells.programmed(step.copy(n), 0, spec, KEY).levels for n in (0, 1))
    assert one.shape == two.shape
    # but for what falls below zero and stays there
    assert not np.any((one == two) & (one > one.min()))
    # one copy is what the layer would be without any
    alone = replace(step, copies=1)
    assert np.array_equal(cells.programmed(alone, 0, spec, KEY).levels, one)


def test_a_noisy_run_of_copies_is_as_its_spec_says(rng: np.random.Generator) -> None:
    spec = arrays(20, ON)
    inputs = data(rng, 24)
    lowered = compiled(three_layers(rng), spec, inputs)
    check, run = verdict(lowered, spec, inputs)
    assert check.kind == "statistical"
    assert check.passed, check
    # a machine that has only one set of cells for all positions is found out
    single = replace(
        lowered.program,
        steps=tuple(
            replace(s, copies=1) if s in lowered.program.products else s
            for s in lowered.program.steps
        ),
    )
    other = machine.run(single, spec, inputs, KEY)
    wrong = replace(run, outputs=other.outputs, accumulators=other.accumulators)
    reference = evaluate_many(lowered.module, inputs)
    found = TARGET.cross_check(lowered, spec, inputs, wrong, reference)
    assert found is not None
    assert not found.passed


def test_values_of_copies_do_not_depend_on_how_the_data_is_cut(
    rng: np.random.Generator,
) -> None:
    spec = arrays(20, ON)
    inputs = data(rng, 5)
    program = compiled(three_layers(rng), spec, None).program
    whole = machine.run(program, spec, inputs, KEY).outputs["y"]
    parts = [
        machine.run(program, spec, {"x": inputs["x"][a:b]}, Key(0, read=a)).outputs["y"]
        for a, b in ((0, 1), (1, 3), (3, 5))
    ]
    assert np.array_equal(np.concatenate(parts), whole)


def test_products_on_the_same_arrays_are_copied_together(rng: np.random.Generator) -> None:
    b = ModuleBuilder("twice")
    w = b.weight("w", rng.integers(-127, 128, (8, 4)).astype(np.int8))
    points = {"x_zero_point": 0, "w_zero_point": 0}
    for name, rows in (("left", 6), ("right", 3)):
        x = b.input(name, (rows, 8), "i8")
        b.output(f"{name}.y", b.op("qnn.matmul", [x, w], points, f"{name}.product"))
    spec = arrays(3, ON)
    lowered = compiled(b.finish(), spec, None)
    assert copies(lowered) == [3, 3]
    assert lowered.program.arrays == 3
    assert replicated(lowered.program, spec) == lowered.program
