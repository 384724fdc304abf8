"""The terminal's tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from tetrapla import quantities
from tetrapla.comparison import bound_by

if TYPE_CHECKING:
    from rich.table import Table

    from tetrapla.comparison import Comparison
    from tetrapla.simulators.report import Report
    from tetrapla.sweep import Sweep

_PIPE_COLUMNS = 140  # a pipe has no width of its own


def show(comparison: Comparison) -> None:
    """Print one table per model, the verdicts and the warnings."""
    reports = [report.to_dict() for report in comparison]
    for model in dict.fromkeys(report["model"] for report in reports):
        _print(_compared(model, [r for r in reports if r["model"] == model]))
    for target, text in _warnings(reports):
        _say(f"{target}: {text}")


def show_report(report: Report) -> None:
    """Print a report's headline and its layers."""
    found = report.to_dict()
    _print(_compared(found["model"], [found]))
    _print(_layers(found))
    for target, text in _warnings([found]):
        _say(f"{target}: {text}")


def show_sweep(sweep: Sweep) -> None:
    """Print a row per point; a star is on the Pareto front."""
    fields = list(sweep.points[0].settings)
    headings = [*fields, "latency", "energy", "accuracy", "area", "cross-check", "front"]
    rows = []
    for point in sweep.points:
        report = point.report.to_dict()
        rows.append([*point.settings.values(), *_figures(report), "*" if point.pareto else ""])
    first = sweep.points[0].report
    title = f"{first.model} on {first.target}, objectives: {', '.join(sweep.objectives)}"
    _print(_table(title, headings, rows, left=len(fields)))


def show_rows(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a plain table of text."""
    _print(_table(title, headings, rows, left=len(headings)))


def _compared(model: str, reports: Sequence[dict[str, Any]]) -> Table:
    headings = ["target", "latency", "energy", "accuracy", "area", "bound by", "cross-check"]
    rows = []
    for report in reports:
        *figures, check = _figures(report)
        rows.append([report["target"], *figures, bound_by(report) or "n/a", check])
    accuracy = next((r["accuracy"] for r in reports if r["accuracy"]), None)
    title = f"{model}, batch {reports[0]['batch']}"
    if accuracy is not None:
        share, samples = 100 * accuracy["reference"], accuracy["samples"]
        title += f"; float reference {share:.1f} % on {samples} samples"
    return _table(title, headings, rows, left=1)


def _figures(report: dict[str, Any]) -> list[str]:
    return [
        quantities.latency(report),
        quantities.energy(report["energy_pj"]["total"]),
        quantities.accuracy(report),
        quantities.area(report),
        quantities.check(report["cross_check"]),
    ]


def _layers(report: dict[str, Any]) -> Table:
    headings = ["layer", "op", "cycles", "MACs", "utilization", "bound by", "energy"]
    rows = []
    for row in report["layers"]:
        used = row["utilization_frac"]
        rows.append(
            [
                row["name"],
                row["op"],
                f"{row['cycles']:,.0f}",
                f"{row['macs']:,}",
                "n/a" if used is None else f"{100 * used:.1f} %",
                row["bound_by"],
                quantities.energy(row["energy_pj"]),
            ]
        )
    return _table(f"layers on {report['target']}", headings, rows, left=2)


def _warnings(reports: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Every warning once, with the targets that gave it."""
    found: dict[str, list[str]] = {}
    for report in reports:
        for text in report["warnings"]:
            names = found.setdefault(text, [])
            if report["target"] not in names:
                names.append(report["target"])
    return [(", ".join(names), text) for text, names in found.items()]


def _table(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], left: int
) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, title_style="bold"
    )
    words = ("bound by", "cross-check")
    for i, heading in enumerate(headings):
        aligned: Literal["left", "right"] = "left" if i < left or heading in words else "right"
        table.add_column(heading, justify=aligned, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _print(table: Table) -> None:
    _console().print(table)


def _say(text: str) -> None:
    from rich.text import Text

    _console().print(Text(f"note: {text}"))


def _console() -> Any:
    from rich.console import Console

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        return Console(width=_PIPE_COLUMNS)
    return console
