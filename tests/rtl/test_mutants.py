"""What the suite compares would find an off-by-one: each planted error must be caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.rtl import agreement
from tests.rtl.agreement import SPECS, difference, drawn
from tests.rtl.mutants import RTL, TIMING, Mutant, mutated
from tetrapla.simulators.rtl import machine
from tetrapla.simulators.rtl.toolchain import Design
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec

Builder = Callable[[Mutant | None], None]
PROGRAMS = 240
LENGTH = 100  # few programs, but long: the builds are most of the time
QUICK = 3  # one of so many is built in each run; the others are slow
SMALL = [[SPECS[0]], [SPECS[2]]]  # 4 x 4, weight- and output-stationary


def caught(stays: bool) -> str:
    """What differs first in the small programs of one kind of array: empty if nothing does."""
    seeds = (seed for seed in range(PROGRAMS) if SPECS[seed // 2 % len(SPECS)] in SMALL[stays])
    found = (difference(*drawn(seed, LENGTH), judged=False) for seed in seeds)
    return next((text for text in found if text), "")


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


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(mutant, id=str(mutant), marks=pytest.mark.slow if number % QUICK else ())
        for number, mutant in enumerate(RTL)
    ],
)
def test_an_error_in_the_rtl_is_caught(built: Builder, mutant: Mutant) -> None:
    built(mutant)
    assert caught(mutant.stays) != ""


@pytest.mark.parametrize("mutant", TIMING, ids=str)
def test_an_error_in_the_timing_model_is_caught(
    monkeypatch: pytest.MonkeyPatch, built: Builder, mutant: Mutant
) -> None:
    built(None)
    monkeypatch.setattr(agreement, "schedule", mutant.module().schedule)
    assert caught(mutant.stays).startswith("dispatch of ")
