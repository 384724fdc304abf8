"""What is broken of the arrays, held against the shares that the spec gives.

Cells and lines that are broken are known, as a test of the chip would find them: a stuck cell
is at its end and an open line conducts nothing, exactly; how many there are is binomial.
Factors of devices are normal about 1, and so are gains of converters, their offsets about 0.
Cells that work show their device once their factor is taken out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.cells import Cells
from tetrapla.simulators.analog.spec import AnalogSpec

_RARE = 0.2
_ROUNDED = 1e-9  # of a level: what float64 does to a conductance and back


def working(held: Cells) -> Array:
    """Cells that nothing but their device acts on, bool [rows, columns]."""
    found = held.defects
    if found is None:
        return np.ones(held.placed.shape, np.bool_)
    rows = ~found.open_rows & _lone(found.row_group)
    columns = ~found.open_columns & _lone(found.column_group)
    alone = (found.stuck == 0) & rows[:, None] & columns[None, :]
    # a factor that was cut off at 0 leaves nothing of its cell to see
    return np.asarray(alone if found.factor is None else alone & (found.factor > 0))


def landed(spec: AnalogSpec, held: Cells) -> Array:
    """Levels of working cells without their devices' factors, [rows, columns]."""
    if held.defects is None or held.defects.factor is None:
        return held.placed
    d = spec.device
    floor = d.g_min_siemens / (d.g_max_siemens - d.g_min_siemens) * spec.array.top_level
    factor = held.defects.factor
    whole = held.placed + floor
    return np.divide(whole, factor, out=np.zeros_like(whole), where=factor > 0) - floor


def mismatches(spec: AnalogSpec, held: Cells) -> int:
    """Broken cells that are not where they must be."""
    found = held.defects
    if found is None:
        return 0
    d = spec.device
    floor = d.g_min_siemens / (d.g_max_siemens - d.g_min_siemens) * spec.array.top_level
    dead = found.open_rows[:, None] | found.open_columns[None, :]
    lone = _lone(found.row_group)[:, None] & _lone(found.column_group)[None, :]
    stuck = (found.stuck != 0) & ~dead & lone
    ends = np.where(found.stuck > 0, spec.array.top_level, 0)
    wrong = (dead & lone & (np.abs(held.placed + floor) > _ROUNDED)) | (
        stuck & (np.abs(held.placed - ends) > _ROUNDED)
    )
    return int(np.count_nonzero(wrong))


def shares(spec: AnalogSpec, cells: Sequence[Cells]) -> list[tuple[float, float, float]]:
    """Sums of independent terms of mean 0: the sum, its variance, and its tail's scale."""
    f = spec.faults
    found = [held.defects for held in cells if held.defects is not None]
    if not found:
        return []
    stuck = np.concatenate([one.stuck.ravel() for one in found])
    touching = [_touches(one.row_group) for one in found]
    crossing = [_touches(one.column_group) for one in found]
    tests = [
        (f.stuck_low_frac, stuck < 0),
        (f.stuck_high_frac, stuck > 0),
        (f.open_rows_frac, np.concatenate([one.open_rows for one in found])),
        (f.open_cols_frac, np.concatenate([one.open_columns for one in found])),
        (f.shorted_rows_frac, np.concatenate(touching)),
        (f.shorted_cols_frac, np.concatenate(crossing)),
    ]
    # a term is 1 - p or -p: bounded by 1, so sub-gamma with the scale 1/3
    sums = [
        (float(which.sum() - p * which.size), p * (1 - p) * which.size, 1 / 3)
        for p, which in tests
        if which.size
    ]
    return sums + _factors(spec, cells)


def converters(spec: AnalogSpec, cells: Sequence[Cells]) -> list[tuple[float, float, float]]:
    """Like `shares`, of the gains and offsets of every array's converters."""
    tables = [held.converters for held in cells if held.converters is not None]
    if not tables:
        return []
    gains = np.concatenate([table.gain for table in tables]) - 1
    offsets = np.concatenate([table.offset for table in tables])
    given = ((gains, spec.adc.gain_frac), (offsets, spec.adc.offset_steps))
    return [test for drawn, sd in given for test in _normal(drawn, sd)]


def _normal(drawn: Array, sd: float) -> list[tuple[float, float, float]]:
    """Mean and spread of what must be normal about 0."""
    if not sd:
        return [(float(np.abs(drawn).sum()), 0.0, 0.0)]
    z, n = drawn / sd, float(len(drawn))
    return [(float(z.sum()), n, 0.0), (float((z * z - 1).sum()), 2 * n, 2.0)]


def _factors(spec: AnalogSpec, cells: Sequence[Cells]) -> list[tuple[float, float, float]]:
    s = spec.device.spread_frac
    drawn = [
        held.defects.factor.ravel()
        for held in cells
        if held.defects is not None and held.defects.factor is not None
    ]
    if not drawn or not s:
        return []
    # factors below 0 were set to 0: with a spread of a fifth or less there are none (5 sd)
    every = np.concatenate(drawn)
    return _normal(every - 1, s) if s <= _RARE else []


def _lone(group: Array) -> Array:
    """Lines that touch no other."""
    alone: Array = np.bincount(group, minlength=len(group))[group] == 1
    return alone


def _touches(group: Array) -> Array:
    """Lines that touch the next one; the last has none and is left out."""
    touching: Array = group[1:] == group[:-1]
    return touching
