"""Laws of a cell: its current as a function of its conductance and the voltage across it.

A law is a small frozen class; g = 0 is no device under every law, and g is the slope at 0 V of
all but `Milo`, where it is the conductance that the fit calls G.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Protocol

import numpy as np

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array


class Cell(Protocol):
    """What a law gives, elementwise over conductances and volts that broadcast."""

    def currents(self, g: Array, volts: Array) -> Array:
        """Amperes through cells of `g` siemens."""
        ...

    def slopes(self, g: Array, volts: Array) -> Array:
        """Derivative of `currents` by `volts`, siemens."""
        ...


@dataclass(frozen=True)
class Linear:
    """I = g v."""

    def currents(self, g: Array, volts: Array) -> Array:
        return np.asarray(g * volts)

    def slopes(self, g: Array, volts: Array) -> Array:
        return np.asarray(g + np.zeros_like(volts))


@dataclass(frozen=True)
class Sinh:
    """I = g sinh(beta v) / beta, the law of hopping and tunnelling conduction.

    Attributes:
        beta_per_volt: 0 is the linear cell.
    """

    beta_per_volt: float

    def __post_init__(self) -> None:
        _finite("beta_per_volt", self.beta_per_volt)

    def currents(self, g: Array, volts: Array) -> Array:
        if not self.beta_per_volt:
            return np.asarray(g * volts)
        return np.asarray(g * (np.sinh(self.beta_per_volt * volts) / self.beta_per_volt))

    def slopes(self, g: Array, volts: Array) -> Array:
        return np.asarray(g * np.cosh(self.beta_per_volt * volts))


@dataclass(frozen=True)
class Polynomial:
    """I = g (v + a2 v^2 + a3 v^3).

    Attributes:
        a2_per_volt, a3_per_volt2: 0 and 0 are the linear cell.
    """

    a2_per_volt: float = 0.0
    a3_per_volt2: float = 0.0

    def __post_init__(self) -> None:
        _finite("a2_per_volt", self.a2_per_volt)
        _finite("a3_per_volt2", self.a3_per_volt2)

    def currents(self, g: Array, volts: Array) -> Array:
        return np.asarray(
            g * volts * (1 + volts * (self.a2_per_volt + self.a3_per_volt2 * volts))
        )

    def slopes(self, g: Array, volts: Array) -> Array:
        return np.asarray(
            g * (1 + volts * (2 * self.a2_per_volt + 3 * self.a3_per_volt2 * volts))
        )


@dataclass(frozen=True)
class Milo:
    """I = g v + NL2(g) v^2 + NL3(g) v^3, ReRAM for |v| <= 0.5 V and 50 to 225 microsiemens.

    With L = log10(g / S): NL2 = 1.388e-4 L^3 + 1.541e-3 L^2 + 5.711e-3 L + 7.063e-3 A/V^2 and
    NL3 = 8.871e-5 L^2 + 6.7919e-4 L + 1.2968e-3 A/V^3. Milo et al., IRPS 2021, as fitted in
    CrossSim 3.2 (BSD-3) to measurements at 62.5 to 110 microsiemens and one point at 225 that
    was assumed to be linear.

    Attributes:
        scale: of both coefficients; 0 is the linear cell, 1 the published one.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        _finite("scale", self.scale)

    def currents(self, g: Array, volts: Array) -> Array:
        second, third = self._coefficients(g)
        return np.asarray(volts * (g + volts * (second + third * volts)))

    def slopes(self, g: Array, volts: Array) -> Array:
        second, third = self._coefficients(g)
        return np.asarray(g + volts * (2 * second + 3 * third * volts))

    def _coefficients(self, g: Array) -> tuple[Array, Array]:
        there = g > 0
        x = np.log10(np.where(there, g, 1.0))
        second = ((1.388e-4 * x + 1.541e-3) * x + 5.711e-3) * x + 7.063e-3
        third = (8.871e-5 * x + 6.7919e-4) * x + 1.2968e-3
        scale = np.where(there, self.scale, 0.0)
        return np.asarray(second * scale), np.asarray(third * scale)


LINEAR = Linear()


def _finite(name: str, value: float) -> None:
    if not isfinite(value):
        raise SpecError(f"{name} must be finite, not {value}; 0 is the linear cell")
