"""Commands that simulate: demo, simulate, compare. Each returns the exit status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tetrapla.commands import options
from tetrapla.commands.options import Csv, Json, Model, Models, Page, Target, Targets

if TYPE_CHECKING:
    from tetrapla.settings import Settings
    from tetrapla.simulators.report import Report

DEMO_TARGETS = ["tpu-v1", "h100", "loihi", "isaac"]


def demo(json: Json = None, report: Page = None, csv: Csv = None) -> int:
    """Compare four machines on the bundled network and digits, offline."""
    from importlib.resources import as_file, files

    from tetrapla.designs import designs
    from tetrapla.files import check_outputs
    from tetrapla.models import load
    from tetrapla.trials import reports

    check_outputs([json, report, csv])
    chosen = options.settings(data="digits")
    with as_file(files("tetrapla") / "data" / "digits_cnn.onnx") as path:
        module = load(path)
    found = reports([module], [module.name], designs(DEMO_TARGETS), chosen, "tetrapla demo")
    return _finish(found, json, report, csv)


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
) -> int:
    """Run a model on one machine: cycles, energy, values, and the check of them."""
    from tetrapla.designs import designs
    from tetrapla.files import check_outputs
    from tetrapla.ir.errors import ModelError
    from tetrapla.trace import chrome_trace
    from tetrapla.trials import simulated

    check_outputs([json, report, csv, trace], [model, target, chosen.data, chosen.calib])
    if chosen.compat and trace:
        raise ModelError("--trace must come without --compat, which has no times; drop one")
    (design,) = designs([target], chosen.overrides)
    result = simulated(model, target, design, chosen)
    extra: dict[Path, str] = {}
    if trace:
        extra[trace] = chrome_trace(result.runs[0], result.report.target)
    if json:
        extra[json] = result.report.to_json()
    return _finish([result.report], None, report, csv, extra)


@options.with_settings()
def compare(
    chosen: Settings,
    model: Models,
    targets: Targets,
    json: Json = None,
    report: Page = None,
    csv: Csv = None,
) -> int:
    """Run one or more models on several machines and put the results side by side."""
    from tetrapla.designs import designs
    from tetrapla.files import check_outputs
    from tetrapla.models import load_for
    from tetrapla.settings import command
    from tetrapla.trials import labels, reports

    names = options.split(targets)
    check_outputs([json, report, csv], [*model, *names, chosen.data, chosen.calib])
    found = designs(names, chosen.overrides)
    said = command("compare", model, names, chosen)
    modules = [load_for(path, chosen) for path in model]
    done = reports(modules, labels(modules, model), found, chosen, said)
    return _finish(done, json, report, csv)


def _finish(
    found: Sequence[Report],
    json: Path | None,
    report: Path | None,
    csv: Path | None,
    extra: Mapping[Path, str] | None = None,
) -> int:
    """Write what was asked for, print the table, and judge the checks."""
    from tetrapla import table
    from tetrapla.comparison import Comparison
    from tetrapla.files import STDOUT, write_all

    comparison = Comparison(tuple(found))
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
