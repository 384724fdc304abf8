"""Commands that simulate: demo, simulate, compare. Each returns the exit status."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tetrapla.commands import options
from tetrapla.commands.options import (
    Batches,
    Csv,
    Executor,
    Json,
    Model,
    Models,
    Normalize,
    Page,
    Parquet,
    Price,
    Pue,
    Quants,
    Region,
    Target,
    Targets,
    Unsupported,
)

if TYPE_CHECKING:
    from tetrapla.comparison import Comparison
    from tetrapla.settings import Settings

DEMO_TARGETS = ["tpu-v1", "h100", "loihi", "isaac"]


def demo(
    json: Json = None,
    report: Page = None,
    csv: Csv = None,
    normalize: Normalize = None,
    region: Region = None,
    pue: Pue = None,
    price_per_kwh: Price = None,
    executor: Executor = None,
) -> int:
    """Compare four machines on the bundled network and digits, offline."""
    from importlib.resources import as_file, files

    from tetrapla.compared import Asked, chosen_executor, compared
    from tetrapla.designs import designs
    from tetrapla.files import check_outputs
    from tetrapla.models import load

    check_outputs([json, report, csv])
    added = options.settings(
        normalize=normalize, region=region, pue=pue, price_per_kwh=price_per_kwh
    )
    chosen = replace(added, data="digits")
    with as_file(files("tetrapla") / "data" / "digits_cnn.onnx") as path:
        module = load(path)
    said = shlex.join(["tetrapla", "demo", *added.words()])
    asked = Asked(
        [module.name],
        lambda _model, _settings: module,
        designs(DEMO_TARGETS),
        chosen,
        said=said,
        drawn=bool(json or report),
    )
    return _finish(compared(asked, chosen_executor(executor)), json, report, csv)


@options.with_settings()
def simulate(
    chosen: Settings,
    model: Model,
    target: Target,
    json: Json = None,
    report: Page = None,
    csv: Csv = None,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="Write a Chrome trace (ui.perfetto.dev)."),
    ] = None,
    vcd: Annotated[
        Path | None,
        typer.Option("--vcd", metavar="FILE", help="Write a systolic layer's waveforms."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer", metavar="NAME", help="Of --vcd. [default: the first matrix product]"
        ),
    ] = None,
) -> int:
    """Run a model on one machine: cycles, energy, values, and the check of them."""
    from tetrapla.comparison import Comparison
    from tetrapla.designs import designs
    from tetrapla.files import check_outputs
    from tetrapla.ir.errors import ModelError
    from tetrapla.trace import check_name, check_systolic, trace_file, vcd_file
    from tetrapla.trials import simulated

    check_outputs([json, report, csv, trace, vcd], [model, target, chosen.data, chosen.calib])
    if trace:
        check_name(trace)
    if layer and not vcd:
        raise ModelError("--layer must come with --vcd, not alone; give --vcd FILE")
    if chosen.compat and vcd:
        raise ModelError("--vcd must come without --compat, which has no signals; drop one")
    if chosen.compat and trace:
        raise ModelError("--trace must come without --compat, which has no times; drop one")
    (design,) = designs([target], chosen.overrides)
    if vcd:
        check_systolic(design)
    result = simulated(model, target, design, chosen)
    extra: dict[Path, str | bytes] = {}
    if trace:
        extra[trace] = trace_file(result, trace)
    if vcd:
        extra[vcd] = vcd_file(result, layer)
    if json:
        extra[json] = result.report.to_json()
    return _finish(Comparison((result.report,)), None, report, csv, extra)


@options.with_settings("batch", "quant")
def compare(
    chosen: Settings,
    model: Models,
    targets: Targets,
    batch: Batches = None,
    quant: Quants = None,
    on_unsupported: Unsupported = "error",
    executor: Executor = None,
    json: Json = None,
    report: Page = None,
    csv: Csv = None,
    parquet: Parquet = None,
) -> int:
    """Run models on machines, with batches and formats, and put the results side by side."""
    from tetrapla.compared import Asked, check_unsupported, chosen_executor, compared
    from tetrapla.designs import designs
    from tetrapla.files import check_outputs
    from tetrapla.frames import check_parquet
    from tetrapla.models import load_for
    from tetrapla.settings import command, parse_batches, parse_formats

    names = options.split(targets)
    check_outputs([json, report, csv, parquet], [*model, *names, chosen.data, chosen.calib])
    if parquet:
        check_parquet(parquet)
    batches, formats = parse_batches(batch or []), parse_formats(quant or [])
    for size in batches:
        for form in formats:
            replace(chosen, batch=size, quant=form)  # judges both
    found = designs(names, chosen.overrides)
    lists = {
        "batch": [str(size) for size in batches if size is not None],
        "quant": [form for form in formats if form is not None],
    }
    asked = Asked(
        model,
        lambda number, settings: load_for(model[number], settings),
        found,
        chosen,
        batches,
        formats,
        command("compare", model, names, chosen, lists),
        check_unsupported(on_unsupported),
        bool(json or report),
    )
    done = compared(asked, chosen_executor(executor))
    extra = {parquet: done.to_frame().to_parquet()} if parquet else {}
    return _finish(done, json, report, csv, extra)


def _finish(
    comparison: Comparison,
    json: Path | None,
    report: Path | None,
    csv: Path | None,
    extra: Mapping[Path, str | bytes] | None = None,
) -> int:
    """Write what was asked for, print the table, and judge the checks."""
    from tetrapla import table
    from tetrapla.files import STDOUT, write_all

    contents = dict(extra or {})
    if json:
        contents[json] = comparison.to_json()
    if report:
        contents[report] = comparison.to_html()
    if csv:
        contents[csv] = comparison.to_csv()
    write_all(contents)
    err = STDOUT in contents
    if len(comparison) == 1:
        table.show_report(comparison.reports[0], err=err)
    else:
        table.show(comparison, err=err)
    return status(comparison.passed)


def status(passed: bool) -> int:
    """The exit status of a result, which says aloud that a check failed."""
    if passed:
        return 0
    typer.echo("error: a cross-check failed; see the table", err=True)
    return 1
