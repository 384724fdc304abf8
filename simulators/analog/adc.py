"""Converters: what codes they give, and how each differs from the others.

A converter of a chip has a gain and an offset of its own, which stay (`Mismatch`, a table with
an entry per converter). An array's converters take turns over its columns: conversion c is done
by converter c % per_array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import noise
from tetrapla.simulators.analog.sections import AdcSection
from tetrapla.simulators.random_ import Key


@dataclass(frozen=True)
class Mismatch:
    """Of every converter of an array, f64 [per_array].

    Attributes:
        gain: 1 where a converter is right.
        offset: in steps, 0 where it is right.
    """

    gain: Array
    offset: Array

    def of(self, conversions: int) -> tuple[Array, Array]:
        """Gain and offset of every conversion of a read, [conversions]."""
        which = np.arange(conversions) % len(self.gain)
        return self.gain[which], self.offset[which]


def mismatch(adc: AdcSection, key: Key | None, layer: int, tile: int) -> Mismatch | None:
    """The converters of one array; None where all are right, or without a key."""
    if key is None or not adc.mismatched:
        return None
    address = key.at(layer=layer, tile=tile)
    drawn = noise.of_cells(address, noise.CONVERTER, (2, adc.per_array))
    return Mismatch(1 + adc.gain_frac * drawn[0], adc.offset_steps * drawn[1])


def convert(sums: Array, adc: AdcSection, lsb: Array | float) -> Array:
    """Codes of sums in units, clip(round_half_even(sum / lsb), lowest, highest)."""
    codes: Array = sums / np.asarray(lsb, sums.dtype)
    np.rint(codes, out=codes)
    return np.clip(codes, adc.lowest, adc.highest, out=codes)


def mismatched(sums: Array, lsb: Array, table: Mismatch) -> Array:
    """What converters take sums [n, conversions] for, so that `convert` gives their codes."""
    gain, offset = table.of(sums.shape[-1])
    return np.asarray(sums.astype(np.float64) * gain + offset * lsb)
