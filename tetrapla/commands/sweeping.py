"""`sweep`: all points of a grid, or those that a search chooses."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tetrapla.commands import options
from tetrapla.commands.options import Csv, Json, Model, Parquet, Target
from tetrapla.commands.results import status
from tetrapla.ir.errors import ModelError

if TYPE_CHECKING:
    from tetrapla.settings import Settings

_GRID = "FIELD=V1,V2, A:B, A:B:STEP or A:B:*FACTOR; a chip's field, or timesteps, batch, quant."
_STORE = "A file that keeps every point: what it has is not computed again."
_TRIALS = "Try N points that a search chooses, in place of all (extra dse)."
_STUDY = "A file that keeps the trials, for optuna-dashboard; a search goes on from it."
_CLOSED = "Every point by formula, those of the front by simulation too (docs/sweep.md)."
_FIGURE = "Write an SVG of the points over the first two objectives."
_EXECUTOR = "serial, processes[:N], dask://HOST:PORT, ray or ray://HOST:PORT."


@options.with_settings("overrides", *options.ADDED)
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
        typer.Option(
            "--objective",
            help="For the front: latency, energy, accuracy, area or dynamic_energy.",
        ),
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
    closed_form: Annotated[
        bool,
        typer.Option("--closed-form", help=_CLOSED),
    ] = False,
    json: Json = None,
    csv: Csv = None,
    parquet: Parquet = None,
) -> int:
    """Run a model on every point of a grid of a machine's fields, or search it."""
    from tetrapla import table
    from tetrapla.executors import executor_for
    from tetrapla.files import STDOUT, check_outputs, write_all
    from tetrapla.frames import check_parquet
    from tetrapla.models import load_for
    from tetrapla.sweeps.closed import closed
    from tetrapla.sweeps.figure import check_drawable, picture
    from tetrapla.sweeps.grid import swept
    from tetrapla.sweeps.points import Points
    from tetrapla.sweeps.ranges import parse_grid
    from tetrapla.sweeps.search import searched
    from tetrapla.sweeps.store import Store

    check_outputs(
        [json, store, study, figure, csv, parquet],
        [model, target, chosen.data, chosen.calib],
    )
    if parquet:
        check_parquet(parquet)
    if study and trials is None:
        raise ModelError("--study must come with --trials, not alone; say how many")
    if closed_form and trials is not None:
        raise ModelError("--closed-form must come without --trials, not with it; drop one")
    grid, names = parse_grid(set_), options.split(objective or [])
    if figure and names:
        check_drawable(names)
    computes, held = executor_for(executor), Store(store) if store else None
    points = Points(partial(load_for, model), model, target, chosen, held, computes)
    formulas = closed(points, grid, names) if closed_form else None
    if formulas is not None:
        found = formulas.exact
    elif trials is None:
        found = swept(points, grid, names)
    else:
        found = searched(points, grid, names, trials, study)
    contents: dict[Path, str | bytes] = {json: (formulas or found).to_json()} if json else {}
    if figure:
        contents[figure] = picture(found)
    if csv:
        contents[csv] = found.to_csv()
    if parquet:
        contents[parquet] = found.to_frame().to_parquet()
    write_all(contents)
    table.show_sweep(found, err=STDOUT in contents)
    if formulas is not None:
        table.show_note(formulas.summary(), err=STDOUT in contents)
    return status(found.passed)
