"""Floats of eight bits and fewer: rounding float32 onto their grids.

Sources: OCP 8-bit Floating Point Specification 1.0 (2023) for the eight-bit formats, OCP
Microscaling Formats (MX) Specification 1.0 (2023), section 5.3, for the others and for E8M0.
"""

from typing import Any, NamedTuple

import numpy as np

from tetrapla.ir.graph import DTYPES, Array


class Format(NamedTuple):
    """A small float: exponents of its largest and least normal binade, fraction bits, maximum.

    A format `with_nan` has a code for NaN; one without turns NaN to zero.
    """

    e_max: int
    e_min: int
    fraction_bits: int
    largest: float
    with_nan: bool


FORMATS = {
    "f8E4M3FN": Format(8, -6, 3, 448.0, True),
    "f8E5M2": Format(15, -14, 2, 57344.0, True),
    "f6E2M3FN": Format(2, 0, 3, 7.5, False),
    "f6E3M2FN": Format(4, -2, 2, 28.0, False),
    "f4E2M1FN": Format(2, 0, 1, 6.0, False),
}
E8M0 = "f8E8M0FNU"  # powers of two from 2^-127 to 2^127, and NaN
E8M0_RANGE = (-127, 127)


def to_small(x: Array, dtype: str) -> Array:
    """Floats as a small float: nearest, ties to even, saturating (infinities too).

    NaN stays NaN where the format has one and becomes zero where it has none. The sign of a
    zero is kept.
    """
    form = FORMATS[dtype]
    wide = x.astype(np.float64)  # steps and quotients below are exact in float64
    with np.errstate(invalid="ignore"):
        exponent = np.maximum(np.frexp(wide)[1] - 1, form.e_min)
        step = np.ldexp(1.0, exponent - form.fraction_bits)
        nearest = np.clip(np.rint(wide / step) * step, -form.largest, form.largest)
        if not form.with_nan:
            nearest = np.where(np.isnan(nearest), 0.0, nearest)
        return np.asarray(nearest).astype(_held(dtype))


def to_exponent(exponent: Array, is_nan: Array) -> Array:
    """Powers of two as E8M0, saturated to its range, NaN where told."""
    low, high = E8M0_RANGE
    power = np.ldexp(1.0, np.clip(exponent, low, high))
    return np.where(is_nan, np.nan, power).astype(_held(E8M0))


def _held(dtype: str) -> np.dtype[Any]:
    return DTYPES[dtype]
