"""A grid over a chip's fields and a few options of the lowering, with its Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from tetrapla.ir.errors import ModelError, nearest
from tetrapla.pareto import front
from tetrapla.simulators.report import Report, to_json
from tetrapla.sweeps.points import Held, Points
from tetrapla.sweeps.ranges import MAX_POINTS

if TYPE_CHECKING:
    from tetrapla.frames import Frame

SCHEMA = "tetrapla.sweep/1"
OBJECTIVES: Mapping[str, Callable[[Report], float | None]] = {
    "latency": lambda report: report.time_s,
    "energy": lambda report: report.energy.total_pj,
    # every objective is made smaller, so accuracy counts its errors
    "accuracy": lambda report: None if report.accuracy is None else 1 - report.accuracy.target,
    "area": lambda report: report.area_mm2,
    "dynamic_energy": lambda report: report.energy.dynamic_pj,
}


@dataclass(frozen=True)
class Point:
    """One design: what was set, what came out, whether no other beats it everywhere."""

    settings: Mapping[str, str]
    report: Report
    pareto: bool


@dataclass(frozen=True)
class Sweep:
    """The points of a grid in the order of its values, the last field fastest."""

    objectives: tuple[str, ...]
    points: tuple[Point, ...]

    @property
    def passed(self) -> bool:
        """Whether no cross-check failed."""
        checks = [c for p in self.points for c in (p.report.cross_check, p.report.second_check)]
        return all(check is None or check.passed for check in checks)

    def to_dict(self) -> dict[str, Any]:
        """A list of points, each with its settings and its report."""
        points = [
            {"settings": dict(p.settings), "pareto": p.pareto, "report": p.report.to_dict()}
            for p in self.points
        ]
        return {"schema": SCHEMA, "objectives": list(self.objectives), "points": points}

    def to_json(self) -> str:
        """As JSON: the same command gives the same bytes."""
        return to_json(self.to_dict())

    def to_frame(self) -> Frame:
        """A row per point, for CSV, pandas, polars and Parquet."""
        from tetrapla.frames import of_sweep

        return of_sweep(self)

    def to_csv(self) -> str:
        """One row per point: what it sets, and what `compare --csv` has of a report."""
        return self.to_frame().to_csv()

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`, a row per point."""
        return self.to_frame().to_pandas()

    def to_polars(self) -> Any:
        """A `polars.DataFrame`, a row per point."""
        return self.to_frame().to_polars()

    def _repr_html_(self) -> str:
        from tetrapla.notebook import sweep_html

        return sweep_html(self)


def swept(
    points: Points,
    grid: Mapping[str, Sequence[str]],
    objectives: Sequence[str] = (),
) -> Sweep:
    """Run every point of a grid.

    Args:
        points: the model, the machine and the options of every point.
        grid: values by field, as text.
        objectives: keys of `OBJECTIVES`; empty takes those that are known.
    """
    check_objectives(objectives)
    check_axes(grid)
    combinations = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    # a wrong field is an error before the work starts
    held = [points.held(each) for each in combinations]
    check_known(points, held, objectives)
    return judged(combinations, points.computed(held), objectives)


def judged(
    combinations: Sequence[Mapping[str, str]],
    found: Sequence[Report],
    objectives: Sequence[str],
) -> Sweep:
    """Points with what came out, and which of them are on the front."""
    chosen = tuple(objectives) or _known(found)
    best = front([[OBJECTIVES[key](report) for key in chosen] for report in found])
    points = zip(combinations, found, best, strict=True)
    return Sweep(chosen, tuple(Point(*point) for point in points))


def check_objectives(objectives: Sequence[str]) -> None:
    """Refuse a name that is no objective's."""
    for name in objectives:
        if name not in OBJECTIVES:
            there = ", ".join(OBJECTIVES)
            close = nearest(name, OBJECTIVES).removesuffix("?")
            hint = f"{close}, or another of" if close else "; there are"
            raise ModelError(f"no objective '{name}'{hint}: {there}")


def check_known(points: Points, held: Sequence[Held], objectives: Sequence[str]) -> None:
    """Refuse an objective that some point cannot have."""
    areas = (each.design.chip.spec.area_mm2 for each in held)
    known = {
        "area": lambda: all(area is not None for area in areas),
        "accuracy": lambda: all(t.expected is not None for t in points.trials(held)),
    }
    ways = {"area": "--set chip.area=…", "accuracy": "--data with labels"}
    for name in objectives:
        if name in known and not known[name]():
            raise ModelError(
                f"--objective {name} must be known, not n/a; give {ways[name]} or drop it"
            )


def check_axes(axes: Mapping[str, Sequence[str]], most: int = MAX_POINTS) -> None:
    """Refuse no point at all, and more than anybody waits for."""
    count = prod(len(values) for values in axes.values())
    if not axes or not count:
        raise ModelError("sweep must have at least one --set FIELD=V1,V2, not none")
    if count > most:
        raise ModelError(
            f"sweep must have at most {most} points, not {count}; --trials N searches them"
        )


def _known(found: Sequence[Report]) -> tuple[str, ...]:
    """Latency and energy, and accuracy where it was measured; area is asked for by name."""
    names = ("latency", "energy", "accuracy")
    return tuple(k for k in names if all(OBJECTIVES[k](r) is not None for r in found))
