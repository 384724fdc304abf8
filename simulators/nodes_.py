"""Energy and area at one technology node from what is known at others.

[scaling]: A. Stillmaker and B. Baas, "Scaling equations for the accurate prediction of CMOS
device performance from 180 nm to 7 nm", Integration 58, 2017, doi 10.1016/j.vlsi.2017.02.002:
an operation's energy is proportional to ``a V^2 + b V + c``. Coefficients as HWComponents
carries them. 0.8 V is taken at both ends (assumed, as HWComponents does).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Final

# node in nm: a, b, c
_COEFFICIENTS: Final = {
    7: (0.1776, -0.09097, 0.02447),
    10: (0.2068, -0.09311, 0.02375),
    14: (0.2363, -0.09675, 0.02239),
    16: (0.2958, -0.1241, 0.03024),
    20: (0.373, -0.1582, 0.04104),
    32: (0.9559, -0.7823, 0.471),
    45: (1.103, -0.362, 0.2767),
    65: (3.755, -4.398, 1.975),
    90: (4.762, -4.781, 2.092),
    130: (7.171, -6.709, 2.904),
}
_VOLTAGE_V: Final = 0.8
# area of 7 nm as the unit: the last row of [scaling]'s table of area factors
_AREA: Final = {
    7: 1.0,
    10: 1.7,
    14: 2.9,
    16: 3.2,
    20: 3.6,
    32: 7.8,
    45: 17.0,
    65: 25.0,
    90: 48.0,
    130: 110.0,
}
SMALLEST_NM: Final = min(_COEFFICIENTS)
LARGEST_NM: Final = max(_COEFFICIENTS)


@dataclass(frozen=True)
class Scaled:
    """A quantity at a node.

    Attributes:
        low, high: between which it lies, where that is known; else both the value.
        how: the rule and its factor in words; empty where nothing was scaled.
    """

    value: float
    low: float
    high: float
    how: str = ""


def energy_factor(from_nm: float, to_nm: float) -> float:
    """What an operation's energy is multiplied by from one node to another, at 0.8 V.

    Raises:
        ValueError: a node is not within 7 to 130 nm.
    """
    return _relative_energy(to_nm) / _relative_energy(from_nm)


def area_factor(from_nm: float, to_nm: float) -> float:
    """What a circuit's area is multiplied by from one node to another.

    Raises:
        ValueError: a node is not within 7 to 130 nm.
    """
    return _on_the_line(_AREA, to_nm) / _on_the_line(_AREA, from_nm)


def scaled(known: Mapping[float, Scaled], node_nm: float) -> Scaled:
    """An energy at a node, from one source's energies at one or more nodes.

    Between two of them it divides their ratio as [scaling] divides its own,
    ``E = E1 (E2 / E1)^t``, and lies between the two. Outside them the nearest is multiplied by
    [scaling]'s factor.

    Raises:
        ValueError: a node is not within 7 to 130 nm.
    """
    if node_nm in known:
        return known[node_nm]
    nodes = sorted(known)
    at = bisect_left(nodes, node_nm)
    if 0 < at < len(nodes):
        return _between(known, nodes[at - 1], nodes[at], node_nm)
    nearest = nodes[0] if at == 0 else nodes[-1]
    factor, one = energy_factor(nearest, node_nm), known[nearest]
    how = f"x {factor:.3g} from {nearest:g} to {node_nm:g} nm (Stillmaker and Baas 2017, 0.8 V)"
    return Scaled(one.value * factor, one.low * factor, one.high * factor, how)


def _between(
    known: Mapping[float, Scaled], small_nm: float, large_nm: float, node_nm: float
) -> Scaled:
    small, large = known[small_nm], known[large_nm]
    share = log(energy_factor(small_nm, node_nm)) / log(energy_factor(small_nm, large_nm))
    value = small.value * (large.value / small.value) ** share
    how = (
        f"x {value / large.value:.3g} from {large_nm:g} to {node_nm:g} nm, between the "
        f"source's own {small_nm:g} and {large_nm:g} nm (place by Stillmaker and Baas 2017, "
        "0.8 V)"
    )
    low, high = min(small.low, large.low), max(small.high, large.high)
    return Scaled(value, low, high, how)


def _relative_energy(node_nm: float) -> float:
    energies = {
        node: a * _VOLTAGE_V**2 + b * _VOLTAGE_V + c
        for node, (a, b, c) in _COEFFICIENTS.items()
    }
    return _on_the_line(energies, node_nm)


def _on_the_line(table: Mapping[int, float], node_nm: float) -> float:
    """A value of the table, on the straight line between two of its nodes."""
    if not SMALLEST_NM <= node_nm <= LARGEST_NM:
        raise ValueError(f"a node must be within {SMALLEST_NM} to {LARGEST_NM} nm")
    nodes = sorted(table)
    at = bisect_left(nodes, node_nm)
    if nodes[at] == node_nm:
        return table[nodes[at]]
    low, high = nodes[at - 1], nodes[at]
    share = (node_nm - low) / (high - low)
    return table[low] + share * (table[high] - table[low])
