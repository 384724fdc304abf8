"""Energy = actions x cost, for every machine: counting is the machine's, a cost is data.

An action is named ``unit.action``, for example ``mac.int8``; its price is in picojoules. What a
chip draws whatever it computes is a power, priced by the time: ``static.second``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING

from tetrapla.ir.errors import SpecError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


STATIC = "static.second"  # its price is chip.static_power
CLOCK = "clock.cycle"

_LEAST_SHARE = 0.01  # of an energy that is worth a warning, assumed

# of a sum of up to a million products, 2^-53 each
_ROUNDING = 1e-10


@dataclass(frozen=True)
class Energy:
    """What a run costs; `None` where a price that it needs is unknown, never zero."""

    total_pj: float | None
    by_unit: Mapping[str, float | None]
    warnings: tuple[str, ...] = ()

    @property
    def dynamic_pj(self) -> float | None:
        """What the work takes: all but `static`, which draws for as long as it lasts."""
        static = STATIC.partition(".")[0]
        parts = [pj for unit, pj in self.by_unit.items() if unit != static]
        known = [pj for pj in parts if pj is not None]
        return fsum(known) if len(known) == len(parts) else None


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
        names = ", ".join(_shown(name) for names in unknown.values() for name in names)
        warning = f"the energy total is null: no source gives the price of {names}"
        return Energy(None, by_unit, (warning,))
    return Energy(fsum(pj for pj in by_unit.values() if pj is not None), by_unit)


def standing(
    cost: Mapping[str, float | None], time_s: float, cycles: float = 0.0
) -> dict[str, int | float]:
    """The actions of a run that go with its time and not with its work.

    ``clock.cycle`` is there where `cost` has a price for a cycle of the clock tree; elsewhere
    the static power holds it, at the clock that the power was published for.

    Args:
        cost: the chip's prices by action.
        time_s: of the run.
        cycles: of the run; 0 for a chip without a clock.
    """
    clock = {CLOCK: cycles} if CLOCK in cost else {}
    return {**clock, STATIC: time_s}


def energy_range(
    actions: Mapping[str, int | float],
    cost: Mapping[str, float | None],
    ranges: Mapping[str, tuple[float, float]],
) -> tuple[float, float] | None:
    """Between which picojoules the total lies if each price lies within its range.

    Args:
        actions: counts by action.
        cost: picojoules by action.
        ranges: ends by action; a price without them is taken as it is.

    Returns:
        The ends, or None where no action that was done has a range, or a price is unknown.
    """
    done = {action: float(count) for action, count in actions.items() if count}
    if not any(action in ranges for action in done):
        return None
    low: list[float] = []
    high: list[float] = []
    for action, count in done.items():
        known = cost.get(action)
        if known is None:
            return None
        ends = ranges.get(action, (known, known))
        low.append(count * ends[0])
        high.append(count * ends[1])
    return fsum(low), fsum(high)


def power_warnings(energy: Energy, time_s: float, tdp_w: float | None) -> tuple[str, ...]:
    """A sentence where the run's average power is over the chip's TDP."""
    if energy.total_pj is None or not time_s or tdp_w is None:
        return ()
    power_w = energy.total_pj / time_s * 1e-12
    if power_w <= tdp_w * (1 + _ROUNDING):
        return ()
    return (
        f"the average power, {power_w:.3g} W, is over chip.tdp, {tdp_w:.3g} W: the prices are "
        "too high together or the chip would lower its clock, so time is a lower bound",
    )


def weak_warnings(
    actions: Mapping[str, int | float], cost: Mapping[str, float | None], weak: Iterable[str]
) -> tuple[str, ...]:
    """A sentence on the share of a run's energy that rests on assumed prices.

    Args:
        actions: counts by action.
        cost: picojoules by action; where one that is needed is unknown nothing is said, since
            the total is unknown too.
        weak: the actions whose price is assumed.
    """
    if any(count and cost.get(action) is None for action, count in actions.items()):
        return ()
    energies = {action: float(n) * (cost[action] or 0.0) for action, n in actions.items() if n}
    guessed = {action: energies[action] for action in set(weak) & set(energies)}
    total, part = fsum(energies.values()), fsum(guessed.values())
    if part < _LEAST_SHARE * total or not part:
        return ()
    names = [_shown(action) for action in sorted(guessed, key=lambda a: (-guessed[a], a))]
    return (
        f"{100 * part / total:.3g} % of the energy rests on assumed prices, most of it on "
        f"{names[0]}; {len(names)} of {len(energies)} prices are assumed",
    )


def summed(counts: Iterable[Mapping[str, int | float]]) -> dict[str, int | float]:
    """Return the counts of several parts added up, in the order of the names."""
    total: dict[str, int | float] = {}
    for part in counts:
        for action, count in part.items():
            total[action] = total.get(action, 0) + count
    return dict(sorted(total.items()))


def _shown(action: str) -> str:
    return "static.second (chip.static_power)" if action == STATIC else action


def _refuse_unlisted(
    actions: Mapping[str, int | float], cost: Mapping[str, float | None]
) -> None:
    unlisted = sorted(set(actions) - set(cost))
    if not unlisted:
        return
    hint = nearest(unlisted[0], cost) if len(unlisted) == 1 else ""
    hint = hint or "; add its price, or null where no source gives one"
    raise SpecError(f"cost must list every action, not leave out {', '.join(unlisted)}{hint}")
