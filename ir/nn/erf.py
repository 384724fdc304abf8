"""The error function on arrays, which NumPy lacks.

Around the nearest of 6145 known points, 1/512 apart, six terms of the Taylor series suffice for
float64: the seventh is ``2/sqrt(pi) H6(p) exp(-p*p) d**7 / 7!``, with the distance d at most
1/1024 and |H6(p) exp(-p*p)| at most H6(0) = 120 in size: 3e-23, and 2e-20 beside the smallest
erf that has a point of its own.
"""

from math import erf as erf_of_one
from math import pi, sqrt

import numpy as np

from tetrapla.ir.graph import Array

_STEPS = 512
_TERMS = 6
_LAST = 6  # erf(6) is 1 in float64
_POINTS = np.arange(-_LAST * _STEPS, _LAST * _STEPS + 1) / _STEPS
_VALUES = np.array([erf_of_one(point) for point in _POINTS])
_SLOPES = 2 / sqrt(pi) * np.exp(-_POINTS * _POINTS)
_AT_ONCE = 2**14  # elements whose intermediate arrays stay in a cache of 1 MiB, assumed


def erf(x: Array) -> Array:
    """``2/sqrt(pi)`` times the integral of ``exp(-t*t)`` from 0 to x, float64 to float64."""
    flat = x.reshape(-1)
    y = np.empty_like(flat)
    for start in range(0, flat.size, _AT_ONCE):
        y[start : start + _AT_ONCE] = _part(flat[start : start + _AT_ONCE])
    return y.reshape(x.shape)


def _part(x: Array) -> Array:
    inside = np.clip(x, -_LAST, _LAST)
    known = np.where(np.isnan(x), 0, inside)
    place = np.rint(known * _STEPS).astype(np.int64) + _LAST * _STEPS
    p = _POINTS[place]
    d = inside - p
    # the n-th derivative is 2/sqrt(pi) (-1)^(n-1) H_(n-1)(p) exp(-p*p), H_n Hermite's
    # polynomials: H_(n+1) = 2 p H_n - 2 n H_(n-1)
    before, hermite = np.ones_like(p), 2 * p
    series, power = d.copy(), d
    for n in range(1, _TERMS):
        power = power * d * (-1 / (n + 1))
        series += hermite * power
        before, hermite = hermite, 2 * (p * hermite - n * before)
    return np.asarray(_VALUES[place] + _SLOPES[place] * series)
