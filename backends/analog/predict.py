"""What the spec says of a run before the run is looked at: means, variances and tails.

Cells. Where the cell of a target level is, at the time of the reads, has the mean, variance,
fourth central moment and tail that its device gives (`cell_moments`).

Accumulators, given the cells L as they landed. One conversion drives the rows by one digit d
and reads one column: its sum is N(c, q), c = sum_i d_i L_i, q = sum_i d_i^2 s_i^2 for cells of
a spread s from read to read. In steps of the ADC, with its converter's gain and offset,

    E[code]   = b + sum_{r > 0} P(code >= b + r) - P(code <= b - r)
    E[(code - b)^2] likewise with the weights 2 r - 1 and both signs added

about the nearest code b = clip(rint(c), lowest, highest), beyond which there are no codes
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
from typing import Final

import numpy as np

from tetrapla.backends.analog import flicker, uneven
from tetrapla.backends.analog.normal import FAR, phi
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.cells import Cells
from tetrapla.simulators.analog.circuits.effective import effective
from tetrapla.simulators.analog.circuits.wires import Wires
from tetrapla.simulators.analog.devices.cells import draws
from tetrapla.simulators.analog.mapping import Columns, columns, targets
from tetrapla.simulators.analog.program import Product, Tile
from tetrapla.simulators.analog.reads import attenuation, linear, solved
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key

ATOM: Final = 2.0**-16


@dataclass(frozen=True)
class CellMoments:
    """By level, in levels: where a cell is.

    `tail` is the sd of a normal whose tails are no lighter: 0 where nothing is random.
    """

    mean: Array
    variance: Array
    fourth: Array
    tail: Array


@dataclass(frozen=True)
class Part:
    """What some of the conversions are expected to add to outputs [start, stop)."""

    start: int
    stop: int
    mean: Array


@dataclass(frozen=True)
class Shared:
    """Variance [samples] of one error that is in all outputs [start, stop)."""

    start: int
    stop: int
    variance: Array


@dataclass(frozen=True)
class Expected:
    """Sums of unsigned inputs, [samples, outputs], and their parts.

    Attributes:
        mean, variance: of the sums.
        fourth: an upper bound on their fourth cumulant.
        slack, square_slack: how far mean and variance may be off, by output (`ATOM`).
        largest: a bound on what one conversion's noise does to a sum, its tail's scale.
        parts: by tile, by sign and slice, and by digit.
        shared: variance that outputs have in common, from the columns of offsets.
        alone: outputs that share nothing with one another, [outputs].
    """

    mean: Array
    variance: Array
    fourth: Array
    slack: Array
    square_slack: Array
    largest: float
    parts: tuple[Part, ...]
    shared: tuple[Shared, ...]
    alone: Array


def cell_moments(spec: AnalogSpec, levels: Array | None = None) -> CellMoments:
    """Where cells of target levels [n], or of every level, are at the spec's time."""
    d = spec.device
    unit = (d.g_max_siemens - d.g_min_siemens) / spec.array.top_level
    levels = np.arange(spec.array.top_level + 1) if levels is None else levels
    goal = d.g_min_siemens + levels * unit
    found = d.device.central_moments(goal, d.g_max_siemens, d.time_s)
    return CellMoments(
        mean=(found.mean - d.g_min_siemens) / unit,
        variance=found.variance / unit**2,
        fourth=found.fourth / unit**4,
        tail=found.tail / unit,
    )


def read_sd(spec: AnalogSpec, cells: Cells, goal: Array, address: Key) -> Array:
    """How far a cell is off from read to read, in levels [rows, columns].

    The spec's share of what a cell conducts, and what its device adds as it was programmed.
    """
    d = spec.device
    unit = (d.g_max_siemens - d.g_min_siemens) / spec.array.top_level
    made = cells.defects
    if d.device.silent and made is None:
        return np.asarray(d.read_noise_frac * (cells.placed + d.g_min_siemens / unit))
    aim = d.g_min_siemens + goal * unit
    given = draws(d.device, address, aim.shape)
    held = d.device.held(aim, d.g_max_siemens, d.time_s, given)
    at_first = d.device.programmed(aim, d.g_max_siemens, given.programming)
    own = d.device.read_sigma(at_first, held, d.g_max_siemens, d.time_s)
    if d.frozen:
        held, own = held + flicker.shift(spec, aim, address, d.time_s), np.zeros_like(own)
    sd = np.hypot(d.read_noise_frac * held, own) / unit
    return sd if made is None else np.sqrt(made.variance(sd))


def weights_of(levels: Array, made: Columns) -> Array:
    """The weights [rows, outputs] that levels [rows, columns] stand for, i64."""
    held = levels.reshape(len(levels), *made.shape)
    # N cells of a pair reach N times as high, and a slice has the bits that they hold for sure
    layout = made.layout
    bits = (layout.pairs * ((1 << layout.cell_bits) - 1) + 1).bit_length() - 1
    scale = 2 ** (bits * (np.arange(held.shape[2]) % layout.slices))
    parts = np.einsum("rspo,p->rso", held, scale)
    found = parts[:, 0, : made.outputs]
    if made.paired:
        return np.asarray(found - parts[:, 1])
    half = 1 << bits * layout.slices - 1
    if parts.shape[2] == made.outputs:
        return np.asarray(found - half)
    return np.asarray(found - parts[:, 0, made.outputs :])


def accumulators(
    product: Product, spec: AnalogSpec, cells: Sequence[Cells], rows: Array
) -> Expected:
    """What the sums of unsigned rows [samples, rows] are, given the cells of every tile."""
    shape = (len(rows), product.matrix.shape[1])
    total = _Total(shape, spec)
    for tile, held in zip(product.tiles, cells, strict=True):
        made = columns(product, tile, spec)
        before = total.mean[:, tile.col_start : tile.col_stop].copy()
        inputs = held.routed(rows[:, tile.row_start : tile.row_stop])
        for digit in range(spec.digits):
            w = _weights(product, tile, spec, digit)
            driven = _digit(inputs, digit, spec)
            total.add(tile, made, digit, w, _conversions(made, spec, held, driven))
        if spec.mapping.weights == "digital_offset":
            half = 1 << product.slices * spec.array.cell_bits - 1
            offset = half * inputs.sum(axis=1, dtype=np.int64)[:, None]
            total.mean[:, tile.col_start : tile.col_stop] -= offset
        gained = total.mean[:, tile.col_start : tile.col_stop] - before
        total.parts.append(Part(tile.col_start, tile.col_stop, gained))
    return total.expected()


class _Total:
    """What conversions add up to, as they are added."""

    def __init__(self, shape: tuple[int, int], spec: AnalogSpec) -> None:
        self.mean, self.variance, self.fourth = (np.zeros(shape) for _ in range(3))
        self.by_digit = np.zeros((shape[0], spec.digits, shape[1]))
        self.by_part: dict[int, Array] = {}
        self.slack, self.square_slack = np.zeros(shape[1]), np.zeros(shape[1])
        self.shared: list[Shared] = []
        self.alone = np.ones(shape[1], np.bool_)
        self.parts: list[Part] = []
        self.largest = 0.0

    def add(
        self, tile: Tile, made: Columns, digit: int, w: Array, found: tuple[Array, Array, int]
    ) -> None:
        """Conversions [samples, signs, parts, outputs and what they share]."""
        codes, spread, reach = found
        many = made.outputs
        at = slice(tile.col_start, tile.col_stop)
        value = codes * w
        # the offset's column counts against every output of the tile
        net = value[..., :many] - value[..., many:].sum(axis=-1, keepdims=True)
        for number, part in enumerate(net.reshape(len(net), -1, many).swapaxes(0, 1)):
            one = self.by_part.setdefault(number, np.zeros(self.mean.shape))
            one[:, at] += part
        self.by_digit[:, digit, at] += net.sum(axis=(1, 2))
        self.mean[:, at] += net.sum(axis=(1, 2))
        for power, sums in ((2, self.variance), (4, self.fourth)):
            each = (spread * w**power).sum(axis=(1, 2))
            sums[:, at] += each[:, :many] + each[:, many:].sum(axis=-1, keepdims=True)
        if spread.shape[-1] > many:
            common = (spread * w**2)[..., many:].sum(axis=(1, 2, 3))
            self.shared.append(Shared(tile.col_start, tile.col_stop, common))
            self.alone[tile.col_start + 1 : tile.col_stop] = False
        each_twice = 1 + (spread.shape[-1] > many)
        self.slack[at] += each_twice * 2 * ATOM * reach * np.abs(w).sum()
        self.square_slack[at] += each_twice * 2 * ATOM * reach**2 * (w**2).sum()
        noisy = np.abs(w[..., 0]) * spread.any(axis=(0, 3))
        self.largest = max(self.largest, float(noisy.max()) * max(1, reach))

    def expected(self) -> Expected:
        """All of it."""
        every = self.mean.shape[1]
        parts = [Part(0, every, part) for part in self.by_part.values()]
        parts += [Part(0, every, self.by_digit[:, t]) for t in range(self.by_digit.shape[1])]
        return Expected(
            mean=self.mean,
            variance=self.variance,
            fourth=self.fourth,
            slack=self.slack,
            square_slack=self.square_slack,
            largest=self.largest,
            parts=(*self.parts, *parts),
            shared=tuple(self.shared),
            alone=self.alone,
        )


def resolution(
    product: Product, spec: AnalogSpec, cells: Sequence[Cells], rows: Array
) -> Array:
    """How far conversion and wires can move each sum from the product, [samples, outputs].

    What a column's sum lacks of the exact one, half a step per code where the step is more
    than a unit, and what a sum exceeds the last codes by; of cells that nothing random moved.
    """
    total = np.zeros((len(rows), product.matrix.shape[1]))
    for tile, held in zip(product.tiles, cells, strict=True):
        made = columns(product, tile, spec)
        levels = made.seen(targets(product, tile, spec)).astype(np.float64)
        levels = levels if held.order is None else levels[held.order]
        inputs = held.routed(rows[:, tile.row_start : tile.row_stop])
        lsb = made.lsb()
        whole = (lsb == 1) & spec.sums_are_exact
        half = np.where(whole, 0.0, lsb / 2)
        for digit in range(spec.digits):
            driven = _digit(inputs, digit, spec)
            sums = centres(made, spec, held, driven)
            over = np.maximum(sums - spec.adc.highest * lsb, spec.adc.lowest * lsb - sums)
            moved = np.abs(sums - driven @ levels) + half + np.maximum(over, 0)
            counts = np.abs(_weights(product, tile, spec, digit)) / made.steps[None, :, None]
            each = moved.reshape(len(rows), *made.converted) * counts
            many = made.outputs
            own = each[..., :many].sum(axis=(1, 2))
            common = each[..., many:].sum(axis=(1, 2))
            total[:, tile.col_start : tile.col_stop] += own + common.sum(axis=-1, keepdims=True)
    return total


def code_moments(
    centre: Array, sd: Array, highest: int, lowest: int = 0
) -> tuple[Array, Array]:
    """Mean and variance of clip(rint(N(centre, sd^2)), lowest, highest), all in steps."""
    nearest = np.clip(np.rint(centre), lowest, highest)
    mean, square = np.zeros_like(centre), np.zeros_like(centre)
    scale = 1 / np.where(sd > 0, sd, 1e-30)
    for r in range(1, reach_of(sd) + 1):
        # thresholds half a step below code b + r, and half a step above code b - r
        above = phi((centre - nearest - (r - 0.5)) * scale) * (nearest + r <= highest)
        below = phi((nearest - centre - (r - 0.5)) * scale) * (nearest - r >= lowest)
        mean += above - below
        square += (2 * r - 1) * (above + below)
    certain = sd <= 0
    mean[certain], square[certain] = 0, 0
    return nearest + mean, square - mean * mean


def reach_of(sd: Array) -> int:
    """How many thresholds to either side a normal can cross: r - 1 > 6 sd is out of reach."""
    return int(FAR * float(sd.max(initial=0))) + 1


def through(made: Columns, spec: AnalogSpec, placed: Array) -> Array:
    """Levels [rows, conversions] that cells should have behind their wires, f64."""
    d = spec.device
    unit = (d.g_max_siemens - d.g_min_siemens) / spec.array.top_level
    if not spec.wires.lossy or not linear(spec):
        return np.asarray(made.seen(placed))
    w, half = spec.wires, made.count // 2
    lines = Wires(w.r_row_ohm, w.r_col_ohm, w.r_driver_ohm, w.r_sense_ohm)
    g = placed * unit + d.g_min_siemens
    if spec.array.interleaved:
        return made.summed(effective(g[:, :half], lines, g[:, half:]) / unit)
    return np.asarray(made.seen((effective(g, lines) - d.g_min_siemens) / unit))


def centres(made: Columns, spec: AnalogSpec, cells: Cells, driven: Array) -> Array:
    """What converters see without noise, in units [samples, conversions]."""
    if linear(spec):
        return np.asarray(driven @ cells.levels.astype(np.float64))
    return solved(cells, made, spec, driven)


def _conversions(
    made: Columns, spec: AnalogSpec, cells: Cells, driven: Array
) -> tuple[Array, Array, int]:
    """Mean and variance of codes [samples, signs, parts, outputs] in steps; their reach."""
    sums, lsb = centres(made, spec, cells, driven), made.lsb()
    sd = np.sqrt(_read_variance(made, spec, cells, driven, sums))
    centre, sd = sums / lsb, sd / lsb
    if cells.converters is not None:
        gain, offset = cells.converters.of(made.conversions)
        centre, sd = centre * gain + offset, sd * np.abs(gain)
    shape = (len(driven), *made.converted)
    if cells.converters is not None and cells.converters.thresholds is not None:
        found = uneven.moments(centre, sd, cells.converters)
        return found.mean.reshape(shape), found.variance.reshape(shape), found.reach
    mean, variance = code_moments(centre, sd, spec.adc.highest, spec.adc.lowest)
    return mean.reshape(shape), variance.reshape(shape), reach_of(sd) if sd.any() else 0


def _read_variance(
    made: Columns, spec: AnalogSpec, cells: Cells, driven: Array, sums: Array
) -> Array:
    if cells.read_sd is None:
        return np.zeros_like(sums)
    sd = cells.read_sd if cells.gain is None else cells.read_sd * cells.gain
    variance = driven**2 @ made.spread(sd**2)
    if not linear(spec):
        variance = variance * attenuation(cells, made, driven, sums) ** 2
    if cells.reference is not None:
        variance = variance * cells.reference.scale**2
    return np.asarray(variance)


def _weights(product: Product, tile: Tile, spec: AnalogSpec, digit: int) -> Array:
    """What a code counts, [signs, parts, 1]: positive columns, then negative ones."""
    pairs, top = spec.mapping.pairs, spec.array.top_level
    bits = (pairs * top + 1).bit_length() - 1
    slices = 2.0 ** (np.arange(product.slices) * bits)
    steps = slices * 2.0 ** np.array(tile.adc_shifts) * 2.0 ** (digit * spec.dac.bits)
    signs = [steps]
    if spec.mapping.paired and spec.adc.sign == "unsigned":
        signs.append(-steps)
    return np.stack(signs)[:, :, None]


def _digit(inputs: Array, digit: int, spec: AnalogSpec) -> Array:
    base = 1 << spec.dac.bits
    return np.asarray(inputs.astype(np.int64) // base**digit % base, np.float64)
