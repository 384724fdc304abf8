"""Devices by formula: errors that are independent of, proportional or inverse to the target.

With r = g / g_max and the magnitude m (the factors `programming` and `read`), the error over
g_max is N(0, m), r N(0, m) or N(0, m) / r, where 0 stays 0; or (U(0, 1) - 1/2) m in place of
N(0, m). What falls below zero is zero. Time changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, Final, Literal

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.devices.device import Device
from tetrapla.simulators.analog.devices.moments import Moments

_SOURCE: Final = "CrossSim 3.2.0, generic devices; the magnitude 0.05 is assumed"


@dataclass(frozen=True, kw_only=True)
class Normal(Device):
    """A normal error of programming, and of every read: its sd is m times a form."""

    form: Literal["independent", "proportional", "inverse"]

    errs: ClassVar[bool] = True

    @property
    def silent(self) -> bool:
        return not self.read

    def fitted_sigma(self, target: Array, g_max_siemens: float) -> Array:
        if self.form == "independent":
            return np.full(np.shape(target), g_max_siemens)
        if self.form == "proportional":
            return np.asarray(target, np.float64)
        none = np.zeros(np.shape(target))
        return np.divide(g_max_siemens**2, target, out=none, where=np.asarray(target) > 0)

    def read_sigma(
        self, programmed: Array, held: Array, g_max_siemens: float, t_s: float | None
    ) -> Array:
        del programmed
        self.seconds(t_s)
        if self.silent:
            return np.zeros(np.shape(held))
        return np.asarray(self.read * self.fitted_sigma(held, g_max_siemens))


@dataclass(frozen=True, kw_only=True)
class Uniform(Normal):
    """The same, spread evenly over m times the form."""

    distribution: ClassVar[Literal["normal", "uniform"]] = "uniform"

    def fitted_sigma(self, target: Array, g_max_siemens: float) -> Array:
        # an even spread over a width has the variance width^2 / 12
        return np.asarray(Normal.fitted_sigma(self, target, g_max_siemens) / sqrt(12))

    def central_moments(
        self, target: Array, g_max_siemens: float, t_s: float | None = None
    ) -> Moments:
        self.seconds(t_s)
        target = np.asarray(target, np.float64)
        sigma = self.sigma(target, g_max_siemens)
        half = np.where(sigma > 0, sigma * sqrt(3), 1.0)
        low = np.maximum(-half, -target)
        clipped = np.clip((half - target) / (2 * half), 0.0, 1.0)
        # E[(Y - target)^k] of Y = max(0, U(target - half, target + half))
        first, second, third, fourth = (
            np.where(
                sigma > 0,
                (-target) ** k * clipped
                + (half ** (k + 1) - low ** (k + 1)) / (2 * half * (k + 1)),
                0.0,
            )
            for k in (1, 2, 3, 4)
        )
        central = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
        # Hoeffding: a width of 2 h has a tail no heavier than a normal's of sd h
        return Moments(target + first, second - first**2, central, sigma * sqrt(3))


NORMAL_INDEPENDENT: Final = Normal(
    name="normal_independent", source=_SOURCE, form="independent", programming=0.05, read=0.0
)
NORMAL_PROPORTIONAL: Final = Normal(
    name="normal_proportional", source=_SOURCE, form="proportional", programming=0.05, read=0.0
)
NORMAL_INVERSE: Final = Normal(
    name="normal_inverse", source=_SOURCE, form="inverse", programming=0.05, read=0.0
)
UNIFORM_INDEPENDENT: Final = Uniform(
    name="uniform_independent", source=_SOURCE, form="independent", programming=0.05, read=0.0
)
UNIFORM_PROPORTIONAL: Final = Uniform(
    name="uniform_proportional", source=_SOURCE, form="proportional", programming=0.05, read=0.0
)
UNIFORM_INVERSE: Final = Uniform(
    name="uniform_inverse", source=_SOURCE, form="inverse", programming=0.05, read=0.0
)
POTENTIOMETER: Final = Uniform(
    name="potentiometer",
    source="assumed: a motor-driven potentiometer, as F. Rosenblatt's Mark I had for weights "
    "(Cornell Aeronautical Laboratory, 1960), stops anywhere within 1 % of its whole range; no "
    "tolerance was published",
    form="independent",
    programming=0.01,
    read=0.0,
)
