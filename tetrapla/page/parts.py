"""What every section of the page is made of: tables, figures and what folds, as HTML."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import Final

from tetrapla.files import as_bytes

# columns of figures, set flush right
_FIGURES: Final = frozenset(
    (
        *("latency", "energy", "accuracy", "area", "cycles", "MACs", "utilization", "share"),
        *(
            "throughput",
            "EDP",
            "batch",
            "value",
            "published",
            "ours",
            "error",
            "bytes",
            "start",
        ),
        *("busy", "slices", "spikes", "neurons", "conversions", "clipped", "intensity", "rate"),
        *("of the roof", "mean rate", "CO2/million", "cost/million"),
    )
)


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    words: Sequence[bool] | None = None,
    folds: Collection[str] = (),
    label: str = "",
) -> str:
    """A table of cells that are HTML already; figures stand right, and it scrolls by itself.

    Args:
        headings: plain text.
        rows: cells.
        words: which columns are text; by their headings for None.
        folds: headings of columns whose text is long enough to fold.
        label: what it holds, for who hears the page.
    """
    text = words or [heading.partition(" @")[0] not in _FIGURES for heading in headings]
    kinds = [
        " class=w" if heading in folds else "" if each else " class=n"
        for heading, each in zip(headings, text, strict=True)
    ]
    head = "".join(
        f"<th scope=col{kind}>{escape(heading)}</th>"
        for kind, heading in zip(kinds, headings, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{k}>{c}</td>" for k, c in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    name = f' aria-label="{escape(label)}"' if label else ""
    return (
        f'<div class=wide tabindex="0"><table{name}><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def plain_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, label: str = ""
) -> str:
    """A table of plain texts."""
    return table(headings, [[escape(cell) for cell in row] for row in rows], label=label)


def figure(drawing: str, caption: str, name: str, behind: str = "") -> str:
    """A chart with its caption, the name of its file, and the table that it draws."""
    if not drawing:
        return ""
    folded = f"<details><summary>Table</summary>{behind}</details>" if behind else ""
    return (
        f'<figure data-name="{escape(file_name(name))}">{drawing}'
        f"<figcaption>{escape(caption)}</figcaption>{folded}</figure>"
    )


def charts(figures: Iterable[str], kind: str = "") -> str:
    """Figures side by side, as many as there is room for."""
    found = "".join(figures)
    return f'<div class="charts{" " if kind else ""}{kind}">{found}</div>' if found else ""


def folded(summary: str, inside: str, *, opened: bool = False) -> str:
    """What opens on a click, and for the printer; `summary` is plain text."""
    state = " open" if opened else ""
    return f"<details{state}><summary>{escape(summary)}</summary>{inside}</details>"


def section(anchor: str, heading: str, inside: str, lead: str = "", level: int = 3) -> str:
    """A part with a heading that can be linked to."""
    first = f"<p class=lead>{escape(lead)}</p>" if lead else ""
    head = f"<h{level}>{escape(heading)}</h{level}>"
    return f'<section id="{anchor}">{head}{first}{inside}</section>'


def link(name: str, kind: str, text: str) -> str:
    """A file inside the page."""
    data = base64.b64encode(as_bytes(text)).decode()
    return f'<a class=file download="{name}" href="data:{kind};base64,{data}">{name}</a>'


def badge(text: str, kind: str = "", tip: str = "") -> str:
    """A fact in a few words; `kind` is good, weak or bad."""
    title = f' title="{escape(tip)}"' if tip else ""
    return f'<span class="badge{" " if kind else ""}{kind}"{title}>{escape(text)}</span>'


def file_name(text: str) -> str:
    """Letters, digits and hyphens of a text."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in text.lower())
    return "-".join(filter(None, kept.split("-")))[:60] or "chart"
