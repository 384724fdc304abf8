"""The functions of the package: each takes a model's path or a module."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tetrapla.backends.target_ import find
from tetrapla.compared import Asked, check_unsupported, compared
from tetrapla.comparison import Comparison
from tetrapla.designs import designs
from tetrapla.executors import executor_for
from tetrapla.executors.local import Serial
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.models import load_for
from tetrapla.run import Executable, compile_for
from tetrapla.settings import ADDED, Settings, command
from tetrapla.simulators.report import Report
from tetrapla.simulators.spec_ import Loaded
from tetrapla.sweeps.grid import Sweep, swept
from tetrapla.sweeps.points import Points
from tetrapla.sweeps.search import searched
from tetrapla.sweeps.store import Store
from tetrapla.trials import options_of

if TYPE_CHECKING:
    from tetrapla.sweeps.closed import ClosedSweep

Model: TypeAlias = Module | str | os.PathLike[str]


def compile(
    module: Module,
    target: str,
    calibration: Mapping[str, Array] | None = None,
    **chosen: Any,
) -> Executable:
    """Compile a module for a target.

    Args:
        module: from `load` or `Builder`.
        target: a chip's name, a family's, or the path of a YAML file.
        calibration: arrays (samples, *shape) by input name, for targets that quantise.
        chosen: `quant`, `timesteps`, `ideal`, `overrides` of `Settings`.
    """
    settings = _settings(chosen)
    options = options_of(settings)
    return compile_for(module, target, calibration, options, settings.overrides)


def chip(name: str, overrides: Sequence[str] = ()) -> Loaded[Any]:
    """A chip's numbers and where they come from; a notebook shows them.

    Args:
        name: a chip, a family's default, or the path of a YAML file.
        overrides: ``FIELD=VALUE`` laid over it.
    """
    return find(name, overrides)[1]


def simulate(model: Model, target: str, **chosen: Any) -> Report:
    """Run a model on one target; `chosen` are the fields of `Settings`: `data="digits"`."""
    settings = _settings(chosen)
    asked = _asked("simulate", [model], [target], settings)
    return compared(asked, Serial()).reports[0]


def compare(
    model: Model | Sequence[Model],
    targets: str | Sequence[str],
    *,
    batch: int | Sequence[int] | None = None,
    quant: str | Sequence[str] | None = None,
    on_unsupported: str = "error",
    executor: str | None = None,
    **chosen: Any,
) -> Comparison:
    """Run one or more models on several targets.

    Args:
        model: one or more modules or paths of files.
        targets: chips, families or YAML files.
        batch: one or more sizes of a symbolic leading dimension.
        quant: one or more number formats.
        on_unsupported: "error", or "skip" for a comparison of what the machines can do.
        executor: "serial" (the default), "processes", "dask://host:port" or "ray"; a script
            that starts processes needs ``if __name__ == "__main__"``.
        chosen: the other fields of `Settings`.
    """
    models = [model] if isinstance(model, (Module, str, os.PathLike)) else list(model)
    names = targets.split(",") if isinstance(targets, str) else list(targets)
    batches = [batch] if batch is None or isinstance(batch, int) else list(batch)
    quants = [quant] if quant is None or isinstance(quant, str) else list(quant)
    settings = _settings(chosen)
    for size in batches:
        for form in quants:
            replace(settings, batch=size, quant=form)  # judges both
    asked = _asked("compare", models, names, settings, batches, quants)
    asked = replace(asked, skip=check_unsupported(on_unsupported))
    return compared(asked, executor_for(executor))


def sweep(
    model: Model,
    target: str,
    grid: Mapping[str, Sequence[object]],
    objectives: Sequence[str] = (),
    *,
    trials: int | None = None,
    study: str | os.PathLike[str] | None = None,
    store: str | os.PathLike[str] | None = None,
    executor: str | None = None,
    **chosen: Any,
) -> Sweep:
    """Run a model on every point of a grid of a target's fields, or search them.

    Args:
        model: a module or the path of a file.
        target: a chip's name, a family's, or the path of a YAML file.
        grid: values by field, e.g. ``{"array.rows": [16, 32], "timesteps": [8, 16]}``.
        objectives: of "latency", "energy", "accuracy", "area"; what is known when empty.
        trials: try so many points that Optuna chooses, in place of all.
        study: a file that keeps the trials.
        store: a file that keeps every point: what it has is not computed again.
        executor: "serial", "processes", "dask://host:port" or "ray".
        chosen: the fields of `Settings`.
    """
    points, texts = _points(model, target, grid, store, executor, chosen)
    if trials is None:
        return swept(points, texts, objectives)
    return searched(points, texts, objectives, trials, None if study is None else Path(study))


def sweep_closed_form(
    model: Model,
    target: str,
    grid: Mapping[str, Sequence[object]],
    objectives: Sequence[str] = (),
    *,
    store: str | os.PathLike[str] | None = None,
    executor: str | None = None,
    **chosen: Any,
) -> ClosedSweep:
    """Time, energy and area of every point by formula, then the front by simulation.

    Args:
        model: a module or the path of a file.
        target: a systolic chip's name, or the path of a YAML or SCALE-Sim file.
        grid: values by field, up to a million points.
        objectives: of "latency", "energy" and "area"; what is known when empty.
        store: a file that keeps the simulated points.
        executor: where those are computed, as in `sweep`.
        chosen: the fields of `Settings`.

    Raises:
        UnsupportedError: no formula is for the model, the machine or a field.
    """
    from tetrapla.sweeps.closed import closed

    points, texts = _points(model, target, grid, store, executor, chosen)
    return closed(points, texts, objectives)


def _points(
    model: Model,
    target: str,
    grid: Mapping[str, Sequence[object]],
    store: str | os.PathLike[str] | None,
    executor: str | None,
    chosen: Mapping[str, Any],
) -> tuple[Points, dict[str, tuple[str, ...]]]:
    """What every point has in common, and the grid as text."""
    settings = _settings(chosen)
    for name in ADDED:
        if getattr(settings, name) is not None:
            raise ModelError(f"a sweep takes no {name}; give it to simulate of a chosen point")
    texts = {field: tuple(str(value) for value in values) for field, values in grid.items()}
    path = None if isinstance(model, Module) else os.fspath(model)
    kept = None if store is None else Store(Path(store))
    points = Points(
        lambda settings: _module(model, settings),
        path,
        target,
        settings,
        kept,
        executor_for(executor),
    )
    return points, texts


def _asked(
    verb: str,
    models: Sequence[Model],
    targets: Sequence[str],
    settings: Settings,
    batches: Sequence[int | None] = (None,),
    quants: Sequence[str | None] = (None,),
) -> Asked:
    if verb == "simulate":
        batches, quants = [settings.batch], [settings.quant]
    paths = [None if isinstance(each, Module) else os.fspath(each) for each in models]
    # a module made in Python has no path, so no command repeats the run
    known = [path for path in paths if path is not None]
    lists = {
        "batch": [str(size) for size in batches if size is not None],
        "quant": [form for form in quants if form is not None],
    }
    said = command(verb, known, targets, settings, lists) if len(known) == len(paths) else ""
    words = [
        path or f"{model.name if isinstance(model, Module) else ''} ({i + 1})"
        for i, (path, model) in enumerate(zip(paths, models, strict=True))
    ]
    return Asked(
        words,
        lambda number, chosen: _module(models[number], chosen),
        designs(targets, settings.overrides),
        settings,
        batches,
        quants,
        said,
    )


def _settings(chosen: Mapping[str, Any]) -> Settings:
    unknown = sorted(set(chosen) - set(Settings.__dataclass_fields__))
    if unknown:
        known = ", ".join(Settings.__dataclass_fields__)
        raise TypeError(f"no option {unknown[0]!r}; there are: {known}")
    held = dict(chosen)
    if isinstance(held.get("dims"), Mapping):
        held["dims"] = tuple(held["dims"].items())
    if isinstance(held.get("fixed"), Mapping):
        held["fixed"] = tuple((name, os.fspath(file)) for name, file in held["fixed"].items())
    if "overrides" in held:
        held["overrides"] = tuple(held["overrides"])
    for name in ("data", "calib", "tuning"):
        if held.get(name) is not None:
            held[name] = os.fspath(held[name])
    return Settings(**held)


def _module(model: Model, settings: Settings) -> Module:
    if isinstance(model, Module):
        if settings.dims or settings.batch is not None or settings.fixed:
            raise ModelError("a Module has fixed shapes; give dims and batch to load, not here")
        if settings.discretisation or settings.dt is not None or settings.repair:
            raise ModelError(
                "a Module is read already; give nir to load, not discretisation, dt or "
                "repair here"
            )
        return model
    return load_for(model, settings)
