"""The area of the PE and of a small array is what it was."""

from __future__ import annotations

from pathlib import Path

from tetrapla.simulators.rtl.synthesis import LIBERTY, PARTS, gates, lines

KEPT = Path(__file__).parent / "area.txt"


def test_gates_and_area_are_as_kept() -> None:
    # after a change that is meant: python -m tetrapla.simulators.rtl.synthesis > area.txt, with
    # qflow-tech-osu018 installed; made with Yosys 0.70
    kept = KEPT.read_text("utf-8").splitlines()
    there = [line for line in kept if LIBERTY.exists() or "osu018" not in line]
    assert [*lines()] == there
    assert len(kept) == 2 * len(PARTS)


def test_a_pe_has_the_registers_that_its_source_names() -> None:
    # activation 9, swap, shift, pass 8, shadow 8, weight 8, sum 32
    assert gates(PARTS[0])[1] == 9 + 1 + 1 + 3 * 8 + 32
