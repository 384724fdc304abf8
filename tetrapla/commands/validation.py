"""The command that holds our numbers against published ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tetrapla.commands.options import Json

if TYPE_CHECKING:
    from tetrapla.validation import Row

_MOST = 20  # broken rows that are shown
_LISTED = 100  # rows of a suite that are shown each; of a longer one, those that break
_COARSE = 1e-3
_HEADINGS = ("case", "quantity", "published", "ours", "error")


def validate(
    suite: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SUITE...]", help="Suites; all of them for none."),
    ] = None,
    json: Json = None,
    golden: Annotated[
        Path | None,
        typer.Option("--golden", metavar="DIR", help="Other golden tables, laid out alike."),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--page", metavar="FILE", help="Write all as a Markdown page."),
    ] = None,
) -> int:
    """Compare published or golden numbers with ours; 1 if a bound is broken."""
    from tetrapla.files import STDOUT, check_outputs, write_all
    from tetrapla.simulators.report import to_json
    from tetrapla.table import show_rows
    from tetrapla.validation import SCHEMA
    from tetrapla.validation import validate as rows_of
    from tetrapla.validation_page import markdown

    check_outputs([json, page])
    rows = rows_of(suite or (), golden)
    headings = ("suite", "quantity", "rows", "passed", "largest error", "bound")
    show_rows("validation", headings, _summary(rows), err=json == STDOUT)
    for name in dict.fromkeys(row.suite for row in rows):
        held = [row for row in rows if row.suite == name]
        if len(held) <= _LISTED:
            cells = [(*_cells(row), _verdict(row)) for row in held]
            show_rows(name, (*_HEADINGS, "bound"), cells, err=json == STDOUT)
    broken = [row for row in rows if row.passed is False]
    if broken:
        shown = [_cells(row) for row in broken[:_MOST]]
        title = f"{len(broken)} rows break their bound, the first {len(shown)}"
        show_rows(title, _HEADINGS, shown, err=json == STDOUT)
    contents = dict[Path, str]()
    if json is not None:
        found = {"schema": SCHEMA, "rows": [row.to_dict() for row in rows]}
        contents[json] = to_json(found)
    if page is not None:
        contents[page] = markdown(rows)
    write_all(contents)
    return 1 if broken else 0


def _summary(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """One line for each quantity of each suite."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.suite, row.quantity), []).append(row)
    return [
        (suite, quantity, str(len(held)), _passed(held), _worst(held), _bound(held))
        for (suite, quantity), held in groups.items()
    ]


def _passed(rows: Sequence[Row]) -> str:
    judged = [row.passed for row in rows if row.passed is not None]
    return f"{sum(judged)} of {len(judged)}" if judged else "n/a"


def _worst(rows: Sequence[Row]) -> str:
    errors = [abs(row.rel_error) for row in rows if row.rel_error is not None]
    return f"{max(errors):.2g}" if errors else "n/a"


def _bound(rows: Sequence[Row]) -> str:
    bounds = [row.bound for row in rows if row.bound is not None]
    return f"{max(bounds):.2g}" if bounds else "n/a"


def _verdict(row: Row) -> str:
    if row.bound is None:
        return "informs"
    return f"{100 * row.bound:.3g} %: {'passed' if row.passed else 'FAILED'}"


def _cells(row: Row) -> tuple[str, ...]:
    error = "n/a" if row.rel_error is None else f"{100 * row.rel_error:+.3g} %"
    known, found = (_value(row, value) for value in (row.published, row.ours))
    return (row.case, row.quantity, known, found, error)


def _value(row: Row, value: float | None) -> str:
    """To the digits that a bound tells apart, or to four."""
    if value is None:
        return "n/a"
    digits = 4 if row.bound is None or row.bound > _COARSE else 10
    return f"{value:.{digits}g} {row.unit}"
