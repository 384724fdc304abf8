"""Where layers lie on the mesh of tiles, and what moving activations between them takes.

Tiles are numbered along a square mesh, row by row in alternate directions, so that neighbours
in number are neighbours on the chip. A layer's arrays fill tiles of their own, in the order of
the program; inputs of the chip enter at its first tile. A transfer goes from the middle tile of
one layer to that of the next, along one axis and then the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, isqrt, prod

from tetrapla.simulators.analog.program import Product, Program
from tetrapla.simulators.analog.spec import AnalogSpec


@dataclass(frozen=True)
class Transfer:
    """Of a layer's operand: bytes of one invocation, routers passed, and cycles taken."""

    traffic_bytes: int
    hops: int
    cycles: int


def transfers(program: Program, spec: AnalogSpec) -> Mapping[str, Transfer]:
    """The transfers of a program by product; one hop and no time where the chip has no mesh."""
    middles = _middles(program, spec)
    sources = _sources(program)
    found: dict[str, Transfer] = {}
    for step in program.products:
        moved = prod(program.shapes[step.operand])
        if spec.noc is None:
            found[step.name] = Transfer(moved, 1, 0)
            continue
        source = sources.get(step.operand)
        start = (0, 0) if source is None else _place(middles[source], spec)
        end = _place(middles[step.number], spec)
        hops = max(1, abs(start[0] - end[0]) + abs(start[1] - end[1]))
        # the first byte passes every router, the others follow
        cycles = hops * spec.noc.hop_cycles + ceil(moved / spec.noc.cycle_bytes)
        found[step.name] = Transfer(moved, hops, cycles)
    return found


def _middles(program: Program, spec: AnalogSpec) -> dict[int, int]:
    """The middle tile of the arrays of every number."""
    in_tile = spec.array.arrays_per_unit * spec.array.units_per_tile
    next_tile, found = 0, dict[int, int]()
    for step in program.products:
        if step.number in found:
            continue
        used = ceil(len(step.tiles) * step.copies / in_tile)
        found[step.number] = next_tile + used // 2
        next_tile += used
    return found


def _place(tile: int, spec: AnalogSpec) -> tuple[int, int]:
    side = isqrt(spec.array.tiles - 1) + 1
    row, along = divmod(tile, side)
    return row, along if row % 2 == 0 else side - 1 - along


def _sources(program: Program) -> dict[int, int]:
    """By value, the number of the product that it comes from, through digital steps."""
    found: dict[int, int] = {}
    for step in program.steps:
        if isinstance(step, Product):
            found[step.result] = step.number
            continue
        before = [found[index] for index in step.operands if index in found]
        if before:
            found.update(dict.fromkeys(step.results, max(before)))
    return found
