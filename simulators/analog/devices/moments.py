"""Moments of clipped normals, of their products, and expectations by quadrature.

For Y = clip(N(m, s^2), low, high) with a = (low - m) / s, b = (high - m) / s the deviation is
Y - m = s W, W = clip(n, a, b), n standard normal. With Ik = int_a^b n^k phi(n) dn,

    E[W^k] = a^k Phi(a) + Ik + b^k Phi(-b),   I0 = Phi(b) - Phi(a),  I1 = phi(a) - phi(b),
    Ik = a^(k-1) phi(a) - b^(k-1) phi(b) + (k - 1) I(k-2)

and nothing cancels where clipping is rare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb, erfc, factorial, inf, pi, sqrt
from typing import Final

import numpy as np

from tetrapla.ir.graph import Array

_erfc = np.vectorize(erfc, otypes=[np.float64])
_END: Final = 9.0  # standard deviations: 1e-19 of a normal lies beyond
_PANELS: Final = 96
_NODES: Final = 16


@dataclass(frozen=True)
class Moments:
    """Of conductances, arrays of one shape.

    Attributes:
        mean, variance: of what is held.
        fourth: the fourth central moment.
        tail: s such that P(|g - mean| >= x) <= 2 exp(-x^2 / (2 s^2)).
    """

    mean: Array
    variance: Array
    fourth: Array
    tail: Array


def clipped_normal(mean: Array, sd: Array) -> tuple[Array, Array]:
    """Mean and variance of max(0, N(mean, sd^2))."""
    found = censored_moments(np.asarray(mean, np.float64), np.asarray(sd, np.float64))
    return found.mean, found.variance


def censored_moments(
    mean: Array, sd: Array, low: Array | float = 0.0, high: Array | float = inf
) -> Moments:
    """Of clip(N(mean, sd^2), low, high).

    The tail is the normal's: clipping moves no two values apart, and a function of normals
    that does not has a normal's tail (Boucheron, Lugosi and Massart, theorem 5.6).
    """
    centre = np.clip(mean, low, high)
    about = censored_about(mean, sd, centre, low, high)
    first, second, third, fourth = about
    # central moments from those about a point near the mean
    variance = np.maximum(second - first**2, 0.0)
    central = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
    return Moments(centre + first, variance, np.maximum(central, 0), sd)


def censored_about(
    mean: Array, sd: Array, centre: Array, low: Array | float = 0.0, high: Array | float = inf
) -> tuple[Array, Array, Array, Array]:
    """E[(Y - centre)^k], k = 1..4, of Y = clip(N(mean, sd^2), low, high)."""
    certain = sd == 0
    s = np.where(certain, 1.0, sd)
    a, b = ((np.clip((end - mean) / s, -1e6, 1e6)) for end in (low, high))
    phi_a, phi_b = (np.exp(-x * x / 2) / sqrt(2 * pi) for x in (a, b))
    below, above = upper(-a), upper(b)
    parts = [1 - below - above, phi_a - phi_b]
    for k in (2, 3, 4):
        ends = a ** (k - 1) * phi_a - b ** (k - 1) * phi_b
        parts.append(ends + (k - 1) * parts[k - 2])
    w = [np.ones_like(s)] + [
        s**k * (a**k * below + parts[k] + b**k * above) for k in (1, 2, 3, 4)
    ]
    shift = mean - centre
    found = [
        sum(comb(k, j) * shift ** (k - j) * w[j] for j in range(k + 1)) for k in (1, 2, 3, 4)
    ]
    fixed = np.clip(mean, low, high) - centre
    first, second, third, fourth = (
        np.asarray(np.where(certain, fixed ** (k + 1), found[k])) for k in range(4)
    )
    return first, second, third, fourth


def upper(x: Array) -> Array:
    """P(n >= x) of a standard normal."""
    return np.asarray(_erfc(np.asarray(x) / sqrt(2)) / 2)


def expectation(function: Callable[[Array], Array], start: Array) -> Array:
    """E[f(n); n > start], n standard normal, by Gauss and Legendre on equal panels.

    Args:
        function: of nodes [nodes, ...start's shape] to values [nodes, ...].
        start: where f begins, e.g. where it stops being clipped.
    """
    start = np.clip(start, -_END, _END)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    places = ((np.arange(_PANELS)[:, None] + (nodes + 1) / 2) / _PANELS).ravel()
    each = np.tile(weights / 2 / _PANELS, _PANELS)
    shape = (-1, *([1] * np.ndim(start)))
    n = start + places.reshape(shape) * (_END - start)
    density = np.exp(-n * n / 2) / sqrt(2 * pi) * each.reshape(shape) * (_END - start)
    return np.asarray((function(n) * density).sum(axis=0))


def product_moments(a: tuple[Array, ...], d: tuple[Array, ...], tail: Array) -> Moments:
    """Of A D, independent; each given by its mean and central moments 2, 3 and 4."""
    mean_a, mean_d = a[0], d[0]
    one, none = np.ones_like(mean_a), np.zeros_like(mean_a)
    of_a, of_d = (one, none, *a[1:]), (one, none, *d[1:])

    def central(power: int) -> Array:
        # A D - E = mean_a delta + mean_d alpha + alpha delta
        total = none
        for i in range(power + 1):
            for j in range(power + 1 - i):
                k = power - i - j
                ways = factorial(power) / (factorial(i) * factorial(j) * factorial(k))
                total = total + ways * mean_a**i * mean_d**j * of_d[i + k] * of_a[j + k]
        return total

    return Moments(mean_a * mean_d, np.maximum(central(2), 0), np.maximum(central(4), 0), tail)
