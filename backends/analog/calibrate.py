"""ADC ranges from calibration inputs, by tile and slice.

The range covers the largest column sum that the calibration inputs give on exact cells, and
four standard deviations of the noise there (4 sd: assumed; 3e-5 of the conversions at the very
top would clip). Never the inputs that are judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from tetrapla.backends.analog.tiles import shift_for
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import crossbar, machine
from tetrapla.simulators.analog.cells import programmed
from tetrapla.simulators.analog.grids import gridded_variances, squares
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
    seen = _Seen(program, spec)
    for place, step in enumerate(program.steps):
        if isinstance(step, Product):
            rows, shape = machine.driven(step, values[step.operand])
            exact = machine.corrected(step, crossbar.folded(step, rows))
            values[step.result] = machine.shaped(step, exact, shape).astype(np.int32)
            steps.append(_ranged(step, seen, rows.reshape(-1, rows.shape[-1])))
        else:
            made = machine.digital(step, values, program.constants)
            values.update(zip(step.results, made, strict=True))
            steps.append(step)
        for index in step.operands:
            if last[index] == place:
                values.pop(index, None)
    return replace(program, steps=tuple(steps))


class _Seen:
    """What converters see of exact cells, and their noise; kept of arrays that are shared."""

    def __init__(self, program: Program, spec: AnalogSpec) -> None:
        self.spec = spec
        self._uses = Counter(step.number for step in program.products)
        self._held: dict[tuple[int, int], tuple[Array, Array]] = {}

    def of(self, step: Product, place: int) -> tuple[Array, Array]:
        """Levels and variances of a tile [rows, conversions], on the grids of a read."""
        key = step.number, place
        if key in self._held:
            return self._held[key]
        tile, spec = step.tiles[place], self.spec
        made, held = columns(step, tile, spec), programmed(step, place, spec, None)
        variance = made.spread(cell_variance(targets(step, tile, spec), spec))
        if held.reference is not None:
            variance = variance * held.reference.scale**2
        found = held.levels, gridded_variances(variance, spec)
        if self._uses[step.number] > 1:
            self._held[key] = found
        return found


def _ranged(step: Product, seen: _Seen, rows: Array) -> Product:
    rows = rows[machine.spread(len(rows), _MOST_POSITIONS)]
    tiles = tuple(_tile(step, place, seen, rows) for place in range(len(step.tiles)))
    return replace(step, tiles=tiles)


def _tile(step: Product, place: int, seen: _Seen, rows: Array) -> Tile:
    tile, spec = step.tiles[place], seen.spec
    made = columns(step, tile, spec)
    levels, variance = seen.of(step, place)
    largest, noisy = np.zeros(made.conversions), spec.noisy
    for start in range(0, len(rows), _POSITIONS):
        part = rows[start : start + _POSITIONS, tile.row_start : tile.row_stop]
        for digit in range(spec.digits):
            driven = crossbar.digits_of(part, digit, spec.dac.bits)
            sums = np.abs(driven.astype(levels.dtype, copy=False) @ levels)
            if noisy:
                squared, unit = squares(driven, spec)
                spread = np.sqrt(squared @ variance)
                spread *= _MARGIN_SD if unit is None else _MARGIN_SD * np.sqrt(unit)
                sums += spread
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
