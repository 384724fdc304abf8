"""The page of `validate`: what each suite holds, every bound, and the errors, as Markdown.

The text of a suite is `tetrapla/suites/NAME.md`; all numbers come from its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files

from tetrapla.validation import Row

LISTED = 40  # rows of one quantity that are listed each
# errors below it are roundings, which depend on the processor
_ROUNDING = 1e-9
_DIGITS = 3  # of a value; processors may differ in the last ones
_INTRO = """# Validation

Published or golden numbers beside ours. `tetrapla validate [SUITE...]` computes them again,
and `tetrapla validate --page docs/validation.md` writes this page; a test holds the page to
what it writes. A row with a bound passes or fails, and a failure exits 1; a row without one
informs, because no public data supports a bound. [report.md](report.md) gives the JSON.
`--golden DIR` takes other tables of the layout of `tetrapla/data/golden`, whose README says
where the shipped ones come from; `n/a` is a number that was never published, that cannot be
computed, or whose table is not shipped.
"""


def markdown(rows: Sequence[Row]) -> str:
    """Return the page of the rows, a section for each of their suites."""
    names = tuple(dict.fromkeys(row.suite for row in rows))
    parts = [_INTRO, _table(("suite", "rows", "with a bound", "passed"), _totals(rows, names))]
    parts += [_suite(name, [row for row in rows if row.suite == name]) for name in names]
    return "\n".join(parts)


def _totals(rows: Sequence[Row], names: Sequence[str]) -> list[tuple[str, ...]]:
    held = {name: [row for row in rows if row.suite == name] for name in names}
    return [
        (f"[{name}](#{name})", f"{len(each):,}", f"{len(_judged(each)):,}", _passed(each))
        for name, each in held.items()
    ]


def _suite(name: str, rows: Sequence[Row]) -> str:
    about = files("tetrapla.suites").joinpath(f"{name}.md").read_text("utf-8")
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.quantity, row.unit), []).append(row)
    headings = ("quantity", "rows", "passed", "largest error", "bound", "rows that inform")
    summary = [
        (
            quantity if unit == "1" else f"{quantity}, {unit}",
            f"{len(held):,}",
            _passed(held),
            _largest(_judged(held)),
            _bounds(held),
            _largest([row for row in held if row.bound is None]),
        )
        for (quantity, unit), held in groups.items()
    ]
    listed = [row for held in groups.values() if len(held) <= LISTED for row in held]
    text = f"## {name}\n\n{about}\n{_table(headings, summary)}"
    if not listed:
        return text
    cells = ("case", "quantity", "published", "ours", "error", "bound", "source")
    return f"{text}\n{_table(cells, [_cells(row) for row in listed])}"


def _cells(row: Row) -> tuple[str, ...]:
    error = "n/a" if row.rel_error is None else _percent(row.rel_error, sign=True)
    bound = "informs" if row.bound is None else _limit(row.bound)
    if row.passed is False:
        bound += ": FAILED"
    values = [_value(value, row.unit) for value in (row.published, row.ours)]
    return (row.case, row.quantity, *values, error, bound, row.source)


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "n/a"
    if value != 0 and abs(value) < _ROUNDING:
        return f"below {_ROUNDING:.0e}"
    shown = f"{value:.{_DIGITS}g}"
    return shown if unit == "1" else f"{shown} {unit}"


def _judged(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.bound is not None]


def _passed(rows: Sequence[Row]) -> str:
    judged = _judged(rows)
    return f"{sum(row.passed is True for row in judged):,} of {len(judged):,}" if judged else ""


def _largest(rows: Sequence[Row]) -> str:
    """The largest error of some rows; nothing where there are none."""
    errors = [abs(row.rel_error) for row in rows if row.rel_error is not None]
    return _percent(max(errors)) if errors else "n/a" if rows else ""


def _bounds(rows: Sequence[Row]) -> str:
    bounds = sorted({row.bound for row in rows if row.bound is not None})
    ends = dict.fromkeys(_limit(bound) for bound in (*bounds[:1], *bounds[-1:]))
    return " to ".join(ends)


def _limit(bound: float) -> str:
    """A bound as a share; those of roundings are powers of ten, never rounded up."""
    if bound == 0:
        return "0"
    return f"{bound:.1e}" if bound < 1e-4 else f"{100 * bound:.3g} %"


def _percent(error: float, *, sign: bool = False) -> str:
    if error == 0:
        return "0"
    if abs(error) < _ROUNDING:
        return f"< {_ROUNDING:.0e}"
    if abs(error) < 1e-4:
        return f"{abs(error):.0e}"
    return f"{100 * error:{'+' if sign else ''}.2g} %"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["-"] * len(headings), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
