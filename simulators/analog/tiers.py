"""Which method computes a product, chosen in one place.

    T0  every code is exact: slices and digits fold to one integer product
    T1  a linear array: one (effective) matrix, and normals with the variance of its cells
    T2  a gated array with wires: every vector is a ladder of its own
    T3  cells that are not linear: every vector is solved by Newton's method

Neighbours agree where both hold: T1 at zero noise, zero wires and enough bits is T0, T2 without
wires is T1, T3 with straight cells is T1. The judge of all, T4, is nodal analysis
(`circuits.nodal`): tests and suites call it, runs do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tetrapla.simulators.analog.crossbar import folds
from tetrapla.simulators.analog.program import Product
from tetrapla.simulators.analog.reads import linear
from tetrapla.simulators.analog.spec import AnalogSpec


@dataclass(frozen=True)
class Tier:
    """A method, and what makes it the one to use."""

    name: Literal["T0", "T1", "T2", "T3"]
    why: str


def tier(product: Product, spec: AnalogSpec) -> Tier:
    """How `crossbar` computes a product on a chip."""
    if folds(product, spec):
        return Tier("T0", "every code is exact: slices and digits fold to an integer product")
    if linear(spec):
        if spec.wires.lossy:
            return Tier("T1", "arrays are linear: their effective matrix holds the wires")
        return Tier("T1", "columns add up without loss in wires")
    if spec.curved:
        return Tier("T3", f"cells follow a law that is not linear, {spec.device.iv}")
    return Tier("T2", "gated arrays with wires are a ladder of their own for every input")
