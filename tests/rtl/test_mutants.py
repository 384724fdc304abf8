"""What the suite compares would find an off-by-one: each planted error must be caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.rtl import programs
from tests.rtl.mutants import RTL, TIMING, Mutant, mutated
from tests.rtl.test_machine import SPECS
from tetrapla.ir.errors import ModelError
from tetrapla.simulators.rtl import compare as comparison
from tetrapla.simulators.rtl import machine
from tetrapla.simulators.rtl.compare import compare
from tetrapla.simulators.rtl.toolchain import Design
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec

Builder = Callable[[Mutant | None], None]
PROGRAMS = 40
SMALL = [spec for spec in SPECS if spec.array.rows == 4]


def drawn(stays: bool) -> Iterator[tuple[Program, SystolicSpec, bool]]:
    """A few short programs of 4 x 4 machines, in order and racing."""
    wanted = "output_stationary" if stays else "weight_stationary"
    specs = [spec for spec in SMALL if spec.array.dataflow == wanted]
    for seed in range(PROGRAMS):
        draft = programs.draft(np.random.default_rng(seed), 4, 4, 20, stays)
        spec = specs[seed % len(specs)]
        yield programs.program(draft, programs.ordered(draft)), spec, True
        yield programs.program(draft, programs.racing(draft)), spec, False


def caught(stays: bool) -> str:
    """What differs first: empty where nothing does."""
    for number, (program, spec, in_order) in enumerate(drawn(stays)):
        try:
            found = compare(program, spec, {})
        except ModelError as error:
            return f"program {number}: {error}"
        if found.dispatches or found.cycles:
            return f"program {number}: the trace"
        if in_order and not found.equal:
            return f"program {number}: values"
    return ""


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Mutant | None], None]:
    """Makes the builds of the machine have a mutant; they are soon thrown away."""
    original = machine.design

    def build(mutant: Mutant | None) -> None:
        def design(program: Program, spec: SystolicSpec) -> Design:
            found = original(program, spec)
            return mutated(found, mutant, tmp_path) if mutant else replace(found, quick=True)

        monkeypatch.setattr(machine, "design", design)

    return build


@pytest.mark.parametrize("stays", [False, True])
def test_nothing_differs_without_a_planted_error(built: Builder, stays: bool) -> None:
    built(None)
    assert caught(stays) == ""


@pytest.mark.parametrize("mutant", RTL, ids=str)
def test_an_error_in_the_rtl_is_caught(built: Builder, mutant: Mutant) -> None:
    built(mutant)
    assert caught(mutant.stays) != ""


@pytest.mark.parametrize("mutant", TIMING, ids=str)
def test_an_error_in_the_timing_model_is_caught(
    monkeypatch: pytest.MonkeyPatch, built: Builder, mutant: Mutant
) -> None:
    built(None)
    monkeypatch.setattr(comparison, "schedule", mutant.module().schedule)
    assert caught(mutant.stays).endswith("the trace")
