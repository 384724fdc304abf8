"""The report page: one HTML file that opens offline, prints, and fits a phone.

Every text is escaped, every chart stands beside the table that it draws, and nothing is
fetched: styles, charts, the script that saves a chart and the downloads (data URIs) are
inside. Nothing needs the script: it adds buttons and opens what is folded for the printer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

from tetrapla import __version__
from tetrapla.columns import Facts, names
from tetrapla.page import (
    energies,
    evidence,
    header,
    inside,
    layers,
    published,
    rooflines,
    tradeoffs,
)
from tetrapla.page.downloads import downloads
from tetrapla.page.parts import section
from tetrapla.simulators.scene_ import Sight

# nothing may be fetched, even where a text got through unescaped
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
)


def page(
    reports: Sequence[Facts],
    sights: Sequence[Sight | None] = (),
    left_out: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Return the page of one or more reports.

    Args:
        reports: in the order asked.
        sights: what there is to see of each beside its dictionary; none: nothing of any.
        left_out: what a comparison was asked for and has not, by the reason.
    """
    seen = list(sights) if sights else [None] * len(reports)
    models = list(dict.fromkeys(report["model"] for report in reports))
    targets = list(dict.fromkeys(report["target"] for report in reports))
    parts, contents = [], list[tuple[str, str, int]]()
    for number, model in enumerate(models):
        places = [i for i, report in enumerate(reports) if report["model"] == model]
        own = [reports[i] for i in places]
        made = _model(f"m{number}", own, [seen[i] for i in places], targets)
        contents.append((f"m{number}", model, 2))
        contents += [(anchor, heading, 3) for anchor, heading, _ in made]
        body = "".join(section(*each) for each in made)
        parts.append(
            f'<section class=model id="m{number}"><h2>{escape(model)}</h2>'
            f"{header.verdict_of(own)}{body}</section>"
        )
    common = [
        ("left-out", "Left out", _left_out(left_out or {})),
        ("warnings", "Warnings", evidence.warnings(reports)),
        ("assumptions", "Constants and their sources", evidence.constants(reports)),
        ("published", "Published figures beside ours", published.beside(targets)),
        ("data", "Data", downloads(reports)),
    ]
    for anchor, heading, text in common:
        if text:
            contents.append((anchor, heading, 2))
            parts.append(section(anchor, heading, text, level=2))
    data = files("tetrapla") / "data"
    style, script = ((data / f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    title = escape(f"tetrapla: {', '.join(models)}")
    head = header.head(models, reports, targets)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="generator" content="tetrapla {__version__}">'
        f"<title>{title}</title><style>{style}</style></head>\n"
        f"<body><main>{head}{_contents(contents)}{''.join(parts)}</main>"
        f"<script>{script}</script></body></html>\n"
    )


def _left_out(reasons: Mapping[str, Sequence[str]]) -> str:
    """What no machine could do, as a list; nothing where there is nothing."""
    items = [
        f"<li>{escape(', '.join(who))}: {escape(why)}</li>" for why, who in reasons.items()
    ]
    return f"<ul>{''.join(items)}</ul>" if items else ""


def summary(reports: Sequence[Facts]) -> str:
    """Return the comparison's table alone, for a notebook."""
    models = dict.fromkeys(report["model"] for report in reports)
    return "".join(header.compared([r for r in reports if r["model"] == m]) for m in models)


def _model(
    anchor: str, reports: Sequence[Facts], sights: Sequence[Sight | None], targets: list[str]
) -> list[tuple[str, str, str]]:
    """The sections about one model: anchor, heading, content."""
    called = names(reports)
    # a target has one mark all over the page, its variants others behind all targets
    marks = [targets.index(report["target"]) for report in reports]
    if len(set(marks)) < len(marks):
        marks = list(range(len(reports)))
    found = [
        ("tradeoffs", "Latency, energy, accuracy", tradeoffs.drawn(reports, called, marks)),
        ("energy", "Energy by unit", energies.drawn(reports, called, marks)),
        ("roofline", "Rooflines", rooflines.drawn(reports, called, marks)),
        ("layers", "Layers", layers.drawn(anchor, reports, called)),
        ("time", "Timelines", inside.timelines(reports, called)),
        ("inside", "Inside the machines", inside.drawn(reports, called, sights)),
    ]
    return [(f"{anchor}-{name}", heading, text) for name, heading, text in found if text]


def _contents(entries: Sequence[tuple[str, str, int]]) -> str:
    rows: list[list[str]] = [[]]
    last = 3
    for anchor, heading, level in entries:
        # a model with its sections is a row, and so is what comes after them
        if level < last or (last == 3 and level == 2):
            rows.append([])
        last = level
        rows[-1].append(f'<a class="l{level}" href="#{anchor}">{escape(heading)}</a>')
    held = "".join(f"<div>{''.join(row)}</div>" for row in rows if row)
    return f'<nav aria-label="Contents">{held}</nav>'
