"""The terminal's tables: plain text in a pipe, and never a cell that is cut."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tetrapla import quantities
from tetrapla.columns import ADDED, NAMING, Column, columns, names
from tetrapla.comparison import verdict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from tetrapla.comparison import Comparison
    from tetrapla.simulators.report import Report
    from tetrapla.sweeps.grid import Sweep

Cells: TypeAlias = list[tuple[Column, list[str]]]  # each column with the cells below it

_ROOMY = 100  # columns from which a check's figures have their place
_UNBOUNDED = 10_000  # a pipe has no width of its own
_WORDS = ("bound by", "cross-check", "op", "layer")  # columns of text, which may fold
_EVIDENCE = "its energy by what the sources of its prices say:"
_GAP = 2  # between two columns
_STARRED = "* is the best"


def show(comparison: Comparison, err: bool = False) -> None:
    """Print one table per model, what it comes to, and the notes; `err`: on stderr."""
    console = _console(err)
    reports = [report.to_dict(sight=False) for report in comparison]
    for model in dict.fromkeys(report["model"] for report in reports):
        held = [r for r in reports if r["model"] == model]
        starred = f"; {_STARRED}" if len(held) > 1 else ""
        _show_compared(console, f"{_title(model, held)}{starred}", held)
        _say(console, verdict(held))
    _yields(console, reports)
    for why, who in comparison.reasons().items():
        _say(console, f"left out: {', '.join(who)}: {why}")
    _notes(console, reports)


def show_report(report: Report, err: bool = False) -> None:
    """Print a report's headline and its layers."""
    console, found = _console(err), report.to_dict(sight=False)
    _show_compared(console, _title(found["model"], [found]), [found])
    _print(console, f"layers on {found['target']}", _layers(found))
    _print(console, "energy by unit", _units(found))
    _yields(console, [found])
    _notes(console, [found])


def show_sweep(sweep: Sweep, err: bool = False) -> None:
    """Print a row per point; a star is on the Pareto front."""
    console = _console(err)
    reports = [point.report.to_dict(sight=False) for point in sweep.points]
    fields = list(sweep.points[0].settings)
    headings = [*fields, "latency", "energy", "accuracy", "area"]
    # what static power hides
    dynamic = "dynamic_energy" in sweep.objectives
    headings += [*(["dynamic energy"] if dynamic else []), "cross-check", "front"]
    rows = [
        [
            *point.settings.values(),
            *_figures(report),
            *([quantities.energy(point.report.energy.dynamic_pj)] if dynamic else []),
            _check(report, console.width),
            "*" if point.pareto else "",
        ]
        for point, report in zip(sweep.points, reports, strict=True)
    ]
    first = sweep.points[0].report
    title = f"{first.model} on {first.target}, objectives: {', '.join(sweep.objectives)}"
    _print(console, title, _table(headings, rows, left=len(fields)))
    _notes(console, reports)


def show_note(text: str, err: bool = False) -> None:
    """Print a sentence below a table."""
    _say(_console(err), text)


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
    batches = dict.fromkeys(str(r["batch"]) for r in reports)
    title = f"{model}, batch {', '.join(batches)}"
    accuracy = next((r["accuracy"] for r in reports if r["accuracy"]), None)
    if accuracy is None:
        return title
    share, samples = 100 * accuracy["reference"], accuracy["samples"]
    return f"{title}; float reference {share:.1f} % on {samples} samples"


def _show_compared(console: Console, title: str, reports: Sequence[dict[str, Any]]) -> None:
    """Print the table of one model in as many columns as the terminal has room for."""
    parts, left_out = fitted(reports, console.width)
    for number, shown in enumerate(parts):
        cells = [_starred(column, texts, reports) for column, texts in shown]
        headings = [column.heading for column, _ in shown]
        wordy = {i for i, (column, _) in enumerate(shown) if column.words}
        rows = list(zip(*cells, strict=True))
        _print(console, title if number == 0 else "", _table(headings, rows, wordy))
    if left_out:
        _say(
            console,
            f"(no room at {console.width} columns for {', '.join(left_out)}: a wider terminal, "
            "--csv and --report show all)",
        )


def fitted(reports: Sequence[dict[str, Any]], width: int) -> tuple[list[Cells], list[str]]:
    """The columns that fit a width, with their cells, and the headings of the others.

    First a cross-check goes without its figures. Then what options add (`ADDED`) goes to a
    table of its own below. Then columns go by their `drop`, the largest first, and the
    cross-check keeps its verdict alone.
    """
    every = columns(reports)
    for short in (0, 1):
        whole = _cells(every, reports, short)
        if _width(whole) <= width:
            return [whole], []
    below = [column for column in every if column.key in ADDED]
    first = [column for column in every if column.key not in ADDED]
    drops = sorted({column.drop for column in first} - {0}, reverse=True)
    levels = [(0, 1), (1, 1), *((count, 2) for count in range(1, len(drops) + 1))]
    steps = [
        _cells([column for column in first if column.drop not in drops[:count]], reports, short)
        for count, short in levels
    ]
    shown = next((step for step in steps if _width(step) <= width), steps[-1])
    parts = [shown]
    if below:
        keys = [column for column in every if column.key in NAMING]
        parts.append(_cells([*keys, *below], reports))
    kept = {column.key for column, _ in shown}
    return parts, [column.heading for column in first if column.key not in kept]


def _cells(shown: Sequence[Column], reports: Sequence[dict[str, Any]], short: int = 0) -> Cells:
    return [(column, [_cell(column, report, short) for report in reports]) for column in shown]


def _width(shown: Cells) -> int:
    """Of a table, with room for a star behind each figure that may be the best."""
    wide = [
        max(len(column.heading), *(len(text) + bool(column.better) for text in texts))
        for column, texts in shown
    ]
    return sum(wide) + _GAP * (len(wide) - 1)


def _cell(column: Column, report: dict[str, Any], short: int) -> str:
    texts = (column.text, *column.brief)
    return texts[min(short, len(texts) - 1)](report)


def _starred(
    column: Column, texts: Sequence[str], reports: Sequence[dict[str, Any]]
) -> list[str]:
    """Cells with a star behind the best, and room for it behind the others."""
    best = column.best(reports)
    if not best:
        return list(texts)
    return [f"{text}{'*' if i in best else ' '}" for i, text in enumerate(texts)]


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
    for name, report in zip(_called(reports), reports, strict=True):
        if found := report.get("yield"):
            _say(console, f"{name}: {quantities.chip_yield(found)}")


def _called(reports: Sequence[dict[str, Any]]) -> list[str]:
    """What to call reports of one or more models."""
    if len({report["model"] for report in reports}) < 2:
        return names(reports)
    pairs = zip(names(reports), reports, strict=True)
    return [f"{report['model']} on {name}" for name, report in pairs]


def _notes(console: Console, reports: Sequence[dict[str, Any]]) -> None:
    """Print the second checks, and every warning once, with the targets that gave it."""
    called = _called(reports)
    for name, report in zip(called, reports, strict=True):
        if report.get("second_check"):
            _say(console, f"{name}, second check: {_second(report)}")
    for name, report in zip(called, reports, strict=True):
        if ends := quantities.energy_range(report):
            _say(console, f"note: {name}: {_EVIDENCE} {ends}")
    found: dict[str, list[str]] = {}
    for report in reports:
        for text in report["warnings"]:
            who = found.setdefault(text, [])
            if report["target"] not in who:
                who.append(report["target"])
    for text, who in found.items():
        _say(console, f"note: {', '.join(who)}: {text}")


def _table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], left: int | set[int]
) -> Table:
    """A table; `left`: how many of the first columns are text, or which columns are."""
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
        words = i in left if isinstance(left, set) else i < left or heading in _WORDS
        aligned: Literal["left", "right"] = "left" if words else "right"
        # a figure stays on one line; a name may fold, since nothing may be cut
        table.add_column(heading, justify=aligned, no_wrap=not words, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _print(console: Console, title: str, table: Table) -> None:
    from rich.text import Text

    # not the table's own title, which folds where the table is narrower
    parts = (Text(title, style="bold"), table) if title else (table,)
    if console.is_terminal:
        console.print(*parts, "", sep="\n")
        return
    with console.capture() as printed:
        console.print(*parts, sep="\n")
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
