"""Programming error as a polynomial of the target, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.devices.device import MICRO, Device


@dataclass(frozen=True, kw_only=True)
class Polynomial(Device):
    """``sigma_usiemens = max(0, sum_i c_i x^i)``, normal, clipped at zero.

    Attributes:
        coefficients: ascending.
        reference_usiemens: where given, x is g / g_max and sigma is scaled by
            g_max / reference; where None, x is g in microsiemens.
    """

    coefficients: tuple[float, ...]
    reference_usiemens: float | None = None

    errs: ClassVar[bool] = True

    def fitted_sigma(self, target: Array, g_max_siemens: float) -> Array:
        if self.reference_usiemens is None:
            x, scale = target / MICRO, 1.0
        else:
            x, scale = target / g_max_siemens, g_max_siemens / MICRO / self.reference_usiemens
        return np.asarray(np.maximum(polynomial(self.coefficients, x), 0.0) * scale * MICRO)


def polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """sum_i c_i x^i, the coefficients ascending."""
    value = np.zeros(np.shape(x))
    for coefficient in reversed(coefficients):
        value = value * x + coefficient
    return value
