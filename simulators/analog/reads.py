"""One read of a tile: rows driven by a digit, and what its converters see.

A linear array is one product with `Cells.levels` (tier T1). Where a cell's current depends on
the other inputs, every vector is solved on its own: gated arrays with wires as ladders (T2),
cells that are not linear by Newton's method (T3). A gated array's row is on or off, so a digit
d drives it for d of the digit's time slots.

Noise of reads. A sum of independent normal cells is normal itself, exactly, y ~ N(G x,
(sigma o sigma)(x o x)), so one normal per conversion stands for one per cell. `device.reads:
sampled` draws every cell's instead, to hold the closed form against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import noise
from tetrapla.simulators.analog.cells import (
    Cells,
    polarities,
    siemens,
    unit_siemens,
    wires,
)
from tetrapla.simulators.analog.circuits.cells import Cell, Linear, Milo, Polynomial, Sinh
from tetrapla.simulators.analog.circuits.ladder import gated
from tetrapla.simulators.analog.circuits.newton import nonlinear, nonlinear_gated
from tetrapla.simulators.analog.grids import squares
from tetrapla.simulators.analog.mapping import Columns
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key

_SOLVED: Final = 2.0**20  # a solved sum is rounded to this part of a unit: far above its errors


@dataclass(frozen=True)
class Reads:
    """The address of a block's reads; in an invocation: by digit, place, column.

    Attributes:
        layer, tile: whose arrays.
        invocations: of the block, counted from the run's first.
        places: positions of the block in an invocation.
        positions: of an invocation.
        before: reads of the arrays before, for other products.
    """

    key: Key
    layer: int
    tile: int
    invocations: range
    places: range
    positions: int
    before: int

    def normals(self, digit: int, each: int) -> Array:
        """Of one digit, `each` for a read: [invocations x places, each]."""
        start = (self.before + digit * self.positions + self.places.start) * each
        count = len(self.places) * each
        drawn: Array = noise.reading(
            self.key, self.layer, self.tile, self.invocations, start, count
        )
        return drawn.reshape(-1, each)


def read(
    cells: Cells, made: Columns, spec: AnalogSpec, driven: Array, digit: int, reads: Reads
) -> Array:
    """Sums in units, [vectors, conversions], of rows driven by digits [vectors, rows]."""
    if not linear(spec):
        if cells.read_sd is None:
            return solved(cells, made, spec, driven)
        return _solved(cells, made, spec, driven, reads.normals(digit, made.conversions))
    inputs = driven.astype(cells.levels.dtype, copy=False)
    sums: Array = inputs @ cells.levels
    if cells.read_variance is None:
        return sums
    if spec.device.reads == "sampled":
        return sums + _sampled(cells, made, driven, reads.normals(digit, cells.placed.size))
    spread = np.sqrt(variances(cells, spec, driven))
    return np.asarray(sums + spread * reads.normals(digit, made.conversions))


def variances(cells: Cells, spec: AnalogSpec, driven: Array, *, fast: bool = False) -> Array:
    """Of sums of a read [vectors, conversions], float32, in units squared."""
    assert cells.read_variance is not None
    parts, unit = squares(driven, spec, fast=fast)
    found: Array = parts @ cells.read_variance
    if unit is not None:
        found *= unit
    return found


def linear(spec: AnalogSpec) -> bool:
    """Whether an array is one matrix, whatever its inputs."""
    return not spec.curved and not (spec.array.gated and spec.wires.lossy)


def solved(cells: Cells, made: Columns, spec: AnalogSpec, driven: Array) -> Array:
    """Sums [vectors, conversions] in units, without noise, each vector solved on its own.

    A unit is the current of one level, above g_min, under one step of a digit: calibrated at
    the full swing, where all cells of a law that scales with g have the same gain.
    """
    plus, minus = polarities(siemens(cells.placed, spec), made, spec)
    inputs = driven.astype(np.float64)
    if spec.curved:
        lines, floor = _curved(plus, minus, spec, inputs)
    else:
        lines = np.zeros((len(inputs), plus.shape[-1]))
        for slot in range(int(inputs.max(initial=0))):
            lines += gated(plus, inputs > slot, 1.0, wires(spec), minus).currents
        lines /= unit_siemens(spec)
        floor = inputs.sum(axis=-1) * (spec.device.g_min_siemens / unit_siemens(spec))
    sums = made.summed(lines) if spec.array.interleaved else made.seen(lines - floor[:, None])
    if cells.reference is not None:
        sums = cells.reference.sums(sums, inputs)
    return np.asarray(np.rint(sums * _SOLVED) / _SOLVED)


def law(spec: AnalogSpec) -> Cell:
    """The current of a cell at a voltage."""
    d = spec.device
    match d.iv:
        case "linear":
            return Linear()
        case "sinh":
            return Sinh(d.sinh_per_v)
        case "polynomial":
            return Polynomial(d.quadratic_per_v, d.cubic_per_v2)
        case "milo":
            return Milo()


def _curved(
    plus: Array, minus: Array | None, spec: AnalogSpec, inputs: Array
) -> tuple[Array, Array]:
    """Sums of bit lines [vectors, lines], and what the nominal g_min adds to each, in units."""
    d, of, lines = spec.device, law(spec), wires(spec)
    top, low, full = (np.array(x) for x in (d.g_max_siemens, d.g_min_siemens, spec.drive_v))
    gain = float(of.currents(top, full) / (top * full))
    if spec.array.gated:
        # a cell has the full voltage in every slot that it is selected in
        found = np.zeros((len(inputs), plus.shape[-1]))
        for slot in range(int(inputs.max(initial=0))):
            on = inputs > slot
            found += nonlinear_gated(plus, on, spec.drive_v, lines, of, minus).currents
        unit_a = unit_siemens(spec) * spec.drive_v * gain
        return found / unit_a, inputs.sum(axis=-1) * float(of.currents(low, full)) / unit_a
    volts = inputs * (spec.drive_v / ((1 << spec.dac.bits) - 1))
    unit_a = unit_siemens(spec) * spec.drive_v / ((1 << spec.dac.bits) - 1) * gain
    found = nonlinear(plus, volts, lines, of, minus).currents
    return found / unit_a, of.currents(low, volts).sum(axis=-1) / unit_a


def _solved(
    cells: Cells, made: Columns, spec: AnalogSpec, driven: Array, normals: Array
) -> Array:
    assert cells.read_sd is not None
    sums, inputs = solved(cells, made, spec, driven), driven.astype(np.float64)
    spread = made.spread(inputs**2 @ cells.read_sd**2)
    spread = np.sqrt(spread) * attenuation(cells, made, inputs, sums)
    if cells.reference is not None:
        spread *= cells.reference.scale
    sums = sums + spread * normals
    return np.asarray(np.rint(sums * _SOLVED) / _SOLVED)


def attenuation(cells: Cells, made: Columns, inputs: Array, sums: Array) -> Array:
    """What wires leave of sums [vectors, conversions], from 0 to 1; of their noise too.

    Assumed: every cell of a column loses alike, so noise loses what the column's signal does.
    """
    ideal = inputs @ made.seen(cells.placed)
    if cells.reference is not None:
        ideal = cells.reference.sums(ideal, inputs)
    share = np.divide(sums, ideal, out=np.ones_like(sums), where=np.abs(ideal) > 1.0)
    return np.asarray(np.clip(share, 0.0, 1.0))


def _sampled(cells: Cells, made: Columns, driven: Array, normals: Array) -> Array:
    """Sums of what every cell adds or lacks in this read, [vectors, conversions]."""
    assert cells.read_sd is not None
    spread = cells.read_sd if cells.gain is None else cells.read_sd * cells.gain
    errors = spread * normals.reshape(-1, *spread.shape)
    # on the grid, sums are exact in any order
    errors = np.rint(errors / cells.grid) * cells.grid
    sums = made.seen(np.einsum("vr,vrc->vc", driven.astype(np.float64), errors))
    return sums if cells.reference is None else sums * cells.reference.scale
