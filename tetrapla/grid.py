"""A grid over a chip's fields and a few options of the lowering, with its Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from tetrapla.designs import Design, design
from tetrapla.executors import Executor
from tetrapla.executors.local import Serial
from tetrapla.ir.errors import ModelError, nearest
from tetrapla.ir.module import Module
from tetrapla.progress import bar
from tetrapla.ranges import MAX_POINTS
from tetrapla.run import Trial
from tetrapla.settings import Settings, command, whole
from tetrapla.simulators.report import Report, to_json
from tetrapla.store import Store, point_key, trial_digest
from tetrapla.trials import results, trial

SCHEMA = "tetrapla.sweep/1"
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


def swept(
    read: Callable[[Settings], Module],
    path: str | None,
    target: str,
    grid: Mapping[str, Sequence[str]],
    objectives: Sequence[str],
    settings: Settings,
    store: Store | None = None,
    executor: Executor | None = None,
) -> Sweep:
    """Run every point of a grid.

    Args:
        read: gives the float model with a point's batch.
        path: the model as a command names it; None where it has no file.
        target: chip, family or YAML file.
        grid: values by field, as text.
        objectives: keys of `OBJECTIVES`; empty takes those that are known.
        settings: the common options of every point.
        store: has the points that were computed before, and takes the others.
        executor: computes them; None for this process.
    """
    _check_objectives(objectives)
    _check_grid(grid)
    combinations = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    held = [_settings(settings, point) for point in combinations]
    # a wrong field is an error before the work starts
    designs = [design(target, each.overrides) for each in held]
    _check_known("area", objectives, all(d.chip.spec.area_mm2 is not None for d in designs))
    given = {each.batch: each for each in held}
    trials = {batch: trial(read(each), each) for batch, each in given.items()}
    _check_known("accuracy", objectives, all(t.expected is not None for t in trials.values()))
    points = [
        _Point(target, each, command("simulate", [path], [target], each) if path else "")
        for each in held
    ]
    found = _computed(points, designs, trials, store, executor or Serial())
    return _judged(combinations, found, objectives)


@dataclass(frozen=True)
class _Point:
    """What a worker is sent of one point."""

    target: str
    settings: Settings
    said: str


def _computed(
    points: Sequence[_Point],
    designs: Sequence[Design],
    trials: Mapping[int | None, Trial],
    store: Store | None,
    executor: Executor,
) -> list[Report]:
    """The reports of all points in their order; what the store has is not computed."""
    found: dict[int, Report] = {}
    keys: list[str] = []
    if store is not None:
        digests = {batch: trial_digest(each) for batch, each in trials.items()}
        for number, (point, each) in enumerate(zip(points, designs, strict=True)):
            keys.append(point_key(digests[point.settings.batch], each, point.settings))
            known = store.get(keys[-1], point.said)
            if known is not None:
                found[number] = known
    left = [number for number in range(len(points)) if number not in found]
    with bar(len(points)) as step:
        step("", len(found))
        for place, report in executor.run(_measured, trials, [points[n] for n in left]):
            number = left[place]
            found[number] = report
            if store is not None:
                store.put(keys[number], report)
            step(f"{report.model} on {report.target}", 1)
    return [found[number] for number in range(len(points))]


def _measured(trials: Mapping[int | None, Trial], point: _Point) -> Report:
    """One point's figures, without its outputs and pictures, which no sweep shows."""
    chosen = point.settings
    each = design(point.target, chosen.overrides)
    (done,) = results(trials[chosen.batch], [each], chosen, point.said, brief=True)
    return replace(done.report, outputs={}, scene=None)


def front(rows: Sequence[Sequence[float | None]]) -> list[bool]:
    """Whether no other row is at least as small everywhere and smaller somewhere.

    A row with an unknown is never on the front.
    """
    known = [(tuple(row), i) for i, row in enumerate(rows) if None not in row]
    best: list[Sequence[Any]] = []
    found = [False] * len(rows)
    # in ascending order what beats a row comes before it, and something on the front does
    for row, i in sorted(known):
        if all(
            row == other or any(x < y for x, y in zip(row, other, strict=True))
            for other in best
        ):
            best.append(row)
            found[i] = True
    return found


def _judged(
    combinations: Sequence[Mapping[str, str]],
    found: Sequence[Report],
    objectives: Sequence[str],
) -> Sweep:
    chosen = tuple(objectives) or _known(found)
    best = front([[OBJECTIVES[key](report) for key in chosen] for report in found])
    points = zip(combinations, found, best, strict=True)
    return Sweep(chosen, tuple(Point(*point) for point in points))


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
