"""What noise does to a model's outputs, predicted from the spec without the machine.

A second, coarser model: no cells, digits or ADC codes. In each draw the integer weights get the
error that programming leaves in them (mean and variance of a cell, over slices and signs), and
every accumulator a normal error with the variance of its reads and conversions:

    w' = w + sum_k 2^(k cell) (e+_k - e-_k)
    var(acc) = sum_t 4^(t dac) sum_i d_ti^2 V_i + conversions,  V = sum_k 4^(k cell) (v+ + v-)

A conversion of a whole number of steps plus N(0, s^2) gives a code with the variance g(s) of
`rounded_variance`. What g exceeds s^2 by is added here; where rounding makes the error smaller
(s below 0.3 steps) nothing is taken away, so the prediction errs upwards. Clipping at the ADC's
ends is left out: at zero errors shrink by it, at the top the calibrated range makes it rare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from tetrapla.backends.analog.calibrate import cell_variance
from tetrapla.ir.graph import Array
from tetrapla.ir.quant.linear import wrap
from tetrapla.simulators.analog import crossbar, machine
from tetrapla.simulators.analog.program import Product, Program, Tile
from tetrapla.simulators.analog.spec import INPUT_BITS, AnalogSpec
from tetrapla.simulators.random_ import Key, normals

_SEED: Final = 0x7E7A  # of the prediction's own draws, apart from every run's
_WEIGHTS, _SUMS = 11, 12  # purposes
_POSITIONS = 1 << 12


@dataclass(frozen=True)
class Errors:
    """Of one product: mean error and variance of each weight, and variance of each sum.

    `sums` holds for the given inputs, [invocations, positions, outputs].
    """

    shift: Array
    weights: Array
    sums: Array


@dataclass(frozen=True)
class Prediction:
    """The noise of a program on given inputs; `outputs` draws from it."""

    program: Program
    inputs: Mapping[str, Array]
    errors: Mapping[str, Errors]

    def outputs(self, draw: int) -> dict[str, Array]:
        """Outputs by name under draw number `draw`."""
        values: dict[int, Array] = {i: self.inputs[name] for name, i in self.program.inputs}
        for step in self.program.steps:
            if isinstance(step, Product):
                errors = self.errors[step.name]
                values[step.result] = _disturbed(step, errors, values[step.operand], draw)
            else:
                values[step.result] = machine.digital(step, values, self.program.constants)
        return {name: values[index] for name, index in self.program.outputs}


def prediction(program: Program, spec: AnalogSpec, inputs: Mapping[str, Array]) -> Prediction:
    """The noise that `spec` makes in the products, on inputs (invocations, ...) by name."""
    values: dict[int, Array] = {index: inputs[name] for name, index in program.inputs}
    errors: dict[str, Errors] = {}
    for step in program.steps:
        if not isinstance(step, Product):
            values[step.result] = machine.digital(step, values, program.constants)
            continue
        rows, shape = machine.driven(step, values[step.operand])
        errors[step.name] = product_errors(step, spec, rows)
        exact = machine.corrected(step, rows.astype(np.float64) @ step.matrix)
        values[step.result] = wrap(machine.shaped(step, exact, shape))
    return Prediction(program, inputs, errors)


def product_errors(step: Product, spec: AnalogSpec, rows: Array) -> Errors:
    """The errors of one product driven by unsigned rows [invocations, positions, rows]."""
    shift, weights, read = weight_moments(step, spec)
    sums = _squares(spec)[rows] @ read
    flat = rows.reshape(-1, rows.shape[-1])
    for start in range(0, len(flat), _POSITIONS):
        part = slice(start, start + _POSITIONS)
        sums.reshape(len(flat), -1)[part] += conversion_variance(step, spec, flat[part])
    return Errors(shift, weights, sums)


def _disturbed(step: Product, errors: Errors, x: Array, draw: int) -> Array:
    rows, shape = machine.driven(step, x)
    key = Key(_SEED, layer=step.number, read=draw)
    error = np.sqrt(errors.weights) * normals(key.at(purpose=_WEIGHTS), errors.weights.shape)
    sums = rows.astype(np.float64) @ (step.matrix + errors.shift + error)
    sums += np.sqrt(errors.sums) * normals(key.at(purpose=_SUMS), sums.shape)
    acc = machine.corrected(step, np.rint(sums).astype(np.int64))
    return wrap(machine.shaped(step, acc, shape))


def weight_moments(step: Product, spec: AnalogSpec) -> tuple[Array, Array, Array]:
    """Per weight: mean error and variance of programming, variance of a read by one step."""
    found = tuple(np.zeros(step.matrix.shape) for _ in range(3))
    d = spec.device
    unit = (d.g_max_siemens - d.g_min_siemens) / spec.array.top_level
    scale = 2.0 ** (np.arange(step.slices) * spec.array.cell_bits)
    for tile in step.tiles:
        goal = d.g_min_siemens + crossbar.targets(step, tile, spec) * unit
        mean, variance = d.device.moments(goal, d.g_max_siemens)
        read = d.read_noise_frac**2 * (variance + mean * mean)
        parts = [(mean - goal) / unit, variance / unit**2, read / unit**2]
        signed, *squared = (p.reshape(tile.rows, 2, step.slices, -1) for p in parts)
        area = _area(tile)
        found[0][area] = np.einsum("rko,k->ro", signed[:, 0] - signed[:, 1], scale)
        for target, part in zip(found[1:], squared, strict=True):
            target[area] = np.einsum("rsko,k->ro", part, scale * scale)
    return found[0], found[1], found[2]


def conversion_variance(step: Product, spec: AnalogSpec, rows: Array) -> Array:
    """What conversion adds to the variance of each sum, [positions, outputs]."""
    total = np.zeros((len(rows), step.matrix.shape[1]))
    for tile in step.tiles:
        variance = cell_variance(crossbar.targets(step, tile, spec), spec)
        lsb = 2.0 ** np.array(tile.adc_shifts)
        steps = (lsb * 2.0 ** (np.arange(step.slices) * spec.array.cell_bits)) ** 2
        part = rows[:, tile.row_start : tile.row_stop]
        for digit in range(spec.digits):
            driven = crossbar.digits_of(part, digit, spec.dac.bits)
            spread = np.sqrt(driven**2 @ variance).reshape(len(rows), 2, step.slices, -1)
            added = rounding_excess(spread / lsb[:, None])
            # a sum that is no whole number of steps is rounded even without noise
            added[:, :, lsb > 1] = 1 / 12
            by_output = np.einsum("msko,k->mo", added, steps)
            total[:, tile.col_start : tile.col_stop] += by_output * 4.0 ** (
                digit * spec.dac.bits
            )
    return total


def rounded_variance(s: float) -> float:
    """E[rint(N(0, s^2))^2] = sum over n of 2 (2n - 1) Phi(-(n - 1/2) / s), for s > 0."""
    cdf = NormalDist().cdf
    return sum(2 * (2 * n - 1) * cdf((0.5 - n) / s) for n in range(1, int(10 * s) + 3))


_PER_STEP = 256  # table entries per ADC step; the function is constant from two steps on
_EXCESS = np.array(
    [0.0, *(max(rounded_variance(s) - s * s, 0) for s in np.arange(1, 513) / _PER_STEP)]
)


def rounding_excess(s: Array) -> Array:
    """max(0, g(s) - s^2), which is 1/12 from about s = 1 on."""
    nearest = np.rint(np.minimum(s, 2.0) * _PER_STEP).astype(np.intp)
    return np.asarray(_EXCESS[nearest])


def _squares(spec: AnalogSpec) -> Array:
    """By input value, sum_t 4^(t dac_bits) digit_t^2."""
    every = np.arange(1 << INPUT_BITS)
    total = np.zeros(len(every))
    for digit in range(spec.digits):
        part = crossbar.digits_of(every, digit, spec.dac.bits).astype(np.float64)
        total += 4.0 ** (digit * spec.dac.bits) * part * part
    return total


def _area(tile: Tile) -> tuple[slice, slice]:
    return slice(tile.row_start, tile.row_stop), slice(tile.col_start, tile.col_stop)
