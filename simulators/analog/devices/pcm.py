"""Phase-change memory: noisy programming, drift as a power of time, 1/f noise.

g_p = max(0, g + sigma(r) n),  g_d = g_p ((t + t0) / t0)^-nu,  nu = |mu(r) + s(r) n'|,
g_f = max(0, g_d (1 + Q(g_p / g_max) sqrt(ln((t + t0 + t_r) / (2 t_r))) n''),

with r = g / g_max of the target, t seconds after programming, t0 the first reading that the fit
knows and t_r how long a read takes. nu and Q are of each device, so both of a pair are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import ClassVar, Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.devices.device import Draws, Fit
from tetrapla.simulators.analog.devices.moments import (
    Moments,
    censored_about,
    expectation,
    product_moments,
    upper,
)
from tetrapla.simulators.analog.devices.polynomial import Polynomial, polynomial
from tetrapla.simulators.elementary_ import exp, ln, ln_of

_LEAST: Final = 1e-7  # of g / g_max, below which the fits are constant
_MOST_SD: Final = 6.4  # standard deviations: no counter gives a normal beyond 6.34


@dataclass(frozen=True)
class Logarithm:
    """clip(slope ln r + offset, low, high) for r below `until`, then a polynomial of r."""

    slope: float
    offset: float
    low: float
    high: float
    until: float = inf
    beyond: tuple[float, ...] = ()

    def __call__(self, r: Array) -> Array:
        near = np.clip(
            self.slope * ln(np.maximum(r, _LEAST)) + self.offset, self.low, self.high
        )
        return np.asarray(np.where(r < self.until, near, polynomial(self.beyond, r)))


def _inverse_power(r: Array) -> Array:
    """min(0.0088 / max(r^0.65, 1e-3), 0.2)."""
    power = exp(0.65 * ln(np.maximum(r, _LEAST)))
    return np.asarray(np.minimum(0.0088 / np.maximum(power, 1e-3), 0.2))


@dataclass(frozen=True, kw_only=True)
class Pcm(Polynomial):
    """A PCM device.

    Attributes:
        first_read_s, read_s: t0 and t_r.
        exponent_mean, exponent_sd: mu and s, of r.
        flicker: Q, of g_p / g_max.
    """

    first_read_s: float
    read_s: float
    exponent_mean: Fit
    exponent_sd: Fit
    flicker: Fit

    moves: ClassVar[bool] = True
    flickers: ClassVar[bool] = True

    @property
    def silent(self) -> bool:
        return not self.read

    def exponent_moments(self, target: Array, g_max_siemens: float) -> tuple[Array, Array]:
        """Mean and standard deviation of the drift exponent nu = |N(mu, s^2)|."""
        mu, s = self._exponent(target, g_max_siemens)
        fold = mu / s
        mean = s * sqrt(2 / np.pi) * np.exp(-fold * fold / 2) + mu * (1 - 2 * upper(fold))
        return self.drift * mean, self.drift * np.sqrt(mu * mu + s * s - mean * mean)

    def held(
        self, target: Array, g_max_siemens: float, t_s: float | None, draws: Draws
    ) -> Array:
        seconds = self.seconds(t_s)
        programmed = self.programmed(target, g_max_siemens, draws.programming)
        if not seconds or not self.drifts:
            return programmed
        mu, s = self._exponent(target, g_max_siemens)
        return np.asarray(
            programmed * exp(-self._decades(seconds) * np.abs(mu + s * draws.drift))
        )

    def read_sigma(
        self, programmed: Array, held: Array, g_max_siemens: float, t_s: float | None
    ) -> Array:
        return np.asarray(held * self._relative(programmed / g_max_siemens, self.seconds(t_s)))

    def central_moments(
        self, target: Array, g_max_siemens: float, t_s: float | None = None
    ) -> Moments:
        seconds = self.seconds(t_s)
        landed = Polynomial.central_moments(self, target, g_max_siemens)
        if not seconds or not self.drifts:
            return landed
        sigma = self.sigma(target, g_max_siemens)
        mean, second, third, fourth = censored_about(target, sigma, landed.mean)
        cells = landed.mean, landed.variance, third, landed.fourth
        del mean, second, fourth
        mu, s = self._exponent(target, g_max_siemens)
        rate = self._decades(seconds)
        left = self._left(target, g_max_siemens, rate)
        factor = left, *(_spread(mu, s, rate, left, k) for k in (2, 3, 4))
        # no two draws apart by x move g_p D by more: D <= 1 and |dD/dn| <= rate s
        reach = (target + _MOST_SD * sigma) * rate * s
        return product_moments(cells, factor, np.sqrt(sigma**2 + reach**2))

    def read_moments(
        self, target: Array, g_max_siemens: float, t_s: float | None = None
    ) -> tuple[Array, Array]:
        """Mean and variance of one read at t_s, its noise and its clipping included."""
        seconds = self.seconds(t_s)
        target = np.asarray(target, np.float64)
        sigma = self.sigma(target, g_max_siemens)
        rate = self._decades(seconds) if self.drifts else 0.0
        found: list[Array] = []
        for power in (1, 2):

            def read(g: Array, power: int = power) -> Array:
                noise = self._relative(g / g_max_siemens, seconds)
                # E[max(0, N(1, noise^2))^k] is that about 0
                return (
                    g**power
                    * censored_about(np.ones_like(noise), noise, np.zeros_like(noise))[
                        power - 1
                    ]
                )

            start = np.where(sigma > 0, -target / np.where(sigma > 0, sigma, 1.0), 0.0)
            noisy = expectation(lambda n: read(np.maximum(target + sigma * n, 0.0)), start)
            cells = np.where(sigma > 0, noisy, read(target))
            found.append(cells * self._left(target, g_max_siemens, power * rate))
        return found[0], np.maximum(found[1] - found[0] ** 2, 0.0)

    def _exponent(self, target: Array, g_max_siemens: float) -> tuple[Array, Array]:
        r = np.asarray(target / g_max_siemens)
        return self.exponent_mean(r), self.exponent_sd(r)

    def _decades(self, seconds: float) -> float:
        """ln((t + t0) / t0), times the factor of drift."""
        return self.drift * ln_of((seconds + self.first_read_s) / self.first_read_s)

    def _relative(self, r: Array, seconds: float) -> Array:
        """Noise of a read over the conductance."""
        grown = (seconds + self.first_read_s + self.read_s) / (2 * self.read_s)
        return np.asarray(self.read * sqrt(max(ln_of(grown), 0.0)) * self.flicker(r))

    def _left(self, target: Array, g_max_siemens: float, rate: float) -> Array:
        """E[exp(-rate |N(mu, s^2)|)]."""
        mu, s = self._exponent(target, g_max_siemens)
        rest = rate * s
        grown = np.exp(rest * rest / 2)
        near = np.exp(-rate * mu) * upper(rest - mu / s)
        far = np.exp(rate * mu) * upper(rest + mu / s)
        return np.asarray(grown * (near + far))


def _spread(mu: Array, s: Array, rate: float, mean: Array, power: int) -> Array:
    """E[(exp(-rate |mu + s n|) - mean)^power], split where the exponent folds."""

    def value(n: Array) -> Array:
        return np.asarray((np.exp(-rate * np.abs(mu + s * n)) - mean) ** power)

    return expectation(value, -mu / s) + expectation(lambda n: value(-n), mu / s)


PCM_LIKE: Final = Pcm(
    name="pcm_like",
    coefficients=(0.26348, 1.9650, -1.1731),
    reference_usiemens=25.0,
    first_read_s=20.0,
    read_s=250e-9,
    exponent_mean=Logarithm(-0.0155, 0.0244, 0.049, 0.1),
    exponent_sd=Logarithm(-0.0125, -0.0059, 0.008, 0.045),
    flicker=_inverse_power,
    source="PCM of S. R. Nandakumar et al., ICECS 2019, t0 = 20 s; aihwkit's PCMLikeNoiseModel",
)
HERMES_1 = Pcm(
    name="hermes_1",
    coefficients=(0.15781817, 2.32443916, -2.16310839, 0.68841818),
    reference_usiemens=10.35,
    highest_usiemens=10.35,
    first_read_s=200.0,
    read_s=512e-9,
    exponent_mean=Logarithm(-0.0387, -0.0182, 0.0720, 0.13, 0.0945, (0.0736, -0.0126, -0.0436)),
    exponent_sd=Logarithm(-0.0120, -0.0023, 0.0124, 0.04, 0.3039, (0.0104, 0.0116, -0.0165)),
    flicker=Logarithm(-0.0078, 0.0038, 0.0179, 0.04, 0.1591, (0.0088, 0.0768, -0.1352, 0.0664)),
    source="PCM of the HERMES chip, one device a polarity (M. Le Gallo et al., Nature "
    "Electronics 6, 2023), t0 = 200 s; aihwkit's HermesNoiseModel",
)
HERMES_2 = Pcm(
    name="hermes_2",
    coefficients=(0.16603222, 4.71806468, -8.48101252, 4.68961419),
    reference_usiemens=20.7,
    highest_usiemens=20.7,
    first_read_s=300.0,
    read_s=512e-9,
    exponent_mean=HERMES_1.exponent_mean,
    exponent_sd=Logarithm(-0.0117, -0.0057, 0.0091, 0.04, 0.3055, (0.0073, 0.0093, -0.0118)),
    flicker=Logarithm(-0.0117, -0.0069, 0.015, 0.04, 0.16, (0.0123, 0.0211, -0.0280, 0.0069)),
    source="PCM of the HERMES chip, two devices a polarity (A. Vasilopoulos et al., TED 2023), "
    "t0 = 300 s; aihwkit's HermesNoiseModel",
)
PCM_JOSHI = Polynomial(
    name="pcm_joshi",
    coefficients=(0.28638599, 0.07585724, -0.00178767),
    highest_usiemens=25.0,
    times_s=(27.36,),
    source="PCM of V. Joshi et al., Nature Communications 11 (2020), 27.36 s; CrossSim 3.2.0",
)
