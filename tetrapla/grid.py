"""A grid over a chip's fields and a few options of the lowering, with its Pareto front."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from tetrapla.designs import design
from tetrapla.ir.errors import ModelError, nearest
from tetrapla.ir.module import Module
from tetrapla.progress import bar
from tetrapla.settings import Settings, command, whole
from tetrapla.simulators.report import Report, to_json
from tetrapla.trials import options_of, results, trial

SCHEMA = "tetrapla.sweep/1"
MAX_POINTS = 1024  # assumed: a grid that a person reads
OPTIONS: Mapping[str, Callable[[str, str], int | str | None]] = {  # swept like a chip's fields
    "timesteps": whole,
    "batch": whole,
    "quant": lambda option, text: text,
}
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


def parse_grid(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read ``FIELD=V1,V2`` and ``FIELD=A:B`` (whole numbers from A to B, both included).

    Raises:
        ModelError: one is neither, or is given twice.
    """
    grid: dict[str, tuple[str, ...]] = {}
    for text in texts:
        field, _, values = (part.strip() for part in text.partition("="))
        found = _values(text, values)
        if not field or not all(found):
            raise ModelError(
                f"--set must be FIELD=V1,V2 or FIELD=A:B, not '{text}'; write array.rows=16,32"
            )
        if field in grid:
            raise ModelError(f"--set must name '{field}' once, not twice; join its values")
        grid[field] = found
    return grid


def swept(
    read: Callable[[Settings], Module],
    path: str | None,
    target: str,
    grid: Mapping[str, Sequence[str]],
    objectives: Sequence[str],
    settings: Settings,
) -> Sweep:
    """Run every point of a grid.

    Args:
        read: gives the float model with a point's batch.
        path: the model as a command names it; None where it has no file.
        target: chip, family or YAML file.
        grid: values by field, as text.
        objectives: keys of `OBJECTIVES`; empty takes those that are known.
        settings: the common options of every point.
    """
    _check_objectives(objectives)
    _check_grid(grid)
    combinations = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    held = [_settings(settings, point) for point in combinations]
    # a wrong field is an error before the work starts
    designs = [design(target, each.overrides) for each in held]
    _check_known(
        "area", objectives, all(d.chip.spec.chip.area_mm2 is not None for d in designs)
    )
    given = {each.batch: each for each in held}
    trials = {batch: trial(read(each), each) for batch, each in given.items()}
    _check_known("accuracy", objectives, all(t.expected is not None for t in trials.values()))
    found: list[Report] = []
    with bar(sum(d.seeds(options_of(s)) for d, s in zip(designs, held, strict=True))) as step:
        for each, chosen in zip(designs, held, strict=True):
            said = command("simulate", [path], [target], chosen) if path is not None else ""
            given_trial = trials[chosen.batch]
            (done,) = results(given_trial, [each], chosen, said, step, brief=True)
            found.append(done.report)
    return _judged(combinations, found, objectives)


def front(rows: Sequence[Sequence[float | None]]) -> list[bool]:
    """Whether no other row is at least as small everywhere and smaller somewhere."""

    def beats(a: Sequence[float | None], b: Sequence[float | None]) -> bool:
        pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
        return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)

    known = [None not in row for row in rows]
    return [
        known[i] and not any(known[j] and beats(rows[j], row) for j in range(len(rows)))
        for i, row in enumerate(rows)
    ]


def _judged(
    combinations: Sequence[Mapping[str, str]],
    found: Sequence[Report],
    objectives: Sequence[str],
) -> Sweep:
    chosen = tuple(objectives) or _known(found)
    best = front([[OBJECTIVES[key](report) for key in chosen] for report in found])
    points = zip(combinations, found, best, strict=True)
    return Sweep(chosen, tuple(Point(*point) for point in points))


def _values(text: str, values: str) -> tuple[str, ...]:
    first, colon, last = (part.strip() for part in values.partition(":"))
    if not colon or "," in values:
        found = tuple(value.strip() for value in values.split(","))
        for value, count in Counter(found).items():
            if value and count > 1:
                raise ModelError(
                    f"--set must give each value once, not '{value}' {count} times in '{text}'"
                )
        return found
    if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
        raise ModelError(f"--set A:B must be whole numbers, not '{text}'; list the values")
    low, high = whole("--set", first) or 0, whole("--set", last) or 0
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
            close = nearest(name, OBJECTIVES).removesuffix("?")
            hint = f"{close}, or another of" if close else "; there are"
            raise ModelError(f"no objective '{name}'{hint}: {there}")


def _check_known(name: str, objectives: Sequence[str], known: bool) -> None:
    if name in objectives and not known:
        way = {"area": "--set chip.area=…", "accuracy": "--data with labels"}[name]
        raise ModelError(f"--objective {name} must be known, not n/a; give {way} or drop it")


def _check_grid(grid: Mapping[str, Sequence[str]]) -> None:
    points = prod(len(values) for values in grid.values())
    if not grid or not points:
        raise ModelError("sweep must have at least one --set FIELD=V1,V2, not none")
    if points > MAX_POINTS:
        raise ModelError(f"sweep must have at most {MAX_POINTS} points, not {points}")


def _settings(settings: Settings, point: Mapping[str, str]) -> Settings:
    fields = [f"{name}={value}" for name, value in point.items() if name not in OPTIONS]
    options: dict[str, Any] = {
        name: OPTIONS[name](f"--set {name}", value)
        for name, value in point.items()
        if name in OPTIONS
    }
    return replace(settings, overrides=(*settings.overrides, *fields), **options)


def _known(found: Sequence[Report]) -> tuple[str, ...]:
    """Latency and energy, and accuracy where it was measured; area is asked for by name."""
    names = ("latency", "energy", "accuracy")
    return tuple(k for k in names if all(OBJECTIVES[k](r) is not None for r in found))
