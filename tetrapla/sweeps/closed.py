"""A sweep in closed form: every point by formula, those of its front by the machine itself.

Where a family has formulas (`Target.closed_form`), or SCALE-Sim's are asked for, a hundred
thousand designs take seconds. A formula is an estimate, so the designs that no other beats in
it are simulated as any point is: what is reported is exact and checked, and beside it stands
how far the estimates were off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tetrapla.designs import Design
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.module import Module
from tetrapla.simulators.price_ import CLOCK, STATIC
from tetrapla.simulators.report import to_json
from tetrapla.simulators.systolic.scalesim.closed_form import totals
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.sweeps.columns import AREA, PRICE, Columns, Floats, Grid, columns
from tetrapla.sweeps.grid import OBJECTIVES, Sweep, check_axes, check_objectives, judged
from tetrapla.sweeps.points import Held, Points, is_option
from tetrapla.trials import options_of

MAX_POINTS: Final = 1_000_000  # assumed: more is a typing error
MOST_EXACT: Final = 32  # points that are simulated, assumed: seconds each

_ESTIMATED: Final = ("latency", "energy", "area")
_SCALESIM: Final = {"array.rows": "array.rows", "array.cols": "array.cols"}


@dataclass(frozen=True)
class Estimates:
    """Every point of a grid by formula, a column each; None is unknown."""

    cycles: Floats
    time_s: Floats
    energy_pj: Floats | None
    area_mm2: Floats | None

    def of(self, objective: str) -> Floats | None:
        """What an objective makes smaller."""
        known = {"latency": self.time_s, "energy": self.energy_pj, "area": self.area_mm2}
        return known.get(objective)


@dataclass(frozen=True)
class ClosedSweep:
    """All points of a grid by formula, and some of its front by simulation.

    Attributes:
        axes: values by field; points are numbered with the last field fastest.
        front: numbers of the points that no other beats by formula.
        exact: those that were simulated, in the order of `simulated`.
    """

    axes: Mapping[str, Sequence[str]]
    estimates: Estimates
    front: tuple[int, ...]
    simulated: tuple[int, ...]
    exact: Sweep

    @property
    def passed(self) -> bool:
        """Whether no cross-check failed."""
        return self.exact.passed

    def errors(self, objective: str) -> list[float | None]:
        """By simulated point, estimate / exact - 1; None where either is unknown."""
        found = self.estimates.of(objective)
        return [
            None if found is None or not exact else float(found[number]) / exact - 1
            for number, exact in zip(
                self.simulated,
                (OBJECTIVES[objective](point.report) for point in self.exact.points),
                strict=True,
            )
        ]

    def to_dict(self) -> dict[str, Any]:
        """The simulated points as in any sweep, and all points as columns."""
        found = self.estimates
        listed = {
            name: None if column is None else column.tolist()
            for name, column in vars(found).items()
        }
        return {
            **self.exact.to_dict(),
            "closed_form": {
                "axes": {name: list(values) for name, values in self.axes.items()},
                "columns": {**listed, "cycles": found.cycles.astype(np.int64).tolist()},
                "front": list(self.front),
                "simulated": list(self.simulated),
                "time_errors": self.errors("latency"),
                "energy_errors": self.errors("energy"),
            },
        }

    def to_json(self) -> str:
        """As JSON: the same command gives the same bytes."""
        return to_json(self.to_dict())

    def summary(self) -> str:
        """A sentence for people."""
        count, front, done = len(self.estimates.cycles), len(self.front), len(self.simulated)
        text = f"{count:,} points by formula, {front:,} of them on its front, {done} simulated"
        worst = {
            name: max((abs(e) for e in self.errors(key) if e is not None), default=None)
            for name, key in (("time", "latency"), ("energy", "energy"))
        }
        off = [f"{name} {100 * e:.2g} %" for name, e in worst.items() if e is not None]
        return text + (f"; the formula is off by at most {', '.join(off)} there" if off else "")


def closed(
    points: Points, grid: Mapping[str, Sequence[str]], objectives: Sequence[str] = ()
) -> ClosedSweep:
    """Every point of a grid by formula, then its front by simulation.

    Args:
        points: the model, the machine and the options of every point.
        grid: values by field, as text.
        objectives: keys of `OBJECTIVES` but accuracy; empty takes those that are known.

    Raises:
        UnsupportedError: no formula is for the model, the machine or a field.
    """
    check_objectives(objectives)
    for name in objectives:
        if name not in _ESTIMATED:
            raise UnsupportedError(
                f"--objective must be {', '.join(_ESTIMATED)} with --closed-form, not {name}, "
                "for which there is no formula; leave one of them out"
            )
    if "dynamic_energy" in objectives:
        raise UnsupportedError(
            "--objective dynamic_energy must come without --closed-form, which has energy "
            "alone; leave one of them out"
        )
    check_axes(grid, MAX_POINTS)
    whole = Grid(grid)
    found = estimates(points, whole)
    wanted = tuple(objectives) or tuple(
        name for name in ("latency", "energy") if found.of(name) is not None
    )
    rows = [_known(found, name) for name in wanted]
    front = best(np.stack(rows, axis=1))
    simulated = _spread(front, rows)
    settings = [whole.settings(number) for number in simulated]
    reports = points.computed([points.held(each) for each in settings])
    exact = judged(settings, reports, wanted)
    return ClosedSweep(grid, found, tuple(map(int, front)), simulated, exact)


def best(rows: Floats) -> NDArray[np.intp]:
    """Numbers of the rows that no other is at least as small as, and smaller somewhere."""
    order = np.lexsort(rows.T[::-1])
    left, found = rows[order], list[NDArray[np.intp]]()
    while len(order):
        # the first in order is beaten by none; what it beats goes, its equals stay
        first = left[0]
        equal = (left == first).all(axis=1)
        found.append(order[equal])
        kept = ~(left >= first).all(axis=1)
        left, order = left[kept], order[kept]
    return np.sort(np.concatenate(found)) if found else order


def _spread(front: NDArray[np.intp], rows: Sequence[Floats]) -> tuple[int, ...]:
    """Points of the front that differ, at most `MOST_EXACT`, evenly along an objective."""
    values = np.stack([row[front] for row in rows], axis=1)
    _, first = np.unique(values, axis=0, return_index=True)
    places = np.linspace(0, len(first) - 1, min(len(first), MOST_EXACT)).round().astype(int)
    return tuple(sorted(int(front[first[place]]) for place in dict.fromkeys(places.tolist())))


def _known(found: Estimates, objective: str) -> Floats:
    column = found.of(objective)
    if column is None:
        raise ModelError(
            f"--objective {objective} must be known, not n/a; give its prices or drop it"
            if objective == "energy"
            else f"--objective {objective} must be known, not n/a; give --set chip.area=… or "
            "drop it"
        )
    return column


def estimates(points: Points, grid: Grid) -> Estimates:
    """All points, those of one model and format together."""
    options = {name: values for name, values in grid.axes.items() if is_option(name)}
    fields = {name: values for name, values in grid.axes.items() if not is_option(name)}
    inner, count = Grid(fields), len(grid)
    made: list[tuple[NDArray[np.intp], Estimates]] = []
    for values in product(*options.values()):
        chosen = dict(zip(options, values, strict=True))
        which = np.ones(count, np.bool_)
        for name, value in chosen.items():
            which &= grid.places[name] == grid.axes[name].index(value)
        # the other fields keep their order, so they are the inner grid's points in turn
        made.append((np.flatnonzero(which), _of_one(points, inner, chosen)))
    places, parts = [where for where, _ in made], [part for _, part in made]
    return Estimates(
        _joined(places, [part.cycles for part in parts], count),
        _joined(places, [part.time_s for part in parts], count),
        _joined_if_known(places, [part.energy_pj for part in parts], count),
        _joined_if_known(places, [part.area_mm2 for part in parts], count),
    )


def _joined(
    places: Sequence[NDArray[np.intp]], columns: Sequence[Floats], count: int
) -> Floats:
    """One column of parts of it."""
    found = np.empty(count)
    for where, column in zip(places, columns, strict=True):
        found[where] = column
    return found


def _joined_if_known(
    places: Sequence[NDArray[np.intp]], columns: Sequence[Floats | None], count: int
) -> Floats | None:
    known = [column for column in columns if column is not None]
    return _joined(places, known, count) if len(known) == len(columns) else None


def _of_one(points: Points, grid: Grid, chosen: Mapping[str, str]) -> Estimates:
    """The points of one model in one format."""

    def held(fields: Mapping[str, str]) -> Held:
        return points.held({**chosen, **fields})

    first = held(grid.settings(0))
    if first.settings.compat:
        return _scalesim(points, grid, first, lambda fields: held(fields).design)
    module = points.model(first.settings)
    target = first.design.target
    if target.closed_form is None:
        raise UnsupportedError(
            f"--closed-form must have a target that has formulas, not {first.design.label} of "
            f"the family {target.family}; leave it out"
        )
    options = options_of(first.settings)
    shapes = Module.parse(module.text(), {}, module.name)
    formulas = target.closed_form(shapes, first.design.spec(options), options)
    known = columns(grid, lambda fields: held(fields).design, formulas.fields)
    count = len(grid)
    inputs = {name: _full(known, name, count) for name in formulas.fields}
    for number in np.flatnonzero(formulas.illegal(inputs))[:1]:
        held(grid.settings(int(number)))  # says what is wrong with it
    found = formulas(inputs)
    time_s = found.cycles / inputs["clock_hz"]
    counts = {**found.actions, STATIC: time_s}
    if f"{PRICE}{CLOCK}" in known.values:
        counts[CLOCK] = found.cycles
    return Estimates(found.cycles, time_s, _energy(counts, known), _area(known, count))


def _scalesim(
    points: Points, grid: Grid, first: Held, read: Callable[[Mapping[str, str]], Design]
) -> Estimates:
    """SCALE-Sim's own formulas, which give what `--compat scalesim` reports."""
    from tetrapla import compat

    spec = first.design.chip.spec
    if not isinstance(spec, SystolicSpec):
        raise compat.needs_systolic(first.design)
    known = columns(grid, read, {**_SCALESIM, "clock_hz": "clock"})
    count = len(grid)
    rows, cols = (_full(known, name, count).astype(np.int64) for name in _SCALESIM)
    nodes, config, layers = compat.layers_of(points.model(first.settings), first.design)
    if config is not None and config.text("InterfaceBandwidth") != "CALC":
        raise UnsupportedError(
            "--closed-form must have InterfaceBandwidth CALC in the .cfg, not USER, whose "
            "stalls have no formula; leave --closed-form out"
        )
    # of each of its layers SCALE-Sim reports one cycle too few
    each = np.broadcast_to(layers.count, len(nodes)).sum()
    cycles = totals(layers, rows, cols, compat.DATAFLOWS[spec.array.dataflow]) - each
    found = cycles.astype(np.float64)
    return Estimates(found, found / _full(known, "clock_hz", count), None, _area(known, count))


def _full(known: Columns, name: str, count: int) -> Floats:
    value = known.values[name]
    assert value is not None, "a number of the machine is known"
    return np.broadcast_to(np.asarray(value, np.float64), (count,))


def _area(known: Columns, count: int) -> Floats | None:
    return None if known.values[AREA] is None else _full(known, AREA, count)


def _energy(counts: Mapping[str, Floats], known: Columns) -> Floats | None:
    """Counts times prices; None where one that is needed is unknown."""
    total: Floats = np.zeros(len(counts[STATIC]))
    for action in sorted(counts):
        price = known.values[f"{PRICE}{action}"]
        if price is not None:
            total = total + counts[action] * price
        elif counts[action].any():
            return None
    return total
