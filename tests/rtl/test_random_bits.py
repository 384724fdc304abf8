"""No result hangs on what a register or a memory holds before the reset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.rtl import programs
from tests.rtl.mutants import Mutant, mutated
from tests.rtl.test_machine import SPECS
from tetrapla.simulators.rtl import machine
from tetrapla.simulators.rtl.compare import memories_of
from tetrapla.simulators.rtl.toolchain import Design
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.values import State

PROGRAMS = 8
SEEDS = (1, 77, 4242)


def drawn(seed: int, spec: SystolicSpec) -> Program:
    """With as few waits as it needs, so that the engines run beside each other."""
    stays = spec.array.dataflow == "output_stationary"
    rng = np.random.default_rng(seed)
    draft = programs.draft(rng, spec.array.rows, spec.array.cols, 30, stays)
    return programs.waiting(programs.program(draft, programs.racing(draft)), spec)


def left(program: Program, spec: SystolicSpec, seed: int | None) -> list[object]:
    """What a run leaves, as plain values."""
    held = memories_of(State(program, 1))
    run = machine.run(
        program, spec, held.dram, held.buffer, held.accumulators, 10**5, seed=seed
    )
    arrays = run.dram, run.buffer, run.accumulators, run.dispatched
    return [run.cycles, run.marks, run.busy_cycles, *(a.tolist() for a in arrays)]


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(SPECS[0], id="weights stay"),
        pytest.param(SPECS[4], id="outputs stay", marks=pytest.mark.slow),
    ],
)
def test_programs_leave_the_same_whatever_the_first_bits_are(spec: SystolicSpec) -> None:
    for number in range(PROGRAMS):
        program = drawn(number, spec)
        wanted = left(program, spec, None)
        for seed in SEEDS:
            assert left(program, spec, seed) == wanted, (number, seed)


def test_a_register_that_is_not_reset_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The sums' ring without its reset: rows arrive that nothing sent."""
    mutant = Mutant(
        "accumulators.sv", "busy_cycles[0] <= '0; clear();", "busy_cycles[0] <= '0;"
    )
    spec, original = SPECS[0], machine.design

    def design(program: Program, own: SystolicSpec) -> Design:
        # the function is then used by nobody, which a short life may have
        return replace(mutated(original(program, own), mutant, tmp_path), quick=True)

    program = drawn(0, spec)
    wanted = left(program, spec, None)
    monkeypatch.setattr(machine, "design", design)
    assert left(program, spec, None) == wanted
    assert any(left(program, spec, seed) != wanted for seed in SEEDS)
