"""The report page: one HTML file that opens offline, prints, and fits a phone.

Every text is escaped, every chart stands beside the table that it draws, and nothing is
fetched: styles, charts and the downloads (data URIs) are inside.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files

from tetrapla import __version__, charts, pictures, quantities
from tetrapla.comparison import SCHEMA, Facts, bound_by, csv_of, verdict
from tetrapla.files import as_bytes
from tetrapla.simulators.report import to_json
from tetrapla.simulators.scene_ import Sight
from tetrapla.table import layer_cells

_HEADINGS = ("target", "latency", "energy", "accuracy", "area", "bound by", "cross-check")
# columns of figures, set flush right
_FIGURES = {"latency", "energy", "accuracy", "area", "cycles", "MACs", "utilization", "share"}
_PAPER = re.compile(r"\[(\w+): ([^\]]+)\]")  # as `origins` writes a source out
_LEGEND = (
    "Bold is the best of its column; n/a is not known. Brackets behind an energy are where its "
    "total lies if each price is within what its sources say. The cross-check holds the "
    "machine's own values against the reference interpreter on the same lowered module: "
    "bit-exact, within the bound that the number formats admit (tolerance), or as far from "
    "what its spec's noise predicts as chance admits, in standard errors σ (statistical)."
)


def page(reports: Sequence[Facts], sights: Sequence[Sight | None] = ()) -> str:
    """Return the page of one or more reports.

    Args:
        reports: in the order asked.
        sights: what there is to see of each; none: nothing of any.
    """
    models = list(dict.fromkeys(report["model"] for report in reports))
    seen = list(zip(reports, sights, strict=True)) if sights else []
    body = [_header(models, reports)]
    for model in models:
        heading = f"<h2>{escape(model)}</h2>" if len(models) > 1 else ""
        inside = "".join(
            pictures.drawn(report["target"], sight)
            for report, sight in seen
            if report["model"] == model and sight is not None
        )
        body.append(_model(heading, [r for r in reports if r["model"] == model], inside))
    body += [_warnings(reports), _downloads(reports), _provenance(reports)]
    style = (files("tetrapla") / "data" / "page.css").read_text("utf-8")
    title = escape(f"tetrapla: {', '.join(models)}")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head>\n"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def summary(reports: Sequence[Facts]) -> str:
    """Return the comparison's table alone, for a notebook."""
    return _table(_HEADINGS, [_row(report) for report in reports])


def _header(models: Sequence[str], reports: Sequence[Facts]) -> str:
    commands = dict.fromkeys(r["command"] for r in reports if r["command"])
    shown = "".join(f"<pre>{escape(text)}</pre>" for text in commands)
    seeds = ", ".join(dict.fromkeys(str(r["seed"]) for r in reports))
    about = f"tetrapla {__version__}, seed {seeds}. The same command gives the same figures."
    return f"<h1>{escape(', '.join(models))}</h1>{shown}<p>{escape(about)}</p>"


def _model(heading: str, reports: Sequence[Facts], inside: str) -> str:
    batches = ", ".join(dict.fromkeys(str(r["batch"]) for r in reports))
    judged = next((r["accuracy"] for r in reports if r["accuracy"]), None)
    about = f"Figures are of one invocation of {batches} inference(s)."
    if judged:
        share = 100 * judged["reference"]
        about += f" The float model answers {share:.1f} % of {judged['samples']} samples right."
    table = _table(_HEADINGS, [_row(r, _best(reports)) for r in reports])
    layers = "".join(_layers(report) for report in reports)
    return (
        f"<section>{heading}<p class=verdict>{escape(verdict(reports))}</p>"
        f"<p>{escape(about)}</p>{table}<p class=legend>{escape(_LEGEND)}</p>"
        f"{_scatters(reports)}{_energies(reports)}{inside}<h3>Layers</h3>{layers}</section>"
    )


def _best(reports: Sequence[Facts]) -> dict[str, float]:
    """The best figure of each column, to be set in bold; nothing is best of one."""
    if len(reports) < 2:
        return {}
    energies = [r["energy_pj"]["total"] for r in reports if r["energy_pj"]["total"] is not None]
    shares = [r["accuracy"]["target"] for r in reports if r["accuracy"] is not None]
    found = {"latency": min(r["time_s"] for r in reports)}
    if energies:
        found["energy"] = min(energies)
    if shares:
        found["accuracy"] = max(shares)
    return found


def _row(report: Facts, best: Mapping[str, float] | None = None) -> list[str]:
    best = best if best is not None else {}
    total = report["energy_pj"]["total"]
    figures = {
        "latency": (quantities.latency(report), report["time_s"]),
        "energy": (f"{quantities.energy(total)}{_between(report)}", total),
        "accuracy": (quantities.accuracy(report), (report["accuracy"] or {}).get("target")),
    }
    cells = [escape(report["target"])]
    for name, (text, value) in figures.items():
        strong = name in best and value == best[name]
        cells.append(f"<b>{escape(text)}</b>" if strong else escape(text))
    checks = [quantities.check(report["cross_check"])]
    if report.get("second_check"):
        checks.append(f"second check: {quantities.check(report['second_check'])}")
    bound = bound_by(report) or quantities.UNKNOWN
    words = (quantities.area(report["area_mm2"]), bound, "; ".join(checks))
    return [*cells, *map(escape, words)]


def _between(report: Facts) -> str:
    """The ends of an energy in brackets, where the evidence of its prices is weak."""
    ends = quantities.energy_range(report)
    return f" ({ends})" if ends else ""


def _scatters(reports: Sequence[Facts]) -> str:
    """Energy over latency, and accuracy over energy, where they are known."""
    known = [r for r in reports if r["energy_pj"]["total"] and r["time_s"] > 0]
    if not known:
        return "<p>No chart: no target's energy is known.</p>"
    times = charts.log_axis("latency", [r["time_s"] for r in known], "s")
    joules = [1e-12 * r["energy_pj"]["total"] for r in known]
    energies = charts.log_axis("energy per invocation", joules, "J")
    dots = [
        charts.Dot(r["target"], r["time_s"], joule, _share(r))
        for r, joule in zip(known, joules, strict=True)
    ]
    note = " (accuracy in brackets)" if any(r["accuracy"] for r in known) else ""
    parts = [_figure(f"Energy over latency{note}; lower left is better", dots, times, energies)]
    if all(r["accuracy"] for r in known):
        spreads = [r["accuracy"]["target_std"] or 0.0 for r in known]
        shares = [r["accuracy"]["target"] for r in known]
        lowest = min(share - spread for share, spread in zip(shares, spreads, strict=True))
        axis = charts.share_axis("accuracy", [*shares, max(lowest, 0.0)])
        dots = [
            charts.Dot(r["target"], joule, share, _share(r), spread)
            for r, joule, share, spread in zip(known, joules, shares, spreads, strict=True)
        ]
        caption = "Accuracy over energy; upper left is better"
        parts.append(_figure(caption, dots, energies, axis))
    return f"<div class=charts>{''.join(parts)}</div>"


def _share(report: Facts) -> str:
    return f"({quantities.accuracy(report)})" if report["accuracy"] else ""


def _figure(caption: str, dots: Sequence[charts.Dot], x: charts.Axis, y: charts.Axis) -> str:
    drawing = charts.scatter(dots, x, y, caption)
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def _energies(reports: Sequence[Facts]) -> str:
    rows, cells = [], []
    for report in reports:
        parts = sorted(report["energy_pj"]["by_unit"].items())
        total = report["energy_pj"]["total"]
        rows.append(charts.Parts(report["target"], total, parts))
        for unit, pj in parts:
            share = pj / total if total and pj is not None else None
            texts = (report["target"], unit, quantities.energy(pj), quantities.share(share))
            cells.append([escape(text) for text in texts])
    title = "Energy by unit, on a logarithmic axis"
    drawn = charts.dot_plot(rows, title)
    figure = f"<figure>{drawn}<figcaption>{title}</figcaption></figure>" if drawn else ""
    table = _table(("target", "unit", "energy", "share"), cells)
    return f"<h3>Energy by unit</h3><div class=charts>{figure}{table}</div>"


def _layers(report: Facts) -> str:
    headings = ("layer", "op", "cycles", "MACs", "utilization", "bound by", "energy")
    rows = [[escape(cell) for cell in layer_cells(row)] for row in report["layers"]]
    cycles = quantities.count(report["cycles"])
    name = f"{report['target']}: {len(rows)} layers, {cycles} cycles"
    return f"<details open><summary>{escape(name)}</summary>{_table(headings, rows)}</details>"


def _yields(report: Facts) -> list[str]:
    return [quantities.chip_yield(report["yield"])] if "yield" in report else []


def _warnings(reports: Sequence[Facts]) -> str:
    items = dict.fromkeys(
        f"{report['target']}: {text}"
        for report in reports
        for text in (*_yields(report), *report["warnings"])
    )
    if not items:
        return ""
    listed = "".join(f"<li>{escape(text)}</li>" for text in items)
    return f"<section><h2>Warnings</h2><ul>{listed}</ul></section>"


def _provenance(reports: Sequence[Facts]) -> str:
    """Every constant that a target was simulated with, its source and its grade."""
    parts = []
    for report in {r["target"]: r for r in reports}.values():
        papers: dict[str, str] = {}
        rows = [
            [
                escape(entry["field"]),
                escape(f"{entry['value']} {entry['unit']}".strip()),
                escape(entry["grade"]),
                escape(_shortened(entry["source"], papers) or "given by the user"),
            ]
            for entry in report["provenance"]
            if entry["value"] != "null"
        ]
        table = _table(("constant", "value", "grade", "source"), rows)
        name = escape(f"{report['target']}: {len(rows)} constants")
        listed = "".join(f"<li>[{escape(k)}] {escape(v)}</li>" for k, v in papers.items())
        known = f"<ul>{listed}</ul>" if listed else ""
        parts.append(f"<details open><summary>{name}</summary>{known}{table}</details>")
    return f"<section><h2>Constants and their sources</h2>{''.join(parts)}</section>"


def _shortened(source: str, papers: dict[str, str]) -> str:
    """A source with ``[name: paper]`` as ``[name]``; the paper is noted, to be listed once."""

    def short(match: re.Match[str]) -> str:
        return (
            f"[{match[1]}]" if papers.setdefault(match[1], match[2]) == match[2] else match[0]
        )

    return _PAPER.sub(short, source)


def _downloads(reports: Sequence[Facts]) -> str:
    data = to_json({"schema": SCHEMA, "reports": list(reports)})
    links = [
        _link("report.json", "application/json", data),
        _link("report.csv", "text/csv", csv_of(reports)),
    ]
    return f"<section><h2>Data</h2><p>{' '.join(links)}</p></section>"


def _link(name: str, kind: str, text: str) -> str:
    data = base64.b64encode(as_bytes(text)).decode()
    return f'<a download="{name}" href="data:{kind};base64,{data}">{name}</a>'


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; numbers are set flush right."""
    kinds = [" class=n" if heading in _FIGURES else "" for heading in headings]
    head = "".join(
        f"<th{kind}>{escape(text)}</th>" for kind, text in zip(kinds, headings, strict=True)
    )
    body = "".join(f"<tr>{_cells(kinds, row)}</tr>" for row in rows)
    return (
        f"<div class=wide><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cells(kinds: Sequence[str], row: Sequence[str]) -> str:
    return "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True))
