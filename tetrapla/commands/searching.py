"""`search`: a network for a target, by evolution, from a family of the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tetrapla.commands import options
from tetrapla.commands.options import Json, Target
from tetrapla.commands.results import status

if TYPE_CHECKING:
    from tetrapla.settings import Settings

_SPACE = "The family of networks: digits."
_OBJECTIVE = "What is made small: energy, latency or area."
_BUDGET = "Short trainings; cross-validation of the best ones comes on top."
_EPOCHS = "Of a full training; a short one has a quarter."
_BASELINE = "The model to beat. [default: the shipped digits CNN]"
_STUDY = "A file that keeps all results: a search goes on from it."
_OUTPUT = "Write the winner: .onnx or .mlir."


@options.with_settings(
    *("data", "calib", "calib_fraction", "dims", "batch", "fixed", "compat"),
    *("tuning", "discretisation", "dt", "repair", "chunk", "least_accuracy"),
    *("normalize", "region", "pue", "price_per_kwh"),
)
def search(
    chosen: Settings,
    space: Annotated[str, typer.Argument(metavar="SPACE", help=_SPACE)],
    target: Target,
    objective: Annotated[
        str, typer.Option("--objective", metavar="WHAT", help=_OBJECTIVE)
    ] = "energy",
    budget: Annotated[str, typer.Option("--budget", metavar="N", help=_BUDGET)] = "12",
    epochs: Annotated[str, typer.Option("--epochs", metavar="N", help=_EPOCHS)] = "120",
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="MODEL", help=_BASELINE)
    ] = None,
    study: Annotated[Path | None, typer.Option("--study", metavar="FILE", help=_STUDY)] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help=_OUTPUT)
    ] = None,
    json: Json = None,
) -> int:
    """Search a family of networks for one that costs less on a target and errs no more."""
    from tetrapla import saving, table
    from tetrapla.architecture.run import searched
    from tetrapla.architecture.search import Plan
    from tetrapla.files import STDOUT, check_outputs, write_all
    from tetrapla.settings import whole

    written = saving.files_of(saving.checked(output)) if output else []
    check_outputs([json, study, *written], [target, baseline])
    plan = Plan(whole("--budget", budget) or 0, whole("--epochs", epochs) or 0, chosen.seed)
    found = searched(
        space,
        target,
        objective,
        plan,
        chosen,
        baseline=baseline,
        study=study,
        say=lambda text: typer.echo(text, err=True),
    )
    if output:
        saving.save(found.module, output)
    if json:
        write_all({json: found.to_json()})
    err = json == STDOUT
    headings, rows = found.rows()
    facts = found.facts
    title = f"{space} on {facts['target']}, {facts['objective']} and loss"
    table.show_rows(title, headings, rows, err=err)
    typer.echo(_proxies(found.correlations), err=err)
    typer.echo(found.verdict(), err=err)
    return status(found.passed)


def _proxies(correlations: dict[str, float | None]) -> str:
    shown = [
        f"{name} {'n/a' if value is None else format(value, '+.2f')}"
        for name, value in correlations.items()
    ]
    return f"rank correlation of proxies with what training found: {', '.join(shown)}"
