"""The command `retrain`. It returns the exit status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tetrapla.commands import options
from tetrapla.commands.options import Json, Model, Target

if TYPE_CHECKING:
    from tetrapla.settings import Settings
    from tetrapla.simulators.report import Report

# what a chip's errors do not depend on, or training has no use for
_LEFT_OUT = (
    *("calib", "calib_fraction", "quant", "timesteps", "code", "ideal", "compat", "tuning"),
    *("discretisation", "dt", "repair", "chunk", "least_accuracy", "fixed"),
    *options.ADDED,
)


@options.with_settings(*_LEFT_OUT)
def retrain(
    chosen: Settings,
    model: Model,
    target: Target,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE", help="The .onnx or .mlir to write."),
    ],
    epochs: Annotated[
        str, typer.Option("--epochs", metavar="N", help="How often each sample is seen.")
    ] = "10",
    learning_rate: Annotated[
        str, typer.Option("--learning-rate", metavar="R", help="Of Adam.")
    ] = "0.001",
    json: Json = None,
) -> int:
    """Train a model for the errors of an analog chip, and compare it with what it was."""
    from tetrapla.comparison import Comparison
    from tetrapla.designs import designs
    from tetrapla.files import check_outputs, write_all
    from tetrapla.ir.errors import ModelError
    from tetrapla.retrained import compared
    from tetrapla.saving import SUFFIXES, files_of, save
    from tetrapla.settings import share, whole

    read = [model, target, chosen.data]
    check_outputs([output, json], read)
    if output.suffix not in SUFFIXES:
        raise ModelError(f"-o must be a file in {' or '.join(SUFFIXES)}, not '{output}'")
    check_outputs([*files_of(output), json], read)
    many, rate = whole("--epochs", epochs), share("--learning-rate", learning_rate)
    if not many or many < 1:
        raise ModelError(f"--epochs must be at least 1, not {epochs}")
    if not rate or rate <= 0:
        raise ModelError(f"--learning-rate must be a number above 0, not {learning_rate}")
    (design,) = designs([target], chosen.overrides)
    done = compared(model, target, design, chosen, many, rate)
    save(done.module, output)
    if json:
        write_all({json: Comparison(done.reports).to_json()})
    _show(done.reports, err=json is not None and str(json) == "-")
    passed = all(each.cross_check is None or each.cross_check.passed for each in done.reports)
    if not passed:
        typer.echo("error: a cross-check failed", err=True)
    return 0 if passed else 1


def _show(reports: tuple[Report, Report], *, err: bool) -> None:
    from tetrapla.table import show_rows

    rows: list[tuple[str, ...]] = []
    for report in reports:
        found = report.accuracy
        if found is not None:
            spread = "" if found.target_std is None else f" ± {100 * found.target_std:.1f}"
            chips = f"{100 * found.target:.1f}{spread} %"
            rows.append((report.model, f"{100 * found.reference:.1f} %", chips))
    first = reports[0].accuracy
    on = "" if first is None else f", {first.seeds} chips, {first.samples} test samples"
    show_rows(
        f"accuracy on {reports[0].target}{on}", ("model", "float", "chips"), rows, err=err
    )
