"""Weights that wires bend back: conductances whose effective matrix is the wanted one.

What reaches the outputs of a wired array is not its conductances G but G_eff(G), smaller where
the way is long. Conductances have a largest value, so the whole matrix is wanted smaller by one
gain a < 1, which digital logic or the ADC's range divides out, and the cells are programmed by

    G <- clip(G a T / G_eff(G), g_min, g_max),   from G = T,   where T > 0

until G_eff = a T but for cells that are clipped. Each update costs one effective matrix.

Pairs on one bit line (`interleaved`) have one effective matrix for the difference of the two.
There the larger cell of a pair moves, by what the difference lacks:

    G+ - G-  <-  (G+ - G-) a (T+ - T-) / G_eff(G+, G-)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Final

import numpy as np

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.effective import solve
from tetrapla.simulators.analog.circuits.wires import Wires, checked

SHARE: Final = 0.75  # of the mean attenuation, the gain: room for the cells that are far away
UPDATES: Final = 4  # the error falls some 15 times an update, then cells are clipped


@dataclass(frozen=True)
class Precompensated:
    """Conductances to program, and what they amount to.

    Attributes:
        cells: siemens, of the shape of the target.
        gain: G_eff is about gain times the target.
    """

    cells: Array
    gain: float


def precompensated(
    target: Array,
    wires: Wires,
    g_max_siemens: float,
    *,
    g_min_siemens: float = 0.0,
    updates: int = UPDATES,
    gain: float | None = None,
) -> Precompensated:
    """Conductances of `input_source` arrays whose effective matrix is `gain` times the target.

    Args:
        target: wanted conductances, siemens [..., rows, columns]; arrays along the leading
            axes, as the two of a pair, share the gain. 0 stays no device.
        wires: of every array.
        g_max_siemens: the most that a device can hold.
        g_min_siemens: the least.
        updates: at least 0; 0 returns the target.
        gain: None for `SHARE` of the attenuation of the array that loses most.

    Raises:
        SpecError: bad conductances or limits, a gain that is not positive, or updates below 0.
    """
    goal = checked(target)[..., 0, :, :]
    if not (isfinite(g_max_siemens) and 0 <= g_min_siemens <= g_max_siemens > 0):
        raise SpecError(
            "g_min_siemens and g_max_siemens must be finite with 0 <= g_min <= g_max > 0, not "
            f"{g_min_siemens} and {g_max_siemens}; take them from the device"
        )
    if updates < 0:
        raise SpecError(f"updates must be 0 or more, not {updates}; 0 changes nothing")
    reached = solve(goal, wires)
    if gain is None:
        gain = SHARE * _attenuation(goal, reached) if updates else 1.0
    if not (isfinite(gain) and gain > 0):
        raise SpecError(f"gain must be finite and above 0, not {gain}; leave it out")
    cells = goal
    for update in range(updates):
        if update:
            reached = solve(cells, wires)
        # a cell that a stiff array turns around is left as it is
        factor = np.divide(gain * goal, reached, out=np.ones_like(goal), where=reached > 0)
        cells = np.where(goal > 0, np.clip(cells * factor, g_min_siemens, g_max_siemens), 0.0)
    return Precompensated(cells, gain)


def precompensated_pairs(
    plus: Array,
    minus: Array,
    wires: Wires,
    g_max_siemens: float,
    *,
    g_min_siemens: float = 0.0,
    updates: int = UPDATES,
) -> tuple[Array, Array, float]:
    """Conductances of an `interleaved` array whose effective matrix is gain (plus - minus).

    Args:
        plus: wanted conductances of the cells on the inputs' lines, siemens [rows, columns].
        minus: on the lines of the negated inputs; one of a pair at least is at g_min.
        wires: of the array.
        g_max_siemens: the most that a device can hold.
        g_min_siemens: the least.
        updates: at least 0.

    Returns:
        Conductances of both, and the gain: `SHARE` of what arrives of the differences.
    """
    goal = plus - minus
    reached = solve(plus, wires, minus)
    wanted = float(np.abs(goal).sum())
    if not wanted or not updates:
        return plus, minus, 1.0
    gain = SHARE * float((reached * np.sign(goal)).sum()) / wanted
    for update in range(updates):
        if update:
            reached = solve(plus, wires, minus)
        helps = reached * goal > 0
        factor = np.divide(gain * goal, reached, out=np.ones_like(goal), where=helps)
        net = np.abs((plus - minus) * factor)
        limits = g_min_siemens, g_max_siemens
        larger = np.where(goal > 0, np.clip(minus + net, *limits), plus)
        minus = np.where(goal < 0, np.clip(plus + net, *limits), minus)
        plus = larger
    return plus, minus, gain


def _attenuation(goal: Array, reached: Array) -> float:
    """The smallest of the arrays' shares of conductance that arrive; 1 without any device."""
    wanted, found = goal.sum(axis=(-1, -2)), reached.sum(axis=(-1, -2))
    return float(np.divide(found, wanted, out=np.ones_like(wanted), where=wanted > 0).min())
