"""Copies of layers on free arrays, so that a layer of many positions is as fast as one of few.

ISAAC (A. Shafiee et al., ISCA 2016, section 4) programs the first layers many times, since
they see far more windows than the last ones, and a pipeline is as fast as its slowest layer.
Here the slowest layer gets another copy for as long as free arrays hold one, which leaves no
faster slowest layer: to shorten it, it alone must be copied. A copy does every n-th position,
so more copies than positions are of no use.
"""

from __future__ import annotations

from dataclasses import replace
from heapq import heapify, heappop, heappush
from math import ceil, prod
from typing import Final

from tetrapla.simulators.analog.program import Product, Program
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.analog.timing import read_cycles

_MOST_TILES: Final = 1 << 16  # of a layer that the addresses of random numbers tell apart


def replicated(program: Program, spec: AnalogSpec) -> Program:
    """The program with copies of its slowest layers on the arrays that it leaves free."""
    layers: dict[int, list[Product]] = {}
    for step in program.products:
        layers.setdefault(step.number, []).append(step)
    copies = {number: steps[0].copies for number, steps in layers.items()}
    free = spec.array.total - program.arrays
    waiting = [
        (-_time(steps, program, spec, copies[number]), number)
        for number, steps in layers.items()
    ]
    heapify(waiting)
    while waiting:
        _, number = heappop(waiting)
        steps = layers[number]
        wanted = _faster(steps, program, copies[number])
        needed = (wanted - copies[number]) * len(steps[0].tiles)
        full = wanted * len(steps[0].tiles) > _MOST_TILES
        if wanted == copies[number] or needed > free or full:
            break
        free -= needed
        copies[number] = wanted
        heappush(waiting, (-_time(steps, program, spec, wanted), number))
    placed = (
        replace(step, copies=copies[step.number]) if isinstance(step, Product) else step
        for step in program.steps
    )
    return replace(program, steps=tuple(placed))


def _time(steps: list[Product], program: Program, spec: AnalogSpec, copies: int) -> int:
    """Cycles in which an invocation keeps the arrays of a layer busy."""
    each = (ceil(_positions(step, program) / copies) for step in steps)
    return sum(each) * spec.digits * read_cycles(steps[0], spec)[0]


def _faster(steps: list[Product], program: Program, copies: int) -> int:
    """The fewest copies above these that shorten the time of a layer; these if none do."""
    now = [ceil(_positions(step, program) / copies) for step in steps]
    fewest = [
        ceil(_positions(step, program) / (rounds - 1))
        for step, rounds in zip(steps, now, strict=True)
        if rounds > 1
    ]
    return min(fewest, default=copies)


def _positions(step: Product, program: Program) -> int:
    return prod(program.shapes[step.result]) // int(step.matrix.shape[1])
