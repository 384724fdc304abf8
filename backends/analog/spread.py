"""On how many tiles of the chip a digital step is done: those that its operands come from.

A chip's periphery is one set of units for each of its tiles. The codes of a layer on many
arrays, or of many copies, arrive in many tiles, each of which requantises what it has; what
follows is done where its largest operand is.
"""

from __future__ import annotations

from dataclasses import replace

from tetrapla.simulators.analog.program import Product, Program, Step
from tetrapla.simulators.analog.spec import AnalogSpec


def spread(program: Program, spec: AnalogSpec) -> Program:
    """The program whose digital steps know their tiles."""
    per_tile = spec.array.arrays_per_unit * spec.array.units_per_tile
    made: dict[int, int] = {}
    steps: list[Step] = []
    for step in program.steps:
        if isinstance(step, Product):
            arrays = len(step.tiles) * step.copies
            made[step.result] = min(-(-arrays // per_tile), spec.array.tiles)
        else:
            tiles = max((made.get(index, 1) for index in step.operands), default=1)
            step = replace(step, tiles=tiles)
            made.update(dict.fromkeys(step.results, tiles))
        steps.append(step)
    return replace(program, steps=tuple(steps))
