"""Energy = actions x cost, for every machine: counting is the machine's, a cost is data.

An action is named ``unit.action``, for example ``mac.int8``; its price is in picojoules.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING

from tetrapla.ir.errors import SpecError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Energy:
    """What a run costs; `None` where a price that it needs is unknown, never zero."""

    total_pj: float | None
    by_unit: Mapping[str, float | None]
    warnings: tuple[str, ...] = ()


def price(actions: Mapping[str, int | float], cost: Mapping[str, float | None]) -> Energy:
    """Return the energy of counted actions.

    Args:
        actions: counts by action, ``unit.action``.
        cost: picojoules by action; `None` where no source gives the price.

    Raises:
        SpecError: an action that the cost table does not list.
    """
    _refuse_unlisted(actions, cost)
    parts: dict[str, list[float]] = {}
    unknown: dict[str, list[str]] = {}
    for action in sorted(actions):
        unit, count, cost_pj = action.partition(".")[0], actions[action], cost[action]
        parts.setdefault(unit, [])
        if cost_pj is not None:
            parts[unit].append(float(count) * cost_pj)
        elif count != 0:  # nothing done costs nothing, whatever the price
            unknown.setdefault(unit, []).append(action)
    by_unit = {unit: None if unit in unknown else fsum(pj) for unit, pj in parts.items()}
    if unknown:
        names = ", ".join(name for names in unknown.values() for name in names)
        warning = f"the energy total is null: no source gives the price of {names}"
        return Energy(None, by_unit, (warning,))
    return Energy(fsum(pj for pj in by_unit.values() if pj is not None), by_unit)


def summed(counts: Iterable[Mapping[str, int | float]]) -> dict[str, int | float]:
    """Return the counts of several parts added up, in the order of the names."""
    total: dict[str, int | float] = {}
    for part in counts:
        for action, count in part.items():
            total[action] = total.get(action, 0) + count
    return dict(sorted(total.items()))


def _refuse_unlisted(
    actions: Mapping[str, int | float], cost: Mapping[str, float | None]
) -> None:
    unlisted = sorted(set(actions) - set(cost))
    if not unlisted:
        return
    hint = nearest(unlisted[0], cost) if len(unlisted) == 1 else ""
    hint = hint or "; add its price, or null where no source gives one"
    raise SpecError(f"cost must list every action, not leave out {', '.join(unlisted)}{hint}")
