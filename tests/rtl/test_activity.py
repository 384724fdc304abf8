"""Zeros switch less: ratios alone, as the netlist has no delays, wires or capacitances."""

from __future__ import annotations

from tests.rtl.activity import CYCLES, toggles


def test_a_pe_switches_less_the_more_operands_are_zero() -> None:
    found = toggles()
    dense, half, tenth, without, still = found.values()
    assert dense > half > tenth > without > 50 * still
    # the sums that pass through toggle in each cycle, whatever is multiplied
    assert without > 8 * CYCLES
