"""`sweep`: all points of a grid, or those that a search chooses."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tetrapla.commands import options
from tetrapla.commands.options import Json, Model, Target
from tetrapla.commands.results import status
from tetrapla.ir.errors import ModelError

if TYPE_CHECKING:
    from tetrapla.settings import Settings

_GRID = "FIELD=V1,V2, A:B, A:B:STEP or A:B:*FACTOR; a chip's field, or timesteps, batch, quant."
_STORE = "A file that keeps every point: what it has is not computed again."
_TRIALS = "Try N points that a search chooses, in place of all (extra dse)."
_STUDY = "A file that keeps the trials, for optuna-dashboard; a search goes on from it."
_FIGURE = "Write an SVG of the points over the first two objectives."
_EXECUTOR = "serial, processes[:N], dask://HOST:PORT, ray or ray://HOST:PORT."


@options.with_settings("overrides")
def sweep(
    chosen: Settings,
    model: Model,
    target: Target,
    set_: Annotated[
        list[str],
        typer.Option("--set", metavar="GRID", help=_GRID),
    ],
    objective: Annotated[
        list[str] | None,
        typer.Option("--objective", help="latency, energy, accuracy or area, for the front."),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option("--store", metavar="FILE", help=_STORE),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option("--executor", metavar="E", help=_EXECUTOR),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", metavar="N", help=_TRIALS),
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option("--study", metavar="FILE", help=_STUDY),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option("--figure", metavar="FILE", help=_FIGURE),
    ] = None,
    json: Json = None,
) -> int:
    """Run a model on every point of a grid of a machine's fields, or search it."""
    from tetrapla import table
    from tetrapla.executors import executor_for
    from tetrapla.files import STDOUT, check_outputs, write_all
    from tetrapla.front import check_drawable, picture
    from tetrapla.grid import swept
    from tetrapla.models import load_for
    from tetrapla.points import Points
    from tetrapla.ranges import parse_grid
    from tetrapla.search import searched
    from tetrapla.store import Store

    check_outputs([json, store, study, figure], [model, target, chosen.data, chosen.calib])
    if study and trials is None:
        raise ModelError("--study must come with --trials, not alone; say how many")
    grid, names = parse_grid(set_), options.split(objective or [])
    if figure and names:
        check_drawable(names)
    computes, held = executor_for(executor), Store(store) if store else None
    points = Points(partial(load_for, model), model, target, chosen, held, computes)
    if trials is None:
        found = swept(points, grid, names)
    else:
        found = searched(points, grid, names, trials, study)
    contents = {json: found.to_json()} if json else {}
    if figure:
        contents[figure] = picture(found)
    write_all(contents)
    table.show_sweep(found, err=json == STDOUT)
    return status(found.passed)
