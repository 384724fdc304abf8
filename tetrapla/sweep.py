"""A grid over a chip's fields and a few options of the lowering, with its Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from tetrapla.backends.target_ import find
from tetrapla.ir.errors import ModelError, nearest
from tetrapla.ir.module import Module
from tetrapla.progress import bar
from tetrapla.run import reports
from tetrapla.settings import Settings, command
from tetrapla.simulators.report import Report, to_json

SCHEMA = "tetrapla.sweep/1"
MAX_POINTS = 1024  # assumed: a grid that a person reads
OPTIONS = {"timesteps": int, "batch": int, "quant": str}  # swept like a chip's fields
OBJECTIVES: Mapping[str, Callable[[Report], float | None]] = {
    "latency": lambda report: report.time_s,
    "energy": lambda report: report.energy.total_pj,
    # every objective is made smaller, so accuracy counts its errors
    "accuracy": lambda report: None if report.accuracy is None else 1 - report.accuracy.target,
    "area": lambda report: report.area_mm2,
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
        checks = [point.report.cross_check for point in self.points]
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


def parse_grid(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read ``FIELD=V1,V2`` and ``FIELD=A:B`` (whole numbers from A to B, both included).

    Raises:
        ModelError: one is neither, or is given twice.
    """
    grid: dict[str, tuple[str, ...]] = {}
    for text in texts:
        field, equals, values = text.partition("=")
        if not field or not equals or not values:
            raise ModelError(f"--set must be FIELD=V1,V2 or FIELD=A:B, not '{text}'")
        if field in grid:
            raise ModelError(f"--set must name '{field}' once, not twice; join its values")
        grid[field] = _values(text, values)
    return grid


def swept(
    module: Module,
    target: str,
    grid: Mapping[str, Sequence[str]],
    objectives: Sequence[str],
    settings: Settings,
    name: str,
    load: Callable[[Settings], Module] | None,
) -> Sweep:
    """Run every point of a grid.

    Args:
        module: the float model, loaded with `settings`.
        target: chip, family or YAML file.
        grid: values by field, as text.
        objectives: keys of `OBJECTIVES`; empty takes those that are known.
        settings: the common options of every point.
        name: the model as the command names it.
        load: reads the model again for a point's batch; None where that cannot be done.
    """
    _check_objectives(objectives)
    _check_grid(grid, load)
    combinations = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    held = [_settings(settings, point) for point in combinations]
    for each in held:  # a wrong field is an error before the work starts
        find(target, each.overrides)
    found: list[Report] = []
    with bar("sweep", len(held)) as done:
        for each in held:
            model = load(each) if load and each.batch != settings.batch else module
            said = command("simulate", [name], [target], each)
            found += reports(model, [target], each, said)
            done(1)
    chosen = tuple(objectives) or _known(found)
    front = _front([[OBJECTIVES[key](report) for key in chosen] for report in found])
    points = zip(combinations, found, front, strict=True)
    return Sweep(chosen, tuple(Point(*point) for point in points))


def _values(text: str, values: str) -> tuple[str, ...]:
    first, colon, last = values.partition(":")
    if not colon or "," in values:
        return tuple(values.split(","))
    if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
        raise ModelError(f"--set A:B must be whole numbers, not '{text}'; list the values")
    low, high = int(first), int(last)
    if not low <= high < low + MAX_POINTS:
        raise ModelError(
            f"--set A:B must go upwards over at most {MAX_POINTS} values, not '{text}'; "
            "list fewer values"
        )
    return tuple(str(value) for value in range(low, high + 1))


def _check_objectives(objectives: Sequence[str]) -> None:
    for name in objectives:
        if name not in OBJECTIVES:
            there = ", ".join(OBJECTIVES)
            hint = nearest(name, OBJECTIVES)
            raise ModelError(f"no objective '{name}'{hint}; there are: {there}")


def _check_grid(grid: Mapping[str, Sequence[str]], load: object) -> None:
    points = prod(len(values) for values in grid.values())
    if not grid or not points:
        raise ModelError("sweep must have at least one --set FIELD=V1,V2, not none")
    if points > MAX_POINTS:
        raise ModelError(f"sweep must have at most {MAX_POINTS} points, not {points}")
    if "batch" in grid and load is None:
        raise ModelError("a Module has one batch; sweep over batch with the model's path")


def _settings(settings: Settings, point: Mapping[str, str]) -> Settings:
    fields = [f"{name}={value}" for name, value in point.items() if name not in OPTIONS]
    held = replace(settings, overrides=(*settings.overrides, *fields))
    for name, kind in OPTIONS.items():
        if name in point:
            try:
                held = replace(held, **{name: kind(point[name])})
            except ModelError:
                raise
            except ValueError:
                raise ModelError(
                    f"{name} must be a whole number, not '{point[name]}'; mend its --set"
                ) from None
    return held


def _known(found: Sequence[Report]) -> tuple[str, ...]:
    """Latency and energy, and accuracy where it was measured; area is asked for by name."""
    names = ("latency", "energy", "accuracy")
    return tuple(k for k in names if all(OBJECTIVES[k](r) is not None for r in found))


def _front(rows: Sequence[Sequence[float | None]]) -> list[bool]:
    """Whether no other row is at least as small everywhere and smaller somewhere."""

    def beats(a: Sequence[float | None], b: Sequence[float | None]) -> bool:
        pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
        return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)

    known = [None not in row for row in rows]
    return [
        known[i] and not any(known[j] and beats(rows[j], row) for j in range(len(rows)))
        for i, row in enumerate(rows)
    ]
