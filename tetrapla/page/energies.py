"""Where each machine's energy goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

from tetrapla import quantities
from tetrapla.columns import Facts
from tetrapla.drawing import charts
from tetrapla.page import parts

_IDLE = 3  # units that took nothing
_COLUMN = 4  # machines in one chart: more, and it is longer than a screen
_CAPTION = "Energy of one invocation by unit, on a logarithmic axis"


def drawn(reports: Sequence[Facts], called: Sequence[str], marks: Sequence[int]) -> str:
    """Dot plots of some machines each, with their tables."""
    figures = []
    rows = [
        charts.Parts(
            name, r["energy_pj"]["total"], sorted(r["energy_pj"]["by_unit"].items()), mark
        )
        for name, r, mark in zip(called, reports, marks, strict=True)
    ]
    known = [row for row in rows if any(amount for _, amount in row.parts)]
    for start in range(0, len(known), _COLUMN):
        some = known[start : start + _COLUMN]
        name = f"{reports[0]['model']} energy {some[0].label}"
        drawing = charts.dot_plot([_shown(row) for row in some], _CAPTION)
        figures.append(parts.figure(drawing, _CAPTION, name, _table(some)))
    unknown = [row for row in rows if row not in known]
    note = "".join(
        f"<p class=legend>{text}</p>"
        for text in [_unknown([row.label for row in unknown])]
        if unknown
    )
    return parts.charts(figures) + note


def _shown(row: charts.Parts) -> charts.Parts:
    """Without the units that took nothing, if they are several; the table has them."""
    idle = [unit for unit, amount in row.parts if amount == 0]
    if len(idle) < _IDLE:
        return row
    busy = [part for part in row.parts if part[0] not in idle]
    return replace(row, parts=[*busy, (f"{len(idle)} others", 0.0)])


def _table(rows: Sequence[charts.Parts]) -> str:
    cells = []
    for row in rows:
        for unit, pj in sorted(row.parts, key=lambda part: -(part[1] or 0.0)):
            share = pj / row.total if row.total and pj is not None else None
            cells.append([row.label, unit, quantities.energy(pj), quantities.share(share)])
    return parts.plain_table(("target", "unit", "energy", "share"), cells, label=_CAPTION)


def _unknown(called: Sequence[str]) -> str:
    return escape(f"No source gives the prices of {', '.join(called)}: its energy is unknown.")
