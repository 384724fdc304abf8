"""How far a programmed conductance lands from its target: one constant per published device.

A device gives the standard deviation of a normal error as a function of the target; what falls
below zero stays at zero. Adding a device is adding a constant. Conductances are in siemens.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, pi, sqrt

import numpy as np

from tetrapla.ir.graph import Array

_MICRO = 1e-6
_erf = np.vectorize(erf, otypes=[np.float64])


@dataclass(frozen=True)
class Device:
    """Programming error, ``sigma_usiemens = max(0, sum_i c_i x^i)``.

    Attributes:
        name: as a chip's YAML names it.
        coefficients: ascending.
        reference_usiemens: where given, x is g / g_max and sigma is scaled by
            g_max / reference; where None, x is g in microsiemens.
        lowest_usiemens, highest_usiemens: what the fit covers; None where it scales.
        source: author, venue, year, and how long after programming it holds.
    """

    name: str
    coefficients: tuple[float, ...]
    source: str
    reference_usiemens: float | None = None
    lowest_usiemens: float | None = None
    highest_usiemens: float | None = None

    def sigma(self, target: Array, g_max_siemens: float) -> Array:
        """Standard deviation before clipping at zero, siemens; the shape of `target`."""
        if self.reference_usiemens is None:
            x, scale = target / _MICRO, 1.0
        else:
            x, scale = target / g_max_siemens, g_max_siemens / _MICRO / self.reference_usiemens
        value = np.zeros(np.shape(target))
        for coefficient in reversed(self.coefficients):
            value = value * x + coefficient
        return np.asarray(np.maximum(value, 0.0) * scale * _MICRO)

    def moments(self, target: Array, g_max_siemens: float) -> tuple[Array, Array]:
        """Mean and variance of the programmed conductance, clipping included."""
        return clipped_normal(target, self.sigma(target, g_max_siemens))


def clipped_normal(mean: Array, sd: Array) -> tuple[Array, Array]:
    """Mean and variance of max(0, N(mean, sd^2))."""
    # m Phi(m/s) + s phi(m/s), and (m^2 + s^2) Phi(m/s) + m s phi(m/s)
    certain = sd == 0
    s = np.where(certain, 1.0, sd)
    z = mean / s
    phi = np.exp(-z * z / 2) / sqrt(2 * pi)
    below = (1 + _erf(z / sqrt(2))) / 2
    first = mean * below + s * phi
    second = (mean * mean + s * s) * below + mean * s * phi
    variance = np.maximum(second - first * first, 0.0)
    clipped = np.maximum(mean, 0.0)
    return np.where(certain, clipped, first), np.where(certain, 0.0, variance)


EXACT = Device(
    name="exact",
    coefficients=(0.0,),
    source="no device: conductances land on their targets (every ideal run)",
)
RERAM_WAN_1S = Device(
    name="reram_wan_1s",
    coefficients=(0.348, 16.030, -43.853, 45.393, -16.815),
    reference_usiemens=40.0,
    source="ReRAM of W. Wan et al., Nature 608 (2022), 1 s after programming; aihwkit's fit",
)
RERAM_WAN_1D = Device(
    name="reram_wan_1d",
    coefficients=(0.701, 22.086, -50.773, 47.095, -16.458),
    reference_usiemens=40.0,
    source="ReRAM of W. Wan et al., Nature 608 (2022), 1 day after programming; aihwkit's fit",
)
RERAM_WAN_2D = Device(
    name="reram_wan_2d",
    coefficients=(0.782, 20.274, -43.507, 37.062, -11.934),
    reference_usiemens=40.0,
    source="ReRAM of W. Wan et al., Nature 608 (2022), 2 days after programming; aihwkit's fit",
)
RRAM_WAN_CUBIC = Device(
    name="rram_wan_cubic",
    coefficients=(1.053, 0.2374, -1.167e-2, 1.536e-4),
    highest_usiemens=39.26,
    source="CrossSim 3.2.0, RRAMWan: cubic fit to W. Wan et al., Nature 608 (2022)",
)
RRAM_MILO = Device(
    name="rram_milo",
    coefficients=(4.782321, -0.009107),
    lowest_usiemens=50.0,
    highest_usiemens=225.0,
    source="CrossSim 3.2.0, RRAMMilo: fit to V. Milo et al., 50 to 225 uS",
)
RERAM_CMO_2PCT = Device(
    name="reram_cmo_2pct",
    coefficients=(0.0112185391, 0.01129027418),
    lowest_usiemens=9.0,
    highest_usiemens=88.2,
    source="CMO/HfOx ReRAM, aihwkit 1.2: write-verify to 2 %, 9 to 88.2 uS, before relaxation",
)
RERAM_CMO_02PCT = Device(
    name="reram_cmo_0p2pct",
    coefficients=(0.00081107, 0.00106879),
    lowest_usiemens=9.0,
    highest_usiemens=88.2,
    source="CMO/HfOx ReRAM, aihwkit 1.2: write-verify to 0.2 %, before relaxation",
)
PCM_JOSHI = Device(
    name="pcm_joshi",
    coefficients=(0.28638599, 0.07585724, -0.00178767),
    highest_usiemens=25.0,
    source="PCM of V. Joshi et al., Nature Communications 11 (2020), 27.36 s; CrossSim 3.2.0",
)

DEVICES = {item.name: item for item in tuple(globals().values()) if isinstance(item, Device)}
