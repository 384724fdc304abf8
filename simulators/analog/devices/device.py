"""What a kind of device gives; on its own the exact one: cells land on target and stay there.

A cell goes through three states. It is *programmed*: target + sigma draw, clipped at zero. It
is *held* at t_s seconds after programming: drift, each device of a pair for itself. It is
*read*: held + read_sigma draw. Draws have mean 0 and variance 1; they come from counters
(`cells`), so a device is a pure function.

Three factors scale what was published: `programming`, `drift` and `read`. Each at 0 switches
its effect off exactly; all at 0, and a cell holds its target. Of the generic devices they are
the magnitudes. Conductances are in siemens, arrays of any shape; nothing is written to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import ClassVar, Literal, Self

import numpy as np

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.devices.moments import Moments, censored_moments

MICRO = 1e-6
_ROUNDING = 1 + 1e-9


@dataclass(frozen=True)
class Draws:
    """Random numbers of cells, of mean 0 and variance 1, each of the cells' shape.

    Attributes:
        programming: normal, or uniform where the device's `distribution` is.
        drift: normal.
    """

    programming: Array
    drift: Array


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device, and the kind whose cells are exact.

    Attributes:
        name: as a chip's YAML names it.
        source: author, venue, year; whose fit it is; "assumed" where nothing was measured.
        lowest_usiemens, highest_usiemens: what the fit covers; None where it has no end.
        drifted_usiemens: the highest conductance once time passes, where that is less.
        times_s: the only seconds after programming that the fit holds at; None for all.
        first_s, last_s: the times between which drift was fitted; it is none at 0 s.
        highest_volts: of a read, where its I-V curve was fitted.
        programming, drift, read: factors on the error, the drift and the read noise.
    """

    name: str
    source: str
    lowest_usiemens: float | None = None
    highest_usiemens: float | None = None
    drifted_usiemens: float | None = None
    times_s: tuple[float, ...] | None = None
    first_s: float = 0.0
    last_s: float = inf
    highest_volts: float = inf
    programming: float = 1.0
    drift: float = 1.0
    read: float = 1.0

    distribution: ClassVar[Literal["normal", "uniform"]] = "normal"
    errs: ClassVar[bool] = False  # whether the kind has an error of programming
    moves: ClassVar[bool] = False  # whether the kind changes with time
    flickers: ClassVar[bool] = False  # whether read noise is 1/f: grows with time

    def __post_init__(self) -> None:
        for name in ("programming", "drift", "read"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise SpecError(
                    f"{self.name}: the factor {name} must be a finite number from 0 up, "
                    f"not {value}; 0 switches the effect off"
                )

    @property
    def exact(self) -> bool:
        """Whether every cell holds its target at any time; reads may be noisy."""
        return not (self.errs and self.programming) and not self.drifts

    @property
    def drifts(self) -> bool:
        """Whether time changes cells."""
        return self.moves and self.drift > 0

    @property
    def silent(self) -> bool:
        """Whether reads have no noise of the device's own."""
        return True

    def scaled(
        self,
        programming: float | None = None,
        drift: float | None = None,
        read: float | None = None,
    ) -> Self:
        """The device with some factors set; those left out stay."""
        return replace(
            self,
            programming=self.programming if programming is None else programming,
            drift=self.drift if drift is None else drift,
            read=self.read if read is None else read,
        )

    def seconds(self, t_s: float | None) -> float:
        """The time after programming that is meant; the first one of the fit for None.

        Raises:
            SpecError: before programming, or at no time that the fit holds at.
        """
        if t_s is None:
            return self.times_s[0] if self.times_s else 0.0
        if not (isfinite(t_s) and t_s >= 0):
            raise SpecError(
                f"t_s must be a time after programming, in seconds from 0 up, not {t_s:g}; "
                "drift has no meaning before it"
            )
        if self.times_s and t_s not in self.times_s:
            known = ", ".join(f"{time:g}" for time in self.times_s)
            raise SpecError(
                f"{self.name} is known at {known} s after programming, not at {t_s:g} s; "
                "leave t_s out or choose a device with a model of drift"
            )
        if self.drifts and t_s and not self.first_s <= t_s <= self.last_s:
            until = f" to {self.last_s:g} s" if self.last_s < inf else " s on"
            raise SpecError(
                f"{self.name} is known at 0 s and from {self.first_s:g}{until} after "
                f"programming, not at {t_s:g} s; choose a time that was measured"
            )
        return float(t_s)

    def check(
        self, lowest_siemens: float, highest_siemens: float, t_s: float | None = None
    ) -> None:
        """Refuse targets from lowest to highest that the fit does not cover at that time.

        Raises:
            SpecError: a conductance or the time is outside.
        """
        moved = self.drifts and self.seconds(t_s) > 0
        highest = self.drifted_usiemens if moved else None
        highest = self.highest_usiemens if highest is None else highest
        if highest is not None and highest_siemens / MICRO > highest * _ROUNDING:
            raise SpecError(
                f"a conductance of {self.name} must be at most {highest:g} uS, where it was "
                f"fitted, not {highest_siemens / MICRO:g} uS; lower g_max or choose another "
                "device"
            )
        lowest = 0.0 if self.lowest_usiemens is None else self.lowest_usiemens
        if lowest_siemens / MICRO * _ROUNDING < lowest or lowest_siemens < 0:
            raise SpecError(
                f"a conductance of {self.name} must be at least {lowest:g} uS, where it was "
                f"fitted, not {lowest_siemens / MICRO:g} uS; raise g_min or choose another "
                "device"
            )

    def sigma(self, target: Array, g_max_siemens: float) -> Array:
        """Standard deviation of programming before clipping, siemens."""
        if not self.programming:
            return np.zeros(np.shape(target))
        return np.asarray(self.programming * self.fitted_sigma(target, g_max_siemens))

    def fitted_sigma(self, target: Array, g_max_siemens: float) -> Array:
        """`sigma` for a factor of 1."""
        del g_max_siemens
        return np.zeros(np.shape(target))

    def programmed(self, target: Array, g_max_siemens: float, draw: Array) -> Array:
        """Conductances right after programming."""
        return np.asarray(np.maximum(target + self.sigma(target, g_max_siemens) * draw, 0.0))

    def held(
        self, target: Array, g_max_siemens: float, t_s: float | None, draws: Draws
    ) -> Array:
        """Conductances at t_s, without the noise of reading.

        Raises:
            SpecError: the device is not known at that time.
        """
        self.seconds(t_s)
        return self.programmed(target, g_max_siemens, draws.programming)

    def read_sigma(
        self, programmed: Array, held: Array, g_max_siemens: float, t_s: float | None
    ) -> Array:
        """Standard deviation of a read's conductance at t_s; a `silent` device's is zero."""
        del programmed, g_max_siemens
        self.seconds(t_s)
        return np.zeros(np.shape(held))

    def limited(self, conductance: Array) -> Array:
        """What noise can make of a conductance: no less than 0 S, nor outside a hard range."""
        return np.asarray(np.maximum(conductance, 0.0))

    def curvature(self, conductance: Array) -> tuple[Array, Array] | None:
        """a2 and a3 of I = g (v + a2 v^2 + a3 v^3), in 1/V and 1/V^2; None for a straight line.

        v in volts up to `highest_volts`; conductances in siemens.
        """
        del conductance
        return None

    def moments(
        self, target: Array, g_max_siemens: float, t_s: float | None = None
    ) -> tuple[Array, Array]:
        """Mean and variance of the held conductance at t_s, clipping included."""
        found = self.central_moments(target, g_max_siemens, t_s)
        return found.mean, found.variance

    def central_moments(
        self, target: Array, g_max_siemens: float, t_s: float | None = None
    ) -> Moments:
        """Of the held conductance at t_s, in closed form or by quadrature."""
        self.seconds(t_s)
        target = np.asarray(target, np.float64)
        return censored_moments(target, self.sigma(target, g_max_siemens))


Fit = Callable[[Array], Array]
