"""ADC ranges from calibration inputs, by tile and slice.

The range covers the largest column sum that the calibration inputs give on exact cells, and
four standard deviations of the noise there (4 sd: assumed; 3e-5 of the conversions at the very
top would clip). Never the inputs that are judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from tetrapla.backends.analog.tiles import shift_for
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import crossbar, machine
from tetrapla.simulators.analog.cells import programmed
from tetrapla.simulators.analog.mapping import columns, targets
from tetrapla.simulators.analog.program import Product, Program, Step, Tile
from tetrapla.simulators.analog.spec import AnalogSpec

SAMPLES: Final = 128  # assumed to be enough: the largest sum hardly grows with more
_MARGIN_SD: Final = 4.0
_MOST_POSITIONS: Final = 1 << 13  # of a product, assumed to be enough as well
_POSITIONS = 1 << 12  # per product, at a time


def calibrated(program: Program, spec: AnalogSpec, inputs: Mapping[str, Array]) -> Program:
    """The program with its ADC steps set from inputs (invocations, ...) by name."""
    count = min(len(array) for array in inputs.values())
    chosen = np.unique(np.linspace(0, count - 1, min(count, SAMPLES)).astype(np.int64))
    values: dict[int, Array] = {i: inputs[name][chosen] for name, i in program.inputs}
    steps: list[Step] = []
    last = program.last_uses()
    for place, step in enumerate(program.steps):
        if isinstance(step, Product):
            rows, shape = machine.driven(step, values[step.operand])
            exact = machine.corrected(step, crossbar.folded(step, rows))
            values[step.result] = machine.shaped(step, exact, shape).astype(np.int32)
            steps.append(_ranged(step, spec, rows.reshape(-1, rows.shape[-1])))
        else:
            made = machine.digital(step, values, program.constants)
            values.update(zip(step.results, made, strict=True))
            steps.append(step)
        for index in step.operands:
            if last[index] == place:
                values.pop(index, None)
    return replace(program, steps=tuple(steps))


def _ranged(step: Product, spec: AnalogSpec, rows: Array) -> Product:
    rows = rows[machine.spread(len(rows), _MOST_POSITIONS)]
    tiles = tuple(_tile(step, place, spec, rows) for place in range(len(step.tiles)))
    return replace(step, tiles=tiles)


def _tile(step: Product, place: int, spec: AnalogSpec, rows: Array) -> Tile:
    tile = step.tiles[place]
    made = columns(step, tile, spec)
    held = programmed(step, place, spec, None)
    levels = held.levels.astype(np.float64)
    variance = made.spread(cell_variance(targets(step, tile, spec), spec))
    if held.reference is not None:
        variance = variance * held.reference.scale**2
    largest = np.zeros(made.conversions)
    for start in range(0, len(rows), _POSITIONS):
        part = rows[start : start + _POSITIONS, tile.row_start : tile.row_stop]
        for digit in range(spec.digits):
            driven = crossbar.digits_of(part, digit, spec.dac.bits).astype(np.float64)
            sums = np.abs(driven @ levels)
            if spec.noisy:
                sums += _MARGIN_SD * np.sqrt(driven**2 @ variance)
            largest = np.maximum(largest, sums.max(axis=0, initial=0))
    by_part = largest.reshape(made.converted).max(axis=(0, 2))
    by_slice = by_part.reshape(-1, step.slices).max(axis=0)
    return replace(tile, adc_shifts=tuple(shift_for(float(top), spec) for top in by_slice))


def cell_variance(levels: Array, spec: AnalogSpec) -> Array:
    """Variance of one cell in one read, of its device and of reads, in levels squared."""
    d = spec.device
    unit = (d.g_max_siemens - d.g_min_siemens) / spec.array.top_level
    goal = d.g_min_siemens + np.arange(spec.array.top_level + 1) * unit
    mean, variance = d.device.moments(goal, d.g_max_siemens, d.time_s)
    own = d.device.read_sigma(goal, mean, d.g_max_siemens, d.time_s)
    table = (variance + own**2 + (d.read_noise_frac * goal) ** 2) / unit**2
    return np.asarray(table[levels])
