"""What lies on a tile when it is read: programmed cells, and the wires between them.

Units: a conductance is given in levels above g_min, an input digit in steps, so a column sum
is an integer number of units where nothing is off.

A linear array with wires is one matrix, its effective one (`circuits.effective`): what a row
adds to a column does not depend on the other rows' inputs. So wires, pairs and offsets are all
in `Cells.levels`, and a read is one matrix product, exact in any order (`grids`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import recovery
from tetrapla.simulators.analog.adc import Mismatch, mismatch
from tetrapla.simulators.analog.circuits.effective import effective
from tetrapla.simulators.analog.circuits.read_noise import variances
from tetrapla.simulators.analog.circuits.wires import Wires
from tetrapla.simulators.analog.devices.cells import state
from tetrapla.simulators.analog.devices.faults import Defects, Faults, defects
from tetrapla.simulators.analog.grids import gridded, gridded_variances
from tetrapla.simulators.analog.mapping import Columns, columns, targets
from tetrapla.simulators.analog.program import Product
from tetrapla.simulators.analog.recovery import Reference
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key


@dataclass(frozen=True)
class Cells:
    """A tile as its reads find it.

    Attributes:
        placed: f64 [rows, columns], conductances of the cells above g_min, in levels.
        read_sd: of a cell from read to read, in levels, [rows, columns]; None: silent reads.
        gain: what wires leave of a cell's change, [rows, columns]; None without wires.
        levels: [rows, conversions], what a step of a row adds to what converters see, in
            levels; of an array that is not linear, as if it had no wires.
        read_variance: [rows, conversions] of one read, in levels squared, for `grids.squares`
            of digits; None: silent reads.
        grid: what `levels` are multiples of.
        converters: how the array's converters differ; None where they do not.
        defects: what is broken, and the devices' factors; None where nothing can be.
        order: which of the tile's rows lies on every row of the array; None: each on its own.
        reference: the converters', which is in `levels` and `read_variance`; None for itself.

    Rows are those of the array: inputs are routed by `routed`.
    """

    placed: Array
    read_sd: Array | None
    gain: Array | None
    levels: Array
    read_variance: Array | None
    grid: float
    converters: Mismatch | None = None
    defects: Defects | None = None
    order: Array | None = None
    reference: Reference | None = None

    def routed(self, inputs: Array) -> Array:
        """Inputs [..., rows] of the tile as they drive the rows of the array."""
        return inputs if self.order is None else inputs[..., self.order]


def programmed(product: Product, number: int, spec: AnalogSpec, key: Key | None) -> Cells:
    """The cells of tile `number` as they are read; exactly the targets without a key."""
    tile = product.tiles[number]
    made = columns(product, tile, spec)
    goal = targets(product, tile, spec).astype(np.float64)
    place = product.number, product.first_tile + number
    address = None if key is None else key.at(layer=place[0], tile=place[1])
    broken = None if address is None else _broken(spec, address, goal.shape)
    order = reordered(goal, made, spec, broken)
    goal, bent = aimed(goal if order is None else goal[order], spec)
    placed, read_sd = goal, None
    if address is not None:
        placed, read_sd = _landed(goal, spec, address, broken, spec.device.time_s)
    through, gain = wired(placed, made, spec)
    alpha: Array | None = None
    if address is not None and spec.recovery.drift != "none":
        first = _landed(goal, spec, address, broken, None)[0]
        outs = (wired(first, made, spec)[0] + floor(made, spec), through + floor(made, spec))
        alpha = recovery.drifted(*outs, spec.recovery.drift)
    reference = recovery.reference(alpha, bent, floor(made, spec))
    seen = through if reference is None else reference.levels(through)
    levels, grid = gridded(seen, spec)
    variance: Array | None = None
    if read_sd is not None:
        heard = read_sd if gain is None else read_sd * gain
        spread = made.spread(heard * heard)
        if reference is not None:
            spread = spread * reference.scale**2
        variance = gridded_variances(spread, spec)
    table = mismatch(spec.adc, spec.converter.circuit, key, *place)
    return Cells(placed, read_sd, gain, levels, variance, grid, table, broken, order, reference)


def floor(made: Columns, spec: AnalogSpec) -> Array:
    """What g_min adds to what converters see of a row, in levels [conversions]."""
    least = spec.device.g_min_siemens / unit_siemens(spec)
    return made.seen(np.full(made.count, least))


def aimed(goal: Array, spec: AnalogSpec) -> tuple[Array, float]:
    """Levels [rows, columns] to program for a goal's, and the gain that they arrive with."""
    if spec.recovery.wires == "none" or not spec.wires.lossy:
        return goal, 1.0
    d = spec.device
    limits = d.g_min_siemens, d.g_max_siemens
    bent = recovery.bent_pairs if spec.array.interleaved else recovery.bent
    found, gain = bent(siemens(goal, spec), wires(spec), *limits)
    return (found - d.g_min_siemens) / unit_siemens(spec), gain


def reordered(
    goal: Array, made: Columns, spec: AnalogSpec, broken: Defects | None
) -> Array | None:
    """Which row of the goal lies on every row of an array with such defects."""
    if spec.recovery.rows == "none" or broken is None:
        return None

    def weights(levels: Array) -> Array:
        return made.totals(made.seen(levels) / made.lsb())

    least = spec.device.g_min_siemens / unit_siemens(spec)
    return recovery.order(goal, broken, spec.array.top_level, least, weights)


def unit_siemens(spec: AnalogSpec) -> float:
    """The conductance of one level."""
    d = spec.device
    return (d.g_max_siemens - d.g_min_siemens) / spec.array.top_level


def siemens(placed: Array, spec: AnalogSpec) -> Array:
    """Conductances of cells given in levels above g_min."""
    return np.asarray(placed * unit_siemens(spec) + spec.device.g_min_siemens)


def wires(spec: AnalogSpec) -> Wires:
    """The wires of the spec's arrays."""
    w = spec.wires
    return Wires(w.r_row_ohm, w.r_col_ohm, w.r_driver_ohm, w.r_sense_ohm)


def polarities(values: Array, made: Columns, spec: AnalogSpec) -> tuple[Array, Array | None]:
    """Cells of the columns' first word lines (or rails), and of the second ones if any."""
    if not spec.array.interleaved:
        return values, None
    half = made.count // 2
    return values[..., :half], values[..., half:]


def wired(placed: Array, made: Columns, spec: AnalogSpec) -> tuple[Array, Array | None]:
    """Levels [rows, conversions] that converters see, and what is left of a cell's changes.

    What the nominal g_min of every cell adds is taken away, as if there were no wires. What a
    cell's error does to an output is that of `read_noise.variances`, for inputs of random bits.
    """
    if not spec.wires.lossy or spec.array.gated or spec.curved:
        return made.seen(placed), None
    unit, floor = unit_siemens(spec), spec.device.g_min_siemens
    lines = wires(spec)
    plus, minus = polarities(siemens(placed, spec), made, spec)
    found = effective(plus, lines, minus)
    if minus is None:
        gain = np.sqrt(variances(plus, np.ones_like(plus), lines))
        return made.seen((found - floor) / unit), gain
    one, none = np.ones_like(plus), np.zeros_like(plus)
    each = [
        np.sqrt(variances(plus, up, lines, g_minus=minus, sigma_minus=down))
        for up, down in ((one, none), (none, one))
    ]
    return made.summed(found / unit), np.concatenate(each, axis=-1)


def faults(spec: AnalogSpec) -> Faults:
    """What is broken, on average, and how devices differ."""
    f = spec.faults
    return Faults(
        stuck_low_frac=f.stuck_low_frac,
        stuck_high_frac=f.stuck_high_frac,
        open_row_frac=f.open_rows_frac,
        open_column_frac=f.open_cols_frac,
        short_row_frac=f.shorted_rows_frac,
        short_column_frac=f.shorted_cols_frac,
        spread_frac=spec.device.spread_frac,
    )


def _broken(spec: AnalogSpec, key: Key, shape: tuple[int, ...]) -> Defects | None:
    found = faults(spec)
    return None if found.none else defects(found, key, *shape)


def _landed(
    goal: Array, spec: AnalogSpec, key: Key, broken: Defects | None, time_s: float | None
) -> tuple[Array, Array | None]:
    """Cells and the noise of their reads, in levels, at a time, with their defects."""
    d, unit = spec.device, unit_siemens(spec)
    held, variance = goal, np.zeros_like(goal)
    if d.noisy or not d.device.exact:
        aim = siemens(goal, spec)
        found = state(d.device, aim, d.g_max_siemens, time_s, key, frozen=d.frozen)
        held = found.held
        # noise of reads that the device has, and what the spec adds to it
        variance = (d.read_noise_frac * held) ** 2
        if found.read_sigma is not None:
            variance += found.read_sigma**2
        held_levels = (
            goal if d.device.exact and not d.frozen else (held - d.g_min_siemens) / unit
        )
    else:
        held_levels = goal
    if broken is None:
        sd = np.sqrt(variance) / unit if variance.any() else None
        return np.asarray(held_levels), sd
    found_g = broken.applied(siemens(held_levels, spec), d.g_min_siemens, d.g_max_siemens)
    sd = np.sqrt(broken.variance(np.sqrt(variance))) / unit if variance.any() else None
    return np.asarray((found_g - d.g_min_siemens) / unit), sd
