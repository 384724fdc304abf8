"""What the spec says of a run before the run is looked at: means, variances and tails.

Cells. The cell of a target level l lands at max(0, N(g, s^2)) with g = g_min + l step and
s = sigma(g) of the device. With m = g / s the moments of the clipped normal are

    M0 = Phi(m),  M1 = g M0 + s phi(m),  Mk = g M(k-1) + (k - 1) s^2 M(k-2)

and give its mean, variance v and fourth central moment (`cell_moments`).

Accumulators, given the cells L as they landed. One conversion drives the rows by one digit d
and reads one column: its sum is N(c, q), c = sum_i d_i L_i, q = f^2 sum_i d_i^2 (L_i + g_min /
step)^2 for a read noise of f. In steps of the ADC,

    E[code]   = b + sum_{r > 0} P(code >= b + r) - P(code <= b - r)
    E[(code - b)^2] likewise with the weights 2 r - 1 and both signs added

about the nearest code b = clip(rint(c), 0, top), where codes beyond 0 and top do not exist
(`code_moments`): rounding and clipping are in it, and nothing is taken to be uniform or normal
that is not. The accumulator is the sum of independent codes, each times
w = +-2^(k cell + t dac) steps for slice k and digit t:

    E = sum w E[code],   V = sum w^2 var(code),   |fourth cumulant| <= sum w^4 var(code)

The last because a code's cumulant, in steps, is p (1 - p) (1 - 6 p (1 - p)) where noise tips it
over one threshold, and next to nothing where noise is wide (a test holds it over both).

The machine's normals of reads are 65,536 equally likely quantiles: their distribution is off
Phi by less than `ATOM`, and what that can do to E and V is in `slack`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf, exp, pi, sqrt
from typing import Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.crossbar import Cells
from tetrapla.simulators.analog.program import Product, Tile
from tetrapla.simulators.analog.spec import AnalogSpec

ATOM: Final = 2.0**-16
_FAR: Final = 6.0  # standard deviations: Phi(-6) = 1e-9
_PER_SD: Final = 256  # table entries; linear between them, within 5e-7 of Phi


@dataclass(frozen=True)
class CellMoments:
    """By level, in levels: where a cell lands. `sd` is before clipping at zero."""

    mean: Array
    sd: Array
    variance: Array
    fourth: Array


@dataclass(frozen=True)
class Part:
    """What some of the conversions are expected to add to outputs [start, stop)."""

    start: int
    stop: int
    mean: Array


@dataclass(frozen=True)
class Expected:
    """Sums of unsigned inputs, [samples, outputs], and their parts.

    Attributes:
        mean, variance: of the sums.
        fourth: an upper bound on their fourth cumulant.
        slack, square_slack: how far mean and variance may be off, by output (`ATOM`).
        largest: a bound on what one conversion's noise does to a sum, its tail's scale.
        parts: by tile, by sign and slice, and by digit.
    """

    mean: Array
    variance: Array
    fourth: Array
    slack: Array
    square_slack: Array
    largest: float
    parts: tuple[Part, ...]


def cell_moments(spec: AnalogSpec) -> CellMoments:
    """Where cells of every level land, arrays by level."""
    d = spec.device
    unit = (d.g_max_siemens - d.g_min_siemens) / spec.array.top_level
    goal = np.arange(spec.array.top_level + 1) + d.g_min_siemens / unit
    sd = d.device.sigma(goal * unit, d.g_max_siemens) / unit
    rows = [_clipped(float(g), float(s)) for g, s in zip(goal, sd, strict=True)]
    mean, variance, fourth = np.array(rows).T
    return CellMoments(mean - d.g_min_siemens / unit, sd, variance, fourth)


def target_levels(product: Product, tile: Tile, spec: AnalogSpec) -> Array:
    """Levels of a tile's cells [rows, 2, slices, outputs], digit by digit from the weights."""
    part = product.matrix[tile.row_start : tile.row_stop, tile.col_start : tile.col_stop]
    rest = np.stack((np.clip(part, 0, None), np.clip(-part.astype(np.int64), 0, None)), axis=1)
    found: list[Array] = []
    for _ in range(product.slices):
        rest, level = np.divmod(rest, 1 << spec.array.cell_bits)
        found.append(level)
    return np.stack(found, axis=2)


def accumulators(
    product: Product, spec: AnalogSpec, cells: Sequence[Cells], rows: Array
) -> Expected:
    """What the sums of unsigned rows [samples, rows] are, given the cells of every tile."""
    shape = (len(rows), product.matrix.shape[1])
    mean, variance, fourth = (np.zeros(shape) for _ in range(3))
    by_slice = np.zeros((len(rows), 2 * product.slices, shape[1]))
    by_digit = np.zeros((len(rows), spec.digits, shape[1]))
    slack, square_slack = np.zeros(shape[1]), np.zeros(shape[1])
    largest, parts = 0.0, list[Part]()
    for tile, held in zip(product.tiles, cells, strict=True):
        columns = slice(tile.col_start, tile.col_stop)
        before = mean[:, columns].copy()
        for digit in range(spec.digits):
            w = _weights(product, tile, spec, digit)
            driven = _digit(rows[:, tile.row_start : tile.row_stop], digit, spec)
            codes, spread, reach = _conversions(product, tile, spec, held, driven)
            value = codes * w
            by_slice[:, :, columns] += value
            by_digit[:, digit, columns] += value.sum(axis=1)
            mean[:, columns] += value.sum(axis=1)
            variance[:, columns] += (spread * w**2).sum(axis=1)
            fourth[:, columns] += (spread * w**4).sum(axis=1)
            slack[columns] += 2 * ATOM * reach * np.abs(w).sum()
            square_slack[columns] += 2 * ATOM * reach**2 * (w**2).sum()
            noisy = np.abs(w[:, 0]) * spread.any(axis=(0, 2))
            largest = max(largest, float(noisy.max()) * max(1, reach))
        parts.append(Part(tile.col_start, tile.col_stop, mean[:, columns] - before))
    parts += [Part(0, shape[1], by_slice[:, k]) for k in range(by_slice.shape[1])]
    parts += [Part(0, shape[1], by_digit[:, t]) for t in range(spec.digits)]
    return Expected(mean, variance, fourth, slack, square_slack, largest, tuple(parts))


def resolution(product: Product, spec: AnalogSpec, rows: Array) -> Array:
    """How far conversion alone can move each sum from the product, [samples, outputs].

    Half a step per code where the step is more than a unit, and besides what a sum exceeds the
    top code by; on exact cells and silent reads.
    """
    total = np.zeros((len(rows), product.matrix.shape[1]))
    top = (1 << spec.adc.bits) - 1
    for tile in product.tiles:
        levels = target_levels(product, tile, spec).reshape(tile.rows, -1).astype(np.float64)
        lsb = _steps(product, tile)
        half = np.where(lsb > 1, lsb / 2, 0.0)
        for digit in range(spec.digits):
            driven = _digit(rows[:, tile.row_start : tile.row_stop], digit, spec)
            sums = (driven @ levels).reshape(len(rows), 2 * product.slices, -1)
            moved = half + np.maximum(sums - top * lsb, 0)
            weights = np.abs(_weights(product, tile, spec, digit)) / lsb
            total[:, tile.col_start : tile.col_stop] += (moved * weights).sum(axis=1)
    return total


def code_moments(centre: Array, sd: Array, top: int) -> tuple[Array, Array]:
    """Mean and variance of clip(rint(N(centre, sd^2)), 0, top), all in steps."""
    nearest = np.clip(np.rint(centre), 0, top)
    mean, square = np.zeros_like(centre), np.zeros_like(centre)
    scale = 1 / np.where(sd > 0, sd, 1e-30)
    for r in range(1, reach_of(sd) + 1):
        # thresholds half a step below code b + r, and half a step above code b - r
        above = phi((centre - nearest - (r - 0.5)) * scale) * (nearest + r <= top)
        below = phi((nearest - centre - (r - 0.5)) * scale) * (nearest - r >= 0)
        mean += above - below
        square += (2 * r - 1) * (above + below)
    certain = sd <= 0
    mean[certain], square[certain] = 0, 0
    return nearest + mean, square - mean * mean


def reach_of(sd: Array) -> int:
    """How many thresholds to either side a normal can cross: r - 1 > 6 sd is out of reach."""
    return int(_FAR * float(sd.max(initial=0))) + 1


def phi(t: Array) -> Array:
    """The standard normal's distribution, within 5e-7; exactly 0 or 1 beyond 6."""
    place = np.clip((t + _FAR) * _PER_SD, 0, 2 * _FAR * _PER_SD)
    low = place.astype(np.intp)
    found: Array = _PHI.take(low) + (place - low) * _PHI_STEP.take(low)
    return found


def _conversions(
    product: Product, tile: Tile, spec: AnalogSpec, cells: Cells, driven: Array
) -> tuple[Array, Array, int]:
    """Mean and variance of codes [samples, 2 slices, outputs] in steps; their reach."""
    d = spec.device
    levels = cells.levels.astype(np.float64)
    shape = (len(driven), 2 * product.slices, tile.outputs)
    lsb = _steps(product, tile)
    centre = (driven @ levels).reshape(shape) / lsb
    floor = d.g_min_siemens / (d.g_max_siemens - d.g_min_siemens) * spec.array.top_level
    read = (d.read_noise_frac * (levels + floor)) ** 2
    sd = np.sqrt(driven**2 @ read).reshape(shape) / lsb
    mean, variance = code_moments(centre, sd, (1 << spec.adc.bits) - 1)
    return mean, variance, reach_of(sd) if d.read_noise_frac else 0


def _weights(product: Product, tile: Tile, spec: AnalogSpec, digit: int) -> Array:
    """What a code counts, [2 slices, 1]: positive columns, then negative ones."""
    slices = 2.0 ** (np.arange(product.slices) * spec.array.cell_bits)
    steps = slices * 2.0 ** np.array(tile.adc_shifts) * 2.0 ** (digit * spec.dac.bits)
    return np.concatenate((steps, -steps))[:, None]


def _steps(product: Product, tile: Tile) -> Array:
    """The ADC's step in units, [2 slices, 1]."""
    return np.tile(2.0 ** np.array(tile.adc_shifts), 2)[:, None]


def _digit(inputs: Array, digit: int, spec: AnalogSpec) -> Array:
    base = 1 << spec.dac.bits
    return np.asarray(inputs.astype(np.int64) // base**digit % base, np.float64)


def _clipped(mean: float, sd: float) -> tuple[float, float, float]:
    """Mean, variance and fourth central moment of max(0, N(mean, sd^2))."""
    if sd == 0:
        return max(mean, 0.0), 0.0, 0.0
    z = mean / sd
    moments = [(1 + erf(z / sqrt(2))) / 2]
    moments.append(mean * moments[0] + sd * exp(-z * z / 2) / sqrt(2 * pi))
    for k in (2, 3, 4):
        moments.append(mean * moments[k - 1] + (k - 1) * sd * sd * moments[k - 2])
    _, m, m2, m3, m4 = moments
    return m, m2 - m * m, m4 - 4 * m * m3 + 6 * m * m * m2 - 3 * m**4


_PHI: Final = np.array(
    [
        (1 + erf(t / sqrt(2))) / 2 if abs(t) < _FAR else float(t > 0)
        for t in (n / _PER_SD - _FAR for n in range(int(2 * _FAR * _PER_SD) + 1))
    ]
)
_PHI_STEP: Final = np.append(np.diff(_PHI), 0.0)
