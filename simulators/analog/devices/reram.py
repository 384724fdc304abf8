"""Resistive memory: published fits of how far a cell lands, decays and curves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log, sqrt
from typing import ClassVar, Final

import numpy as np

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.devices.device import MICRO, Draws
from tetrapla.simulators.analog.devices.moments import Moments, censored_moments
from tetrapla.simulators.analog.devices.polynomial import Polynomial, polynomial
from tetrapla.simulators.elementary_ import ln, ln_of

_DAY_S: Final = 86400.0
_LN10: Final = log(10)


@dataclass(frozen=True, kw_only=True)
class Curved(Polynomial):
    """A cell whose current is I = G V + N2 V^2 + N3 V^3, amperes, siemens, volts.

    Attributes:
        square, cube: N2 and N3 as polynomials of log10(G in siemens), ascending.
    """

    square: tuple[float, ...]
    cube: tuple[float, ...]

    def curvature(self, conductance: Array) -> tuple[Array, Array] | None:
        held = np.asarray(conductance, np.float64)
        if not (held > 0).all():
            raise SpecError(
                f"the I-V curve of {self.name} is a fit over log10 of the conductance, which "
                f"must be above 0 S, not {float(held.min()):g} S; raise g_min"
            )
        exponent = ln(held) / _LN10
        return (
            np.asarray(polynomial(self.square, exponent) / held),
            np.asarray(polynomial(self.cube, exponent) / held),
        )


@dataclass(frozen=True, kw_only=True)
class Decaying(Polynomial):
    """Relaxation after write-verify: a shift and a spread that grow with ln t.

    Both are the same for every state. A read adds 1/f noise with the standard deviation
    k log10(g) sqrt(ln((t + t_r) / (2 t_r))), in microsiemens. Cells cannot leave the range of
    the device.

    Attributes:
        shift_usiemens, grown_usiemens, spread_usiemens: of ln t: the mean's slope, and the
            standard deviation's slope and its value at 1 s.
        flicker_usiemens, read_s: k and t_r.
    """

    shift_usiemens: float
    grown_usiemens: float
    spread_usiemens: float
    flicker_usiemens: float
    read_s: float

    moves: ClassVar[bool] = True
    flickers: ClassVar[bool] = True

    @property
    def silent(self) -> bool:
        return not self.read

    def programmed(self, target: Array, g_max_siemens: float, draw: Array) -> Array:
        landed = target + self.sigma(target, g_max_siemens) * draw
        return np.asarray(np.clip(landed, *self._range(target)))

    def held(
        self, target: Array, g_max_siemens: float, t_s: float | None, draws: Draws
    ) -> Array:
        shift, spread = self._decay(self.seconds(t_s))
        landed = target + self.sigma(target, g_max_siemens) * draws.programming
        return np.asarray(np.clip(landed + shift + spread * draws.drift, *self._range(target)))

    def read_sigma(
        self, programmed: Array, held: Array, g_max_siemens: float, t_s: float | None
    ) -> Array:
        del programmed, g_max_siemens
        grown = max(ln_of((self.seconds(t_s) + self.read_s) / (2 * self.read_s)), 0.0)
        size = self.read * self.flicker_usiemens * MICRO * sqrt(grown)
        return np.asarray(size / _LN10 * ln(held / MICRO))

    def limited(self, conductance: Array) -> Array:
        low, high = self.lowest_usiemens or 0.0, self.highest_usiemens or np.inf
        return np.asarray(np.clip(conductance, low * MICRO, high * MICRO))

    def central_moments(
        self, target: Array, g_max_siemens: float, t_s: float | None = None
    ) -> Moments:
        target = np.asarray(target, np.float64)
        shift, spread = self._decay(self.seconds(t_s))
        sigma = np.sqrt(self.sigma(target, g_max_siemens) ** 2 + spread**2)
        return censored_moments(target + shift, sigma, *self._range(target))

    def _decay(self, seconds: float) -> tuple[float, float]:
        """Shift and standard deviation, siemens."""
        if not seconds or not self.drifts:
            return 0.0, 0.0
        grown = ln_of(seconds)
        spread = self.grown_usiemens * grown + self.spread_usiemens
        return self.drift * self.shift_usiemens * grown * MICRO, self.drift * spread * MICRO

    def _range(self, target: Array) -> tuple[Array, Array]:
        """Where cells stay, siemens; a target at an end is not moved by rounding."""
        low, high = self.lowest_usiemens or 0.0, self.highest_usiemens or np.inf
        return np.minimum(low * MICRO, target), np.maximum(high * MICRO, target)


RERAM_WAN_1S = Polynomial(
    name="reram_wan_1s",
    coefficients=(0.348, 16.030, -43.853, 45.393, -16.815),
    reference_usiemens=40.0,
    times_s=(1.0,),
    source="ReRAM of W. Wan et al., Nature 608 (2022), 1 s after programming; aihwkit's fit",
)
RERAM_WAN_1D = Polynomial(
    name="reram_wan_1d",
    coefficients=(0.701, 22.086, -50.773, 47.095, -16.458),
    reference_usiemens=40.0,
    times_s=(_DAY_S,),
    source="ReRAM of W. Wan et al., Nature 608 (2022), 1 day after programming; aihwkit's fit",
)
RERAM_WAN_2D = Polynomial(
    name="reram_wan_2d",
    coefficients=(0.782, 20.274, -43.507, 37.062, -11.934),
    reference_usiemens=40.0,
    times_s=(2 * _DAY_S,),
    source="ReRAM of W. Wan et al., Nature 608 (2022), 2 days after programming; aihwkit's fit",
)
RRAM_WAN_CUBIC = Polynomial(
    name="rram_wan_cubic",
    coefficients=(1.053, 0.2374, -1.167e-2, 1.536e-4),
    highest_usiemens=39.26,
    times_s=(0.0,),
    source="CrossSim 3.2.0, RRAMWan: cubic fit to W. Wan et al., Nature 608 (2022)",
)
RRAM_MILO = Curved(
    name="rram_milo",
    coefficients=(4.782321, -0.009107),
    lowest_usiemens=50.0,
    highest_usiemens=225.0,
    times_s=(0.0,),
    highest_volts=0.5,
    square=(7.063e-3, 5.711e-3, 1.541e-3, 1.388e-4),
    cube=(1.2968e-3, 6.7919e-4, 8.871e-5),
    source="V. Milo et al., IRPS 2021, figure 4, 50 to 225 uS; CrossSim 3.2.0's fits, that of "
    "the I-V curve over 62.5 to 110 uS with an assumed straight line at 225 uS",
)
RERAM_CMO_2PCT = Decaying(
    name="reram_cmo_2pct",
    coefficients=(0.0112185391, 0.01129027418),
    lowest_usiemens=9.0,
    highest_usiemens=88.2,
    first_s=1.0,
    shift_usiemens=-0.08900206,
    grown_usiemens=0.04201137,
    spread_usiemens=0.41183342,
    flicker_usiemens=0.0277316483,
    read_s=1e-6,
    source="CMO/HfOx ReRAM of D. F. Falcone et al. (IBM Research), write-verify to 2 %; "
    "aihwkit 1.2's fit, 9 to 88.2 uS, from 1 s on",
)
RERAM_CMO_02PCT = replace(
    RERAM_CMO_2PCT,
    name="reram_cmo_0p2pct",
    coefficients=(0.00081107, 0.00106879),
    source="CMO/HfOx ReRAM of D. F. Falcone et al. (IBM Research), write-verify to 0.2 %; "
    "aihwkit 1.2's fit, 9 to 88.2 uS, from 1 s on",
)
