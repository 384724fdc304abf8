"""Of several plans the one that takes the fewest cycles.

A larger memory is not always faster used whole: weights that are loaded further ahead keep
other transfers waiting, and passes of more rows end later. What a smaller memory would have
had is tried, too, and timing tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tetrapla.backends.systolic.design import Machine
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import schedule

MOST_INSTRUCTIONS = 4096
"""Of a program that is made several times, assumed: each takes about 20 ms then."""

TILES = (16, 8, 4, 2)
SHARES = (2, 4, 8)  # of the accumulators


def fastest(
    make: Callable[[Machine], Program], machine: Machine, spec: SystolicSpec
) -> Program:
    """The program of the machine, or of a smaller one that is faster on it.

    Args:
        make: compiles for a machine.
        machine: that there is.
        spec: the design point, which times them.
    """
    best = make(machine)
    if len(best.instructions) > MOST_INSTRUCTIONS:
        return best
    cycles = schedule(best, spec).cycles
    for smaller in (_fewer_tiles, _fewer_sums):
        for tried in smaller(machine):
            program = make(tried)
            if (found := schedule(program, spec).cycles) < cycles:
                best, machine, cycles = program, tried, found
    return best


def _fewer_tiles(machine: Machine) -> Iterator[Machine]:
    """With at least two for each array: one in use, one on its way."""
    for tiles in TILES:
        if 2 * machine.units <= tiles < machine.weight_tiles:
            yield replace(machine, weight_tiles=tiles)


def _fewer_sums(machine: Machine) -> Iterator[Machine]:
    """With at least the rows that fill the array's pipeline twice."""
    for share in SHARES:
        rows = machine.accumulator_rows // share
        if rows >= 2 * machine.leaving_cycles:
            yield replace(machine, accumulator_rows=rows)
