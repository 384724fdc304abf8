"""Converters: what codes they give, and how each differs from the others.

A converter of a chip has a gain and an offset of its own, which stay (`Mismatch`, a table with
an entry per converter), and steps of different sizes where its elements differ (`code_tables`).
An array's converters take turns over its columns: conversion c is done by converter
c % per_array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import noise
from tetrapla.simulators.analog.code_tables import codes, thresholds
from tetrapla.simulators.analog.converters import Circuit
from tetrapla.simulators.analog.sections import AdcSection
from tetrapla.simulators.random_ import Key


@dataclass(frozen=True)
class Mismatch:
    """Of every converter of an array, f64 [per_array].

    Attributes:
        gain: 1 where a converter is right.
        offset: in steps, 0 where it is right.
        thresholds: in steps above the lowest code, [per_array, 2^bits - 1] ascending; None
            where every step is one.
        lowest: the lowest code.
    """

    gain: Array
    offset: Array
    thresholds: Array | None = None
    lowest: int = 0

    def of(self, conversions: int) -> tuple[Array, Array]:
        """Gain and offset of every conversion of a read, [conversions]."""
        which = np.arange(conversions) % len(self.gain)
        return self.gain[which], self.offset[which]


def mismatch(
    adc: AdcSection, circuit: Circuit, key: Key | None, layer: int, tile: int
) -> Mismatch | None:
    """The converters of one array; None where all are right, or without a key."""
    if key is None or not adc.mismatched:
        return None
    address = key.at(layer=layer, tile=tile)
    drawn = noise.of_cells(address, noise.CONVERTER, (2, adc.per_array))
    table: Array | None = None
    if adc.tabled:
        table = thresholds(
            circuit,
            adc.bits,
            adc.per_array,
            address,
            unit_frac=adc.unit_frac,
            comparator_steps=adc.comparator_steps,
        )
    return Mismatch(
        1 + adc.gain_frac * drawn[0], adc.offset_steps * drawn[1], table, adc.lowest
    )


def convert(sums: Array, adc: AdcSection, lsb: Array | float) -> Array:
    """Codes of sums in units, clip(round_half_even(sum / lsb), lowest, highest)."""
    codes: Array = sums / np.asarray(lsb, sums.dtype)
    np.rint(codes, out=codes)
    return np.clip(codes, adc.lowest, adc.highest, out=codes)


def mismatched(sums: Array, lsb: Array, table: Mismatch) -> Array:
    """What converters take sums [n, conversions] for, so that `convert` gives their codes."""
    gain, offset = table.of(sums.shape[-1])
    seen = np.asarray(sums.astype(np.float64) * gain + offset * lsb)
    if table.thresholds is None:
        return seen
    return (codes(seen / lsb - table.lowest, table.thresholds) + table.lowest) * lsb
