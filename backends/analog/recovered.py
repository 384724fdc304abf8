"""What recovery should have done to a tile, found again from the spec and the cells.

The goal that cells are programmed to, and the reference that their converters should have:
weights bent against wires, drift, and rows that moved (`simulators.analog.recovery`).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tetrapla.backends.analog import flicker, predict
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.cells import Cells
from tetrapla.simulators.analog.circuits.effective import effective
from tetrapla.simulators.analog.circuits.precompensation import (
    SHARE,
    precompensated,
    precompensated_pairs,
)
from tetrapla.simulators.analog.circuits.wires import Wires
from tetrapla.simulators.analog.devices.cells import draws
from tetrapla.simulators.analog.mapping import Columns, targets
from tetrapla.simulators.analog.program import Product, Tile
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key

_LEAST: Final = 1e-4  # levels that a read-out counts as at least
_ROUNDED: Final = 1e-9  # of a level: what float64 does to a conductance and back


def aimed(
    product: Product, tile: Tile, spec: AnalogSpec, order: Array | None
) -> tuple[Array, float]:
    """Levels [rows, columns] that cells are programmed to, and the gain they arrive with.

    Whole numbers, but where weights are bent back against wires (`recovery.wires`).
    """
    d, w = spec.device, spec.wires
    goal = targets(product, tile, spec).astype(np.float64)
    goal = goal if order is None else goal[order]
    if spec.recovery.wires == "none" or not w.lossy:
        return goal, 1.0
    lines = Wires(w.r_row_ohm, w.r_col_ohm, w.r_driver_ohm, w.r_sense_ohm)
    unit = (d.g_max_siemens - d.g_min_siemens) / spec.array.top_level
    g = goal * unit + d.g_min_siemens
    if not g.any():
        return goal, 1.0
    if spec.array.interleaved:
        half, g_min = g.shape[1] // 2, d.g_min_siemens
        both = g[:, :half], g[:, half:]
        *cells, gain = precompensated_pairs(*both, lines, d.g_max_siemens, g_min_siemens=g_min)
        return (np.concatenate(cells, axis=1) - g_min) / unit, gain
    gain = SHARE * float(effective(g, lines).sum() / g.sum())
    # currents of g_min are not divided by the gain
    g = g + d.g_min_siemens * (1 / gain - 1)
    low, high = d.g_min_siemens, d.g_max_siemens
    bent = precompensated(g, lines, high, g_min_siemens=low, gain=gain)
    return (bent.cells - low) / unit, gain


def reference(
    made: Columns, spec: AnalogSpec, cells: Cells, goal: Array, gain: float, address: Key
) -> tuple[Array, Array]:
    """What sums must be scaled by, and what a step of all inputs adds, by conversion."""
    d = spec.device
    least = d.g_min_siemens / (d.g_max_siemens - d.g_min_siemens) * spec.array.top_level
    floor = made.seen(np.full(made.count, least))
    alpha = np.ones(made.conversions)
    if spec.recovery.drift != "none":
        before = predict.through(made, spec, _at_first(spec, cells, goal, address)) + floor
        now = predict.through(made, spec, cells.placed) + floor
        axis = None if spec.recovery.drift == "global" else 0
        outs = [np.maximum(np.abs(y).mean(axis=axis), _LEAST) for y in (before, now)]
        alpha = alpha * (outs[0] / outs[1])
    return alpha / gain, (alpha - 1) * floor / gain


def _at_first(spec: AnalogSpec, cells: Cells, goal: Array, address: Key) -> Array:
    """Levels of the cells at the first time that their device is known at."""
    d = spec.device
    unit = (d.g_max_siemens - d.g_min_siemens) / spec.array.top_level
    aim = goal * unit + d.g_min_siemens
    held = d.device.held(aim, d.g_max_siemens, None, draws(d.device, address, aim.shape))
    held = held + flicker.shift(spec, aim, address, None)
    if cells.defects is not None:
        held = cells.defects.applied(held, d.g_min_siemens, d.g_max_siemens)
    return np.asarray((held - d.g_min_siemens) / unit)


def misrouted(held: Cells) -> int:
    """Rows of the tile that are on no row of the array."""
    if held.order is None:
        return 0
    return int(np.count_nonzero(np.sort(held.order) != np.arange(len(held.placed))))


def misreferenced(
    made: Columns, spec: AnalogSpec, held: Cells, goal: Array, gain: float, address: Key
) -> int:
    """Conversions whose reference does not make up for drift and the gain of bent weights."""
    wanted = reference(made, spec, held, goal, gain, address)
    own = held.reference
    none = np.ones(made.conversions), np.zeros(made.conversions)
    found = none if own is None else (own.scale, own.shift)
    return sum(
        int(np.count_nonzero(np.abs(a - b) > _ROUNDED * (1 + np.abs(b))))
        for a, b in zip(found, wanted, strict=True)
    )
