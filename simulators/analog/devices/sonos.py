"""SONOS flash: currents that are measured on six days, in nanoamperes.

mean = I + sum_k c_k I^k and sd = max(A (1 - e^(-mean / B)), 0), with c, A, B linear in time
between days; a read adds noise of the same form. A current at the cell's 0.1 V counts as a
conductance: 1600 nA are 16 uS (CrossSim's suggested range).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.devices.device import Device, Draws
from tetrapla.simulators.analog.devices.moments import Moments, censored_moments
from tetrapla.simulators.analog.devices.polynomial import polynomial
from tetrapla.simulators.elementary_ import exp

_DAY_S: Final = 86400.0
_NANOAMPERES: Final = 0.1 * 1e9  # of a siemens


@dataclass(frozen=True)
class Day:
    """Fits of one day: of the mean, ascending, and of the spread."""

    scale: float
    saturation: float
    shift: tuple[float, ...] = (0.0,) * 11


@dataclass(frozen=True, kw_only=True)
class Sonos(Device):
    """A SONOS cell; a device keeps its place in the spread from day to day (assumed).

    Attributes:
        days: one after another, from the day of programming on.
        noise: of a read, on any day.
    """

    days: tuple[Day, ...]
    noise: Day

    errs: ClassVar[bool] = True
    moves: ClassVar[bool] = True

    @property
    def silent(self) -> bool:
        return not self.read

    def fitted_sigma(self, target: Array, g_max_siemens: float) -> Array:
        del g_max_siemens
        return _saturating(self.days[0], target * _NANOAMPERES) / _NANOAMPERES

    def held(
        self, target: Array, g_max_siemens: float, t_s: float | None, draws: Draws
    ) -> Array:
        mean, sigma = self._moved(target, g_max_siemens, self.seconds(t_s))
        return np.asarray(np.maximum(mean + sigma * draws.programming, 0.0))

    def read_sigma(
        self, programmed: Array, held: Array, g_max_siemens: float, t_s: float | None
    ) -> Array:
        del programmed, g_max_siemens
        self.seconds(t_s)
        return self.read * _saturating(self.noise, held * _NANOAMPERES) / _NANOAMPERES

    def central_moments(
        self, target: Array, g_max_siemens: float, t_s: float | None = None
    ) -> Moments:
        mean, sigma = self._moved(
            np.asarray(target, np.float64), g_max_siemens, self.seconds(t_s)
        )
        return censored_moments(mean, sigma)

    def _moved(
        self, target: Array, g_max_siemens: float, seconds: float
    ) -> tuple[Array, Array]:
        """Mean and standard deviation before clipping, siemens."""
        if not seconds or not self.drifts:
            return target, self.sigma(target, g_max_siemens)
        day = self._day(seconds / _DAY_S)
        current = target * _NANOAMPERES
        mean = current + polynomial(day.shift, current)
        sigma = self.programming * _saturating(day, mean)
        return mean / _NANOAMPERES, sigma / _NANOAMPERES

    def _day(self, days: float) -> Day:
        """The fit between two days, its distance from the first day's times `drift`."""
        before = min(int(days), len(self.days) - 2)
        part = days - before
        first, a, b = self.days[0], self.days[before], self.days[before + 1]

        def between(zero: float, low: float, high: float) -> float:
            return zero + self.drift * (low + part * (high - low) - zero)

        shifts = zip(first.shift, a.shift, b.shift, strict=True)
        return Day(
            between(first.scale, a.scale, b.scale),
            between(first.saturation, a.saturation, b.saturation),
            tuple(between(*each) for each in shifts),
        )


def _saturating(day: Day, current: Array) -> Array:
    return np.asarray(np.maximum(day.scale * (1 - exp(-current / day.saturation)), 0.0))


SONOS_40NM = Sonos(
    name="sonos_40nm",
    source="40 nm SONOS of V. Agrawal et al., IEDM 2022, figures 10 and 11 (128K cells, six "
    "days); CrossSim 3.2.0's fit",
    highest_usiemens=32.0,
    drifted_usiemens=18.0,
    last_s=5 * _DAY_S,
    days=(
        Day(19.88665, 176.3115),
        Day(
            25.59102,
            186.85544,
            (
                1.72684e-1,
                5.72552e-2,
                -6.85715e-4,
                3.50271e-6,
                -9.37682e-9,
                1.40575e-11,
                -1.19803e-14,
                5.41293e-18,
                -8.85448e-22,
                -1.66869e-25,
                5.95180e-29,
            ),
        ),
        Day(
            28.72753,
            193.56834,
            (
                2.50712e-1,
                6.62195e-2,
                -6.83218e-4,
                2.99442e-6,
                -6.78255e-9,
                7.70482e-12,
                -3.04983e-15,
                -2.15919e-18,
                2.94617e-21,
                -1.23359e-24,
                1.85329e-28,
            ),
        ),
        Day(
            31.04318,
            198.90332,
            (
                -1.75300e-2,
                9.76883e-2,
                -9.63791e-4,
                4.55551e-6,
                -1.22391e-8,
                1.93786e-11,
                -1.85899e-14,
                1.07659e-17,
                -3.58211e-21,
                5.96785e-25,
                -3.30410e-29,
            ),
        ),
        Day(
            33.76214,
            204.77023,
            (
                4.03338e-2,
                1.03111e-1,
                -1.04740e-3,
                4.83961e-6,
                -1.28132e-8,
                1.99484e-11,
                -1.85139e-14,
                1.00008e-17,
                -2.84944e-21,
                3.01008e-25,
                1.18747e-29,
            ),
        ),
        Day(
            34.57909,
            207.34309,
            (
                3.19927e-1,
                1.06596e-1,
                -1.04054e-3,
                4.50290e-6,
                -1.10352e-8,
                1.56477e-11,
                -1.27592e-14,
                5.45513e-18,
                -7.26841e-22,
                -2.43893e-25,
                7.14608e-29,
            ),
        ),
    ),
    noise=Day(12.58037, 215.36557),
)
