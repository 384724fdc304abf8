"""What was published of the machines shown, beside what this program gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tetrapla.page import parts
from tetrapla.published import kept

_HEADINGS = ("target", "figure", "of", "published", "ours", "error", "bound", "source")
_LEAD = (
    "Figures of papers, datasheets and other simulators, and the same from this program's "
    "machines, by tetrapla validate. A row with a bound must stay within it, or the project's "
    "tests fail; a row without one informs."
)


def beside(targets: Sequence[str]) -> str:
    """The figures with a bound in a table, the others folded, and whom nothing is known of."""
    rows = [row for target in targets for row in kept() if row["chip"] == target]
    bounded = [row for row in rows if row["bound"] is not None]
    found = _table(bounded) if bounded else ""
    for target in targets:
        others = [row for row in rows if row["chip"] == target and row["bound"] is None]
        if others:
            found += parts.folded(f"{target}: {len(others)} that inform", _table(others))
    without = [t for t in targets if not any(row["chip"] == t for row in rows)]
    left = escape(", ".join(without))
    note = f"<p class=legend>No suite has a published figure of {left}.</p>" if without else ""
    return f"<p class=lead>{_LEAD}</p>{found}{note}"


def judged(target: str) -> tuple[int, int]:
    """How many figures of a machine have a bound, and how many are within it."""
    found = [row for row in kept() if row["chip"] == target and row["bound"] is not None]
    return sum(r["cases"] for r in found), sum(r["cases"] for r in found if r["passed"])


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [[escape(cell) for cell in _cells(row)] for row in rows]
    words = [True, True, True, False, False, False, True, True]
    folds = ("figure", "of", "source")
    return parts.table(_HEADINGS, cells, words=words, folds=folds, label="Published and ours")


def _cells(row: Mapping[str, Any]) -> list[str]:
    unit = "" if row["unit"] in ("1", "numbers") else f" {row['unit']}"
    error = "n/a"
    if row["published"]:
        error = f"{100 * (row['ours'] / row['published'] - 1):+.3g} %"
    elif row["ours"] == 0:
        error = "0 %"
    case = (
        row["case"] if row["cases"] == 1 else f"{row['cases']} cases, the worst: {row['case']}"
    )
    return [
        row["chip"],
        row["quantity"].replace("_", " "),
        case,
        f"{row['published']:.4g}{unit}",
        f"{row['ours']:.4g}{unit}",
        error,
        _bound(row),
        row["source"],
    ]


def _bound(row: Mapping[str, Any]) -> str:
    if row["bound"] is None:
        return "informs"
    said = "passed" if row["passed"] else "FAILED"
    return f"{100 * row['bound']:.2g} %: {said}"
