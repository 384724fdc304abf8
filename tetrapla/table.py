"""The terminal's tables: plain text in a pipe, and never a cell that is cut."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tetrapla import quantities
from tetrapla.comparison import bound_by, verdict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from tetrapla.comparison import Comparison
    from tetrapla.grid import Sweep
    from tetrapla.simulators.report import Report

_ROOMY = 100  # columns from which a check's figures have their place
_UNBOUNDED = 10_000  # a pipe has no width of its own
_WORDS = ("bound by", "cross-check", "op", "layer")  # columns of text, which may fold
_EVIDENCE = "its energy by what the sources of its prices say:"
_HEADINGS = ("target", "latency", "energy", "accuracy", "area", "bound by", "cross-check")


def show(comparison: Comparison, err: bool = False) -> None:
    """Print one table per model, what it comes to, and the notes; `err`: on stderr."""
    console = _console(err)
    reports = [report.to_dict() for report in comparison]
    for model in dict.fromkeys(report["model"] for report in reports):
        held = [r for r in reports if r["model"] == model]
        _print(console, _title(model, held), _compared(held, console.width))
        _say(console, verdict(held))
    _yields(console, reports)
    _notes(console, reports)


def show_report(report: Report, err: bool = False) -> None:
    """Print a report's headline and its layers."""
    console, found = _console(err), report.to_dict()
    _print(console, _title(found["model"], [found]), _compared([found], console.width))
    _print(console, f"layers on {found['target']}", _layers(found))
    _print(console, "energy by unit", _units(found))
    _yields(console, [found])
    _notes(console, [found])


def show_sweep(sweep: Sweep, err: bool = False) -> None:
    """Print a row per point; a star is on the Pareto front."""
    console, reports = _console(err), [point.report.to_dict() for point in sweep.points]
    fields = list(sweep.points[0].settings)
    headings = [*fields, "latency", "energy", "accuracy", "area", "cross-check", "front"]
    rows = [
        [
            *point.settings.values(),
            *_figures(report),
            _check(report, console.width),
            "*" if point.pareto else "",
        ]
        for point, report in zip(sweep.points, reports, strict=True)
    ]
    first = sweep.points[0].report
    title = f"{first.model} on {first.target}, objectives: {', '.join(sweep.objectives)}"
    _print(console, title, _table(headings, rows, left=len(fields)))
    _notes(console, reports)


def show_rows(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], err: bool = False
) -> None:
    """Print a plain table of text; `err`: on stderr."""
    _print(_console(err), title, _table(headings, rows, left=len(headings)))


def layer_cells(row: dict[str, Any]) -> list[str]:
    """One layer of a report as text."""
    return [
        row["name"],
        row["op"],
        quantities.count(row["cycles"]),
        quantities.count(row["macs"]),
        quantities.share(row["utilization_frac"]),
        row["bound_by"],
        quantities.energy(row["energy_pj"]),
    ]


def _title(model: str, reports: Sequence[dict[str, Any]]) -> str:
    title = f"{model}, batch {reports[0]['batch']}"
    accuracy = next((r["accuracy"] for r in reports if r["accuracy"]), None)
    if accuracy is None:
        return title
    share, samples = 100 * accuracy["reference"], accuracy["samples"]
    return f"{title}; float reference {share:.1f} % on {samples} samples"


def _compared(reports: Sequence[dict[str, Any]], width: int) -> Table:
    rows = [
        [r["target"], *_figures(r), bound_by(r) or quantities.UNKNOWN, _check(r, width)]
        for r in reports
    ]
    return _table(_HEADINGS, rows, left=1)


def _figures(report: dict[str, Any]) -> list[str]:
    return [
        quantities.latency(report),
        quantities.energy(report["energy_pj"]["total"]),
        quantities.accuracy(report),
        quantities.area(report["area_mm2"]),
    ]


def _check(report: dict[str, Any], width: int) -> str:
    return quantities.check(report["cross_check"], short=width < _ROOMY)


def _second(report: dict[str, Any]) -> str:
    return quantities.check(report["second_check"])


def _units(report: dict[str, Any]) -> Table:
    """Energy by unit, the largest first, and shares of all of it and of what work costs."""
    energies = report["energy_pj"]["by_unit"]
    work = {unit: pj for unit, pj in energies.items() if unit != "static"}
    rows = [
        [
            unit,
            quantities.energy(energies[unit]),
            _part(unit, energies),
            _part(unit, work),
        ]
        for unit in sorted(energies, key=lambda unit: -(energies[unit] or 0.0))
    ]
    return _table(["unit", "energy", "share", "without static"], rows, left=1)


def _part(unit: str, energies: dict[str, float | None]) -> str:
    known = [pj for pj in energies.values() if pj is not None]
    own, total = energies.get(unit), sum(known)
    complete = len(known) == len(energies) and total > 0
    return quantities.share(own / total if own is not None and complete else None)


def _layers(report: dict[str, Any]) -> Table:
    headings = ["layer", "op", "cycles", "MACs", "used", "bound by", "energy"]
    rows = [layer_cells(row) for row in report["layers"]]
    if report.get("compat"):
        headings.append("corrected cycles")
        for cells, row in zip(rows, report["layers"], strict=True):
            cells.append(quantities.count(row["cycles_corrected"]))
    return _table(headings, rows, left=2)


def _yields(console: Console, reports: Sequence[dict[str, Any]]) -> None:
    """Print how many of each kind of noisy chips are good."""
    for report in reports:
        if found := report.get("yield"):
            _say(console, f"{report['target']}: {quantities.chip_yield(found)}")


def _notes(console: Console, reports: Sequence[dict[str, Any]]) -> None:
    """Print the second checks, and every warning once, with the targets that gave it."""
    for report in reports:
        if report.get("second_check"):
            _say(console, f"{report['target']}, second check: {_second(report)}")
    for report in reports:
        if ends := quantities.energy_range(report):
            _say(console, f"note: {report['target']}: {_EVIDENCE} {ends}")
    found: dict[str, list[str]] = {}
    for report in reports:
        for text in report["warnings"]:
            names = found.setdefault(text, [])
            if report["target"] not in names:
                names.append(report["target"])
    for text, names in found.items():
        _say(console, f"note: {', '.join(names)}: {text}")


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for i, heading in enumerate(headings):
        words = i < left or heading in _WORDS
        aligned: Literal["left", "right"] = "left" if words else "right"
        # a figure stays on one line; a name may fold, since nothing may be cut
        table.add_column(heading, justify=aligned, no_wrap=not words, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _print(console: Console, title: str, table: Table) -> None:
    from rich.text import Text

    # not the table's own title, which folds where the table is narrower
    heading = Text(title, style="bold")
    if console.is_terminal:
        console.print(heading, table, "", sep="\n")
        return
    with console.capture() as printed:
        console.print(heading, table, sep="\n")
    lines = [line.rstrip() for line in printed.get().splitlines()]
    console.file.write("\n".join([*lines, "", ""]))


def _say(console: Console, text: str) -> None:
    from rich.text import Text

    console.print(Text(text), soft_wrap=not console.is_terminal)


def _console(err: bool = False) -> Console:
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    if stream.isatty() or "COLUMNS" in os.environ:
        return Console(stderr=err)
    return Console(stderr=err, width=_UNBOUNDED)
