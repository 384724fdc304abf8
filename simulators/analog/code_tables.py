"""Where a converter changes its code, by the elements that its circuit is made of.

A threshold t_c, in steps, is where code c - 1 ends and c begins; those of a right converter are
c - 1/2. Elements (capacitors, resistors, current sources) of n units have the value n and the
standard deviation sigma sqrt(n) of a unit's sigma, since equal, independent errors add up
(M. Pelgrom, A. Duinmaijer, A. Welbers, IEEE JSSC 24, 1989, for the area of a unit). With N =
2^bits, and full scale kept, in steps:

* ``sar``: a capacitor of 2^k units for each bit, and a unit more. Code c is compared at
  D(c) = N sum_k c_k C_k / sum C, from the highest bit down; a comparison that an earlier one
  has decided is never made, so codes may be missing, but never come in another order.
* ``ramp``: N units one after the other, D(c) = N sum_{i < c} u_i / sum u; one ramp for all
  converters of an array (assumed).
* ``flash``: a string of N units for each converter, and a comparator with an offset of its own
  at each tap; the code is how many comparators say yes, whichever they are.

From these: the middle threshold is off by sigma sqrt(N) / 2, with either kind of elements; the
step below it by sigma sqrt(N - 1) with capacitors for bits, by sigma with equal units.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import noise
from tetrapla.simulators.analog.converters import Circuit
from tetrapla.simulators.random_ import Key

MOST_BITS: Final = 14  # of a table, assumed enough: a converter has one of its own


def thresholds(
    circuit: Circuit,
    bits: int,
    converters: int,
    key: Key,
    *,
    unit_frac: float,
    comparator_steps: float,
) -> Array:
    """Of an array's converters, in steps above the lowest code, f64 [converters, 2^bits - 1].

    Args:
        circuit: of all of them.
        bits: at most `MOST_BITS`.
        converters: how many.
        key: with layer and tile of the array.
        unit_frac: standard deviation of a unit element over its value.
        comparator_steps: of a flash converter's comparators.
    """
    if circuit == "sar":
        shape = (converters, bits + 1)
        return searched(_capacitors(noise.of_cells(key, noise.UNIT, shape), unit_frac))
    many = 1 if circuit == "ramp" else converters
    units = 1 + unit_frac * noise.of_cells(key, noise.UNIT, (many, 1 << bits))
    found = unary(np.maximum(units, 0.0))
    if circuit == "ramp":
        return np.repeat(found, converters, axis=0)
    offsets = noise.of_cells(key, noise.COMPARATOR, (converters, (1 << bits) - 1))
    return np.sort(found + comparator_steps * offsets, axis=1)


def _capacitors(drawn: Array, unit_frac: float) -> Array:
    """Of normals [converters, bits + 1]: one unit more, then 2^k units for bit k."""
    units = 2.0 ** np.maximum(np.arange(drawn.shape[1]) - 1, 0)
    return np.maximum(units + unit_frac * np.sqrt(units) * drawn, 0.0)


def searched(capacitors: Array) -> Array:
    """Thresholds of successive approximation, [converters, 2^bits - 1].

    Args:
        capacitors: [converters, bits + 1], the one that no bit switches first, then by bit.
    """
    bits = capacitors.shape[1] - 1
    codes = np.arange(1 << bits)
    switched = (codes[:, None] >> np.arange(bits) & 1).astype(np.float64)
    whole = capacitors.sum(axis=1, keepdims=True)
    at = capacitors[:, 1:] @ switched.T * (len(codes) / whole) - 0.5
    # what comparisons before have left of the range, from the highest bit down
    found = np.empty((len(at), len(codes) + 1))
    found[:, 0], found[:, -1] = -np.inf, np.inf
    for bit in reversed(range(bits)):
        step = 1 << bit
        tried = np.arange(step, len(codes), 2 * step)
        low, high = found[:, tried - step], found[:, tried + step]
        found[:, tried] = np.clip(at[:, tried], low, high)
    return found[:, 1:-1]


def unary(units: Array) -> Array:
    """Thresholds of units [converters, 2^bits] one after the other."""
    total = np.cumsum(units, axis=1)
    return np.asarray(total[:, :-1] / total[:, -1:] * units.shape[1] - 0.5)


def codes(values: Array, table: Array) -> Array:
    """Codes above the lowest of values [n, conversions] in steps above it, f64.

    Converters take turns over the conversions: `table` is [converters, 2^bits - 1].
    """
    found = np.empty(values.shape)
    many = len(table)
    for number, own in enumerate(table):
        found[:, number::many] = np.searchsorted(own, values[:, number::many], side="right")
    return found
