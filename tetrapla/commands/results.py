"""Commands that simulate: demo, simulate, compare, sweep. Each returns the exit status."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tetrapla.commands import options
from tetrapla.commands.options import (
    Batch,
    Calib,
    CalibFraction,
    Csv,
    Data,
    Dims,
    Ideal,
    Json,
    Model,
    Models,
    Overrides,
    Page,
    Quant,
    Samples,
    Seed,
    Target,
    Targets,
    Timesteps,
)

if TYPE_CHECKING:
    from tetrapla.comparison import Comparison
    from tetrapla.settings import Settings

_GRID = "FIELD=V1,V2 or FIELD=A:B; a chip's field, or timesteps, batch, quant."
DEMO_TARGETS = ["tpu-v1", "h100", "loihi", "isaac"]


def demo(json: Json = None, report: Page = None, csv: Csv = None) -> int:
    """Compare four machines on the bundled network and digits, offline."""
    from importlib.resources import as_file, files

    from tetrapla.files import check_outputs
    from tetrapla.models import load
    from tetrapla.run import reports

    check_outputs([json, report, csv])
    chosen = options.settings(data="digits")
    with as_file(files("tetrapla") / "data" / "digits_cnn.onnx") as path:
        module = load(path)
    found = reports(module, DEMO_TARGETS, chosen, "tetrapla demo")
    return _finish(_comparison(found), json, report, csv)


def simulate(
    model: Model,
    target: Target,
    data: Data = None,
    calib: Calib = None,
    calib_fraction: CalibFraction = None,
    samples: Samples = None,
    dim: Dims = None,
    seed: Seed = 0,
    quant: Quant = None,
    timesteps: Timesteps = None,
    batch: Batch = None,
    ideal: Ideal = False,
    set_: Overrides = None,
    json: Json = None,
    report: Page = None,
    csv: Csv = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Write a Chrome trace (ui.perfetto.dev).")
    ] = None,
) -> int:
    """Run a model on one machine: cycles, energy, values, and the check of them."""
    from tetrapla.comparison import Comparison
    from tetrapla.files import check_outputs
    from tetrapla.models import load
    from tetrapla.run import check_targets, results
    from tetrapla.settings import command
    from tetrapla.trace import chrome_trace

    chosen = options.settings(
        data, calib, calib_fraction, samples, dim, seed, quant, timesteps, batch, ideal, set_
    )
    check_outputs([json, report, csv, trace], [model, target, data, calib])
    check_targets([target], chosen.overrides)
    module = load(model, dict(chosen.dims), chosen.batch)
    said = command("simulate", [model], [target], chosen)
    (result,) = results(module, [target], chosen, said)
    extra: dict[Path, str | bytes] = {}
    if trace:
        extra[trace] = chrome_trace(result.runs[0], result.report.target)
    if json:
        extra[json] = result.report.to_json()
    return _finish(Comparison((result.report,)), None, report, csv, extra)


def compare(
    model: Models,
    targets: Targets,
    data: Data = None,
    calib: Calib = None,
    calib_fraction: CalibFraction = None,
    samples: Samples = None,
    dim: Dims = None,
    seed: Seed = 0,
    quant: Quant = None,
    timesteps: Timesteps = None,
    batch: Batch = None,
    ideal: Ideal = False,
    set_: Overrides = None,
    json: Json = None,
    report: Page = None,
    csv: Csv = None,
) -> int:
    """Run one or more models on several machines and put the results side by side."""
    from tetrapla.files import check_outputs
    from tetrapla.models import load
    from tetrapla.run import check_targets, reports
    from tetrapla.settings import command

    chosen = options.settings(
        data, calib, calib_fraction, samples, dim, seed, quant, timesteps, batch, ideal, set_
    )
    names = options.split(targets)
    check_outputs([json, report, csv], [*model, *names, data, calib])
    check_targets(names, chosen.overrides)
    said = command("compare", model, names, chosen)
    modules = [load(path, dict(chosen.dims), chosen.batch) for path in model]
    found = [r for module in modules for r in reports(module, names, chosen, said)]
    return _finish(_comparison(found), json, report, csv)


def sweep(
    model: Model,
    target: Target,
    set_: Annotated[
        list[str],
        typer.Option("--set", help=_GRID),
    ],
    objective: Annotated[
        list[str] | None,
        typer.Option("--objective", help="latency, energy, accuracy or area, for the front."),
    ] = None,
    data: Data = None,
    calib: Calib = None,
    calib_fraction: CalibFraction = None,
    samples: Samples = None,
    dim: Dims = None,
    seed: Seed = 0,
    quant: Quant = None,
    timesteps: Timesteps = None,
    batch: Batch = None,
    ideal: Ideal = False,
    json: Json = None,
) -> int:
    """Run a model on every point of a grid of a machine's fields."""
    from tetrapla import table
    from tetrapla.files import check_outputs, write_all
    from tetrapla.models import load
    from tetrapla.sweep import parse_grid, swept

    chosen = options.settings(
        data, calib, calib_fraction, samples, dim, seed, quant, timesteps, batch, ideal
    )
    check_outputs([json], [model, target, data, calib])
    grid = parse_grid(set_)

    def again(held: Settings) -> Any:
        return load(model, dict(held.dims), held.batch)

    found = swept(
        again(chosen), target, grid, options.split(objective or []), chosen, model, again
    )
    if json:
        write_all({json: found.to_json()})
    table.show_sweep(found)
    return 0 if found.passed else 1


def _comparison(found: list[Any]) -> Comparison:
    from tetrapla.comparison import Comparison

    return Comparison(tuple(found))


def _finish(
    comparison: Comparison,
    json: Path | None,
    report: Path | None,
    csv: Path | None,
    extra: Mapping[Path, str | bytes] | None = None,
) -> int:
    """Write what was asked for, print the table, and judge the checks."""
    from tetrapla import table
    from tetrapla.files import write_all

    contents = dict(extra or {})
    if json:
        contents[json] = comparison.to_json()
    if report:
        contents[report] = comparison.to_html()
    if csv:
        contents[csv] = comparison.to_csv()
    write_all(contents)
    if len(comparison) == 1:
        table.show_report(comparison.reports[0])
    else:
        table.show(comparison)
    return _status(comparison)


def _status(comparison: Comparison) -> int:
    if comparison.passed:
        return 0
    typer.echo("error: a cross-check failed; see the table", err=True)
    return 1
