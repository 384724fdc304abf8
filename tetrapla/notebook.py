"""How results and designs show themselves in a notebook: plain HTML, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from tetrapla import quantities
from tetrapla.ir.errors import ModelError

if TYPE_CHECKING:
    from tetrapla.sweeps.grid import Sweep

_ROWS = 50  # of a table; the rest is counted


def sweep_html(sweep: Sweep) -> str:
    """The points as a table, the front in bold, and the picture of the first two objectives."""
    if not sweep.points:
        return "<p>a sweep without points</p>"
    first = sweep.points[0].report
    fields = list(sweep.points[0].settings)
    headings = [*fields, "latency", "energy", "accuracy", "area", "on the front"]
    order = sorted(range(len(sweep.points)), key=lambda n: not sweep.points[n].pareto)
    rows, bold = list[list[str]](), set[int]()
    for n in sorted(order[:_ROWS]):
        point = sweep.points[n]
        report = point.report.to_dict(sight=False)
        if point.pareto:
            bold.add(len(rows))
        rows.append(
            [
                *(point.settings.get(field, "") for field in fields),
                quantities.latency(report),
                quantities.energy(report["energy_pj"]["total"]),
                quantities.accuracy(report),
                quantities.area(report["area_mm2"]),
                "yes" if point.pareto else "",
            ]
        )
    title = f"{first.model} on {first.target}: {len(sweep.points)} points"
    left = len(sweep.points) - len(rows)
    more = f"<p>and {left} more points, none of them on the front</p>" if left else ""
    return f"<h3>{escape(title)}</h3>{table(headings, rows, bold)}{more}{_picture(sweep)}"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], bold: set[int]) -> str:
    """A table of text, escaped; rows of these numbers in bold."""
    head = "".join(f"<th>{escape(each)}</th>" for each in headings)
    body = []
    for number, row in enumerate(rows):
        cells = "".join(f"<td>{escape(each)}</td>" for each in row)
        style = ' style="font-weight: bold"' if number in bold else ""
        body.append(f"<tr{style}>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _picture(sweep: Sweep) -> str:
    from tetrapla.sweeps.figure import picture

    try:
        return f'<div style="max-width: 560px">{picture(sweep)}</div>'
    except ModelError:  # one objective, or nothing known: the table says all there is
        return ""
