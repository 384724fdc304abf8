"""What noise does to a model's outputs, predicted from the spec without the machine.

A second, coarser model: no tiles, slices, digits or ADC codes. In each draw the integer weights
get the error that programming leaves in them (mean and variance of a cell, over slices and
signs), and every accumulator a normal error with the variance of its reads and conversions:

    w' = w + sum_k 2^(k cell) (e+_k - e-_k)
    var(acc) = sum_t 4^(t dac) sum_i d_ti^2 V_i + conversions,  V = sum_k 4^(k cell) (v+ + v-)

A conversion adds lsb^2 / 12. That is too much where the noise is well below a step, which
rounding then removes: the prediction errs upwards. Clipping at the ADC's ends is left out; the
calibrated range makes it rare.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.quant.linear import wrap
from tetrapla.simulators.analog import crossbar, machine
from tetrapla.simulators.analog.program import Product, Program, Tile
from tetrapla.simulators.analog.spec import INPUT_BITS, AnalogSpec
from tetrapla.simulators.random_ import Key, normals

_SEED: Final = 0x7E7A  # of the prediction's own draws, apart from every run's
_WEIGHTS, _SUMS = 11, 12  # purposes


def outputs(
    program: Program, spec: AnalogSpec, inputs: Mapping[str, Array], draw: int
) -> dict[str, Array]:
    """Outputs by name under draw number `draw` of the predicted noise."""
    values: dict[int, Array] = {index: inputs[name] for name, index in program.inputs}
    for step in program.steps:
        if isinstance(step, Product):
            values[step.result] = _product(step, spec, values[step.operand], draw)
        else:
            values[step.result] = machine.digital(step, values, program.constants)
    return {name: values[index] for name, index in program.outputs}


def _product(step: Product, spec: AnalogSpec, x: Array, draw: int) -> Array:
    rows, shape = machine.driven(step, x)
    key = Key(_SEED, layer=step.number, read=draw)
    shift, programming, reading = weight_moments(step, spec)
    error = normals(key.at(purpose=_WEIGHTS), shift.shape)
    matrix = step.matrix + shift + np.sqrt(programming) * error
    sums = rows.astype(np.float64) @ matrix
    noise = _squares(spec)[rows] @ reading + conversion_variance(step, spec)
    sums += np.sqrt(noise) * normals(key.at(purpose=_SUMS), sums.shape)
    acc = machine.corrected(step, np.rint(sums).astype(np.int64))
    return wrap(machine.shaped(step, acc, shape))


def weight_moments(step: Product, spec: AnalogSpec) -> tuple[Array, Array, Array]:
    """Per weight: mean error and variance of programming, variance of a unit read."""
    found = tuple(np.zeros(step.matrix.shape) for _ in range(3))
    d = spec.device
    unit = (d.g_max_siemens - d.g_min_siemens) / spec.array.top_level
    scale = 2.0 ** (np.arange(step.slices) * spec.array.cell_bits)
    for tile in step.tiles:
        levels = crossbar.targets(step, tile, spec)
        goal = d.g_min_siemens + levels * unit
        mean, variance = d.device.moments(goal, d.g_max_siemens)
        read = d.read_noise_frac**2 * (variance + mean * mean)
        parts = [(mean - goal) / unit, variance / unit**2, read / unit**2]
        area = _area(tile)
        signed, *squared = (p.reshape(tile.rows, 2, step.slices, -1) for p in parts)
        found[0][area] = np.einsum("rko,k->ro", signed[:, 0] - signed[:, 1], scale)
        for target, part in zip(found[1:], squared, strict=True):
            target[area] = np.einsum("rsko,k->ro", part, scale * scale)
    return found[0], found[1], found[2]


def conversion_variance(step: Product, spec: AnalogSpec) -> Array:
    """Variance that rounding to ADC codes adds to each output; 0 where codes are exact."""
    total = np.zeros(step.matrix.shape[1])
    digits = sum(4.0 ** (digit * spec.dac.bits) for digit in range(spec.digits))
    for tile in step.tiles:
        for number, shift in enumerate(tile.adc_shifts):
            if spec.device.noisy or shift > 0:
                lsb = 2.0 ** (shift + number * spec.array.cell_bits)
                total[tile.col_start : tile.col_stop] += 2 * digits * lsb * lsb / 12
    return total


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
