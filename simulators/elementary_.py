"""exp and ln by + - x / alone, which IEEE 754 rounds alike: the same bits on every machine.

NumPy's own take what the processor and the C library offer.
"""

from __future__ import annotations

from math import factorial, log, sqrt
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Reals: TypeAlias = NDArray[np.float64]

_LN2: Final = log(2)
# its first 32 bits, so that a whole number times it is exact, and the rest
_LN2_HIGH: Final = float.fromhex("0x1.62e42feep-1")
_LN2_LOW: Final = float.fromhex("0x1.a39ef35793c76p-33")
_ARTANH: Final = tuple(1 / odd for odd in range(21, 0, -2))
_EXP: Final = tuple(1 / factorial(n) for n in range(13, -1, -1))
_FARTHEST: Final = 700.0  # beyond it exp is no normal float64


def ln(x: Reals) -> Reals:
    """The natural logarithm of positive numbers, within 1e-15 (1 + |ln x|)."""
    # ln(m 2^e) = e ln 2 + 2 artanh(s), s = (m - 1) / (m + 1), |s| <= 0.172: the first term
    # left out is 2 s^23 / 23 < 3e-19
    m, e = np.frexp(x)
    low = m < sqrt(0.5)
    m, e = np.where(low, 2 * m, m), np.where(low, e - 1, e)
    s = (m - 1) / (m + 1)
    result: Reals = e * _LN2 + 2 * s * horner(_ARTANH, s * s)
    return result


def ln_of(x: float) -> float:
    """The natural logarithm of one positive number, as `ln`."""
    return float(ln(np.asarray(x, np.float64)))


def exp(x: Reals) -> Reals:
    """e^x, within 1e-15 of itself; x is taken to be -700 below it and 700 above."""
    x = np.clip(x, -_FARTHEST, _FARTHEST)
    # e^(k ln 2 + r) = 2^k e^r, |r| <= 0.347: the first term left out is r^14 / 14! < 5e-18
    k = np.rint(x / _LN2)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    result: Reals = np.ldexp(horner(_EXP, r), k.astype(np.int32))
    return result


def horner(coefficients: tuple[float, ...], x: Reals) -> Reals:
    """A polynomial, the coefficient of the highest power first."""
    total: Reals = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    return total
