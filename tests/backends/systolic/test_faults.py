"""A machine that does less than its program says is caught by the cross-check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.backends.systolic.conftest import EXACT, KEY, Net, chip, lower, verdict
from tetrapla.simulators.report import CrossCheck
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.timing import schedule


def _tile(step: Instruction) -> Instruction | None:
    return Instruction("NOP", {}, step.waits) if step.op == "MM" else None


def _flipped(flag: str) -> Callable[[Instruction], Instruction | None]:
    def fault(step: Instruction) -> Instruction | None:
        if step.op != "MM":
            return None
        return replace(step, operands={**step.operands, flag: 1 - step[flag]})

    return fault


def _swap(step: Instruction) -> Instruction | None:
    return _flipped("swap")(step) if step["swap"] else None


def _shift(step: Instruction) -> Instruction | None:
    return Instruction("NOP", {}, step.waits) if step.op == "LW" else None


def _requantize(step: Instruction) -> Instruction | None:
    return Instruction("NOP", {}, step.waits) if step.op == "RQ" else None


def _load(step: Instruction) -> Instruction | None:
    return Instruction("NOP", {}, step.waits) if step.op == "LDA" else None


FAULTS = {
    "a tile is dropped": _tile,
    "a weight swap is skipped": _swap,
    "the accumulate flag is wrong": _flipped("accumulate"),
    "a weight shift is skipped": _shift,
    "a requantisation is dropped": _requantize,
    "the input is not loaded": _load,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_in_any_instruction_is_caught(
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Instruction], Instruction | None],
) -> None:
    net = Net(rng, (1, 3, 6, 6))
    module = net.finish(net.conv(net.conv(net.x, 9, (3, 3), "a"), 8, (3, 3), "b"))
    spec, inputs = chip(8, 8), net.inputs()
    lowered = lower(module, spec)
    assert verdict(lowered, spec, inputs, run(lowered.program, spec, inputs, KEY)) == EXACT
    # the machine, not the program, is at fault: nothing static may stop it
    monkeypatch.setattr("tetrapla.simulators.systolic.machine.checked", schedule)
    steps = lowered.program.instructions
    tried = 0
    for n, step in enumerate(steps):
        broken = fault(step)
        if broken is None or n == _first(steps, "LW") or n == _first(steps, "MM"):
            continue  # without first weights there is nothing to multiply with
        tried += 1
        program = replace(lowered.program, instructions=(*steps[:n], broken, *steps[n + 1 :]))
        found = verdict(lowered, spec, inputs, run(program, spec, inputs, KEY))
        assert not found.passed, (n, step)
        assert found.mismatches
    assert tried


def _first(steps: tuple[Instruction, ...], op: str) -> int:
    return next(n for n, step in enumerate(steps) if step.op == op)


def test_outputs_of_another_shape_or_type_are_mismatches(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 6))
    spec, inputs = chip(4, 4), net.inputs()
    lowered = lower(net.finish(net.product(net.x, 5, "a")), spec)
    result = run(lowered.program, spec, inputs, KEY)
    for other in (result.outputs["y0"][..., :4], result.outputs["y0"].astype(np.int16)):
        broken = replace(result, outputs={"y0": other})
        assert verdict(lowered, spec, inputs, broken) == CrossCheck(
            "bit_exact", 15, None, None, False
        )
