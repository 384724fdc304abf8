"""Whole programs: every byte of every memory, and the cycle of every dispatch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.systolic.conftest import Net, chip, lower
from tests.rtl import programs
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.target_ import Options
from tetrapla.frontend.onnx import load
from tetrapla.simulators.rtl import machine
from tetrapla.simulators.rtl.compare import Comparison, compare
from tetrapla.simulators.rtl.toolchain import lint
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.spec import SystolicSpec

ROOT = Path(__file__).parents[2]


def small(
    rows: int, cols: int, *settings: str, dataflow: str = "weight_stationary"
) -> SystolicSpec:
    """A chip with a narrow vector unit and int4 in DRAM."""
    spec = chip(rows, cols, 64, 4, "vector.lanes=4", *settings)
    update = {"formats": {"int8": 1, "int4": 1}, "dataflow": dataflow}
    array = spec.array.model_copy(update=update)
    return spec.model_copy(update={"array": array})


SPECS = [
    small(4, 4),
    small(4, 4, "dram.bandwidth=3 GB/s", "host.latency=20 ns"),
    small(4, 4, "dram.latency=0 ns", "host.bandwidth=100 GB/s"),
    small(8, 8),
    small(4, 4, "host.latency=20 ns", dataflow="output_stationary"),
    small(8, 8, "dram.latency=30 ns", dataflow="output_stationary"),
]


def random_program(seed: int) -> tuple[Comparison, Comparison]:
    """One draft in order, and with any waits and those that it needs beside them."""
    spec = SPECS[seed % len(SPECS)]
    stays = spec.array.dataflow == "output_stationary"
    rng = np.random.default_rng(seed)
    draft = programs.draft(rng, spec.array.rows, spec.array.cols, 30, stays)
    ordered = programs.program(draft, programs.ordered(draft))
    racing = programs.program(draft, programs.racing(draft))
    return compare(ordered, spec, {}), compare(programs.waiting(racing, spec), spec, {})


def agree(seeds: Iterable[int]) -> None:
    """No false alarm, and none missing: what is not stopped has the values of its order."""
    for seed in seeds:
        ordered, waiting = random_program(seed)
        assert ordered.equal, seed
        assert waiting.equal, seed


def test_random_programs_agree_in_values_and_cycles() -> None:
    agree(range(120))


@pytest.mark.slow
def test_many_random_programs_agree() -> None:
    agree(range(120, 1000))


@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("name", ["digits_cnn", "digits_mlp"])
def test_the_digits_networks_agree_in_every_byte_and_layer(name: str, size: int) -> None:
    module = load(ROOT / "examples" / f"{name}.onnx")
    with np.load(ROOT / "tetrapla" / "data" / "digits.npz") as data:
        images = data["x"][:24].astype(np.float32)
    ((given, value),) = module.inputs.items()
    images = images.reshape(-1, *value.shape)
    spec = chip(size, size, 4096, 4, "vector.lanes=16")
    program = TARGET.lower(module, spec, {given: images}, Options("int8")).program
    for image in images[:2]:
        found = compare(program, spec, {given: image[None]})
        assert found.equal
        marks = [n for n, i in enumerate(program.instructions) if i.op == "MARK"]
        assert found.rtl.marks == tuple(
            (program.instructions[n]["id"], found.plan.dispatch[n]) for n in marks
        )


def test_a_residual_network_agrees(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 5, 8, 8), "ui8")
    x = net.conv(net.x, 9, (3, 3), "a", pads=(1, 1, 1, 1))
    y = net.conv(x, 9, (3, 3), "b", pads=(1, 1, 1, 1))
    sums: dict[str, Any] = {"a_scale": 0.5, "a_zero_point": 5, "b_scale": 0.75}
    sums |= {"b_zero_point": 5, "y_scale": 0.7, "y_zero_point": 4}
    y = net.builder.op("qnn.add", [x, y], sums)
    window: dict[str, Any] = {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}
    y = net.builder.op("nn.max_pool2d", [y], {**window, "dilations": (1, 1)})
    mean: dict[str, Any] = {"x_scale": 0.75, "x_zero_point": 4, "y_scale": 0.5}
    y = net.builder.op("qnn.global_average_pool", [y], {**mean, "y_zero_point": 7})
    spec = small(4, 4)
    inputs = {name: x[:1] for name, x in net.inputs().items()}
    found = compare(lower(net.finish(y), spec).program, spec, inputs)
    assert found.equal
    assert found.rtl.busy_cycles["VE"] > 0


def test_the_trace_holds_every_mark() -> None:
    """More than the smallest configuration's 1,024."""
    draft = programs.draft(np.random.default_rng(0), 4, 4, 0)
    draft.instructions[-1:-1] = [Instruction("MARK")] * 1100
    program = programs.program(draft, programs.ordered(draft))
    found = compare(program, SPECS[0], {})
    assert found.equal
    ends = [
        t
        for i, t in zip(program.instructions, found.plan.dispatch, strict=True)
        if i.op == "MARK"
    ]
    assert found.rtl.marks == tuple((0, cycle) for cycle in ends)


@pytest.mark.parametrize("stays", [False, True])
def test_the_machine_is_lint_clean(stays: bool) -> None:
    spec = small(8, 4, dataflow="output_stationary" if stays else "weight_stationary")
    draft = programs.draft(np.random.default_rng(0), 8, 4, 0, stays)
    design = machine.design(programs.program(draft, programs.ordered(draft)), spec)
    assert lint(design) == ""
