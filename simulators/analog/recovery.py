"""What a chip does about its own faults: bent weights, scaled references, other rows.

Each is off by default, is told by the spec's `recovery`, and changes nothing where its cause is
absent.

* `bent`: conductances whose effective matrix is the wanted one, through the wires
  (`circuits.precompensation`), times a gain that the converters' reference divides out. So
  errors and noise of cells count 1 / gain times.
* `drifted`: one row after the other is read after programming, Y0, and again at the time of
  the reads, Y(t); alpha = mean |Y0| / mean |Y(t)|, of a tile or of each converted column,
  scales the reference (of a tile: V. Joshi et al., Nature Communications 11, 2020). Both are
  averaged over so many reads that their noise is gone (assumed).
* `order`: rows with broken cells take the weights that suffer least, as a test of the array
  finds them; the inputs are routed after their rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.effective import Cache, effective
from tetrapla.simulators.analog.circuits.precompensation import (
    SHARE,
    precompensated,
    precompensated_pairs,
)
from tetrapla.simulators.analog.circuits.wires import Wires
from tetrapla.simulators.analog.devices.faults import Defects

_CACHE_BYTES: Final = 1 << 27  # of bent arrays: 1,024 of 128 x 128; assumed enough
_LEAST: Final = 1e-4  # of a level: a read-out counts as much at least, as in aihwkit's weights


_cache = Cache(_CACHE_BYTES)


@dataclass(frozen=True)
class Reference:
    """What converters make of a sum in place of itself: scale sum + shift (sum of inputs).

    Attributes:
        scale: by conversion, [conversions].
        shift: in levels, since g_min drifts too, [conversions].
    """

    scale: Array
    shift: Array

    def levels(self, seen: Array) -> Array:
        """Levels [rows, conversions] with it."""
        return np.asarray(seen * self.scale + self.shift)

    def sums(self, sums: Array, inputs: Array) -> Array:
        """Sums [vectors, conversions] with it, of inputs [vectors, rows]."""
        return np.asarray(sums * self.scale + inputs.sum(axis=1)[:, None] * self.shift)


def bent(
    target: Array, lines: Wires, g_min_siemens: float, g_max_siemens: float
) -> tuple[Array, float]:
    """Conductances to program in place of targets [rows, columns] siemens, and their gain.

    What reaches the outputs is g_min + gain (target - g_min), but for cells that are clipped:
    g_min itself is taken away without a gain. Kept by content: chips share their goals.
    """
    if not target.any():
        return target, 1.0
    gain = SHARE * float(effective(target, lines).sum() / target.sum())
    # the gain is on all that is asked for, so more is asked for where g_min is
    wanted = target + g_min_siemens * (1 / gain - 1)
    limits = f"{target.shape} {lines} {g_min_siemens!r} {g_max_siemens!r}"
    content = blake2b(limits.encode() + target.tobytes(), digest_size=32).digest()
    found = _cache.get(content)
    if found is None:
        low, high = g_min_siemens, g_max_siemens
        found = precompensated(wanted, lines, high, g_min_siemens=low, gain=gain).cells
        _cache.put(content, found)
    return found, gain


def bent_pairs(
    target: Array, lines: Wires, g_min_siemens: float, g_max_siemens: float
) -> tuple[Array, float]:
    """`bent` for pairs on one bit line: positive cells [rows, columns / 2], then negative ones.

    What g_min adds to a pair cancels.
    """
    half = target.shape[1] // 2
    limits = f"pairs {target.shape} {lines} {g_min_siemens!r} {g_max_siemens!r}"
    content = blake2b(limits.encode() + target.tobytes(), digest_size=32).digest()
    found = _cache.get(content)
    if found is None:
        both = target[:, :half], target[:, half:]
        made = precompensated_pairs(*both, lines, g_max_siemens, g_min_siemens=g_min_siemens)
        # the gain lies behind the cells, in a row of its own
        found = np.concatenate(made[:2], axis=1)
        found = np.concatenate([found, np.full((1, target.shape[1]), made[2])])
        _cache.put(content, found)
    return found[:-1], float(found[-1, 0])


def drifted(first: Array, now: Array, how: Literal["global", "column"]) -> Array:
    """Alpha by conversion, of read-outs [rows, conversions] in levels, g_min included."""
    axis = None if how == "global" else 0
    before, after = (np.maximum(np.abs(y).mean(axis=axis), _LEAST) for y in (first, now))
    return np.broadcast_to(before / after, now.shape[1:])


def reference(alpha: Array | None, gain: float, floor: Array) -> Reference | None:
    """Of a drift and a gain; None where both are 1. `floor`: levels that g_min adds."""
    if alpha is None or bool((alpha == 1).all()):
        if gain == 1:
            return None
        alpha = np.ones_like(floor)
    return Reference(alpha / gain, (alpha - 1) * floor / gain)


def order(
    goal: Array,
    defects: Defects,
    top_level: int,
    floor: float,
    weights: Callable[[Array], Array],
) -> Array | None:
    """Which row of the goal lies on every row of the array; None for each on its own.

    The sum of squared errors of weights is what is lowered: greedily, the row where the choice
    matters most first, and then by swaps of two rows until none helps. Cells of lines that
    touch are taken for working ones.

    Args:
        goal: levels [rows, columns].
        defects: of the array.
        top_level: where cells that are stuck at g_max are.
        floor: g_min in levels: an open line lacks it too.
        weights: what errors of levels [n, columns] are in weights, [n, outputs].
    """
    broken = np.flatnonzero((defects.stuck != 0).any(axis=1) | defects.open_rows)
    if not len(broken):
        return None
    cost = np.zeros((len(goal), len(goal)))  # by row of the array, and of the goal
    ends = np.where(defects.stuck > 0, float(top_level), 0.0)
    for row in broken.tolist():
        found = np.where(defects.stuck[row] != 0, ends[row], goal)
        dead = defects.open_columns | defects.open_rows[row]
        error = np.where(dead, -floor, found) - goal
        cost[row] = (weights(error) ** 2).sum(axis=1)
    chosen = _swapped(cost, _greedy(cost))
    every = np.arange(len(goal))
    return chosen if cost[every, chosen].sum() < np.trace(cost) else None


def _greedy(cost: Array) -> Array:
    chosen, free = np.zeros(len(cost), np.intp), np.ones(len(cost), np.bool_)
    matters = cost.mean(axis=1) - cost.min(axis=1)
    for row in np.argsort(-matters, kind="stable").tolist():
        chosen[row] = np.argmin(np.where(free, cost[row], np.inf))
        free[chosen[row]] = False
    return chosen


def _swapped(cost: Array, chosen: Array) -> Array:
    """Two rows at a time change places, the best two first; as often as there are rows."""
    for _ in range(len(cost)):
        placed = cost[:, chosen]  # of what now lies on the row of its second axis
        own = np.diagonal(placed)
        gained = own[:, None] + own[None, :] - placed - placed.T
        one, other = np.unravel_index(int(np.argmax(gained)), gained.shape)
        if gained[one, other] <= 0:
            break
        chosen[[one, other]] = chosen[[other, one]]
    return chosen
