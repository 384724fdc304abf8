"""The report page: one HTML file that opens offline, prints, and fits a phone.

Every text is escaped, every chart stands beside the table that it draws, and nothing is
fetched: styles, charts and the downloads (data URIs) are inside.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any, TypeAlias

from tetrapla import charts, quantities
from tetrapla.comparison import COLUMNS, bound_by, flat
from tetrapla.simulators.report import to_json

Facts: TypeAlias = Mapping[str, Any]  # a report's dictionary, schema tetrapla.report/1

_HEADINGS = ("target", "latency", "energy", "accuracy", "area", "bound by", "cross-check")


def page(reports: Sequence[Facts]) -> str:
    """Return the page of one or more reports."""
    models = list(dict.fromkeys(report["model"] for report in reports))
    body = [_header(models, reports)]
    for model in models:
        body.append(_model(model, [r for r in reports if r["model"] == model]))
    body += [_warnings(reports), _provenance(reports), _downloads(reports)]
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


def verdict(reports: Sequence[Facts]) -> str:
    """One sentence: who is best at what, and whether the numbers were checked."""
    parts = []
    fastest = min(reports, key=lambda report: float(report["time_s"]))
    parts.append(f"{fastest['target']} has the lowest latency ({quantities.latency(fastest)})")
    priced = [r for r in reports if r["energy_pj"]["total"] is not None]
    if priced:
        least = min(priced, key=lambda report: float(report["energy_pj"]["total"]))
        shown = quantities.energy(least["energy_pj"]["total"])
        parts.append(f"{least['target']} the lowest energy ({shown})")
    judged = [r for r in reports if r["accuracy"] is not None]
    if judged:
        best = max(float(r["accuracy"]["target"]) for r in judged)
        names = [r["target"] for r in judged if r["accuracy"]["target"] == best]
        parts.append(f"{' and '.join(names)} the highest accuracy ({100 * best:.1f} %)")
    return f"{', '.join(parts)}; {_checked(reports)}."


def _checked(reports: Sequence[Facts]) -> str:
    failed = [
        r["target"] for r in reports if r["cross_check"] and not r["cross_check"]["passed"]
    ]
    unchecked = [r["target"] for r in reports if r["cross_check"] is None]
    if failed:
        return f"the cross-check FAILED on {', '.join(failed)}"
    if unchecked:
        return f"there is no cross-check for {', '.join(unchecked)}"
    return "every machine agrees with the reference interpreter within its bound"


def _header(models: Sequence[str], reports: Sequence[Facts]) -> str:
    commands = dict.fromkeys(r["command"] for r in reports if r["command"])
    shown = "".join(f"<pre>{escape(text)}</pre>" for text in commands)
    seeds = ", ".join(dict.fromkeys(str(r["seed"]) for r in reports))
    return f"<h1>{escape(', '.join(models))}</h1>{shown}<p>Seed {escape(seeds)}.</p>"


def _model(model: str, reports: Sequence[Facts]) -> str:
    batches = ", ".join(dict.fromkeys(str(r["batch"]) for r in reports))
    judged = next((r["accuracy"] for r in reports if r["accuracy"]), None)
    about = f"Figures are of one invocation of {batches} inference(s)."
    if judged:
        share = 100 * judged["reference"]
        about += f" The float model answers {share:.1f} % of {judged['samples']} samples right."
    best = _best(reports)
    table = _table(_HEADINGS, [_row(r, best) for r in reports])
    layers = "".join(_layers(report) for report in reports)
    return (
        f"<section><h2>{escape(model)}</h2><p class=verdict>{escape(verdict(reports))}</p>"
        f"<p>{escape(about)}</p>{table}{_scatters(reports)}{_energies(reports)}"
        f"<h3>Layers</h3>{layers}</section>"
    )


def _best(reports: Sequence[Facts]) -> dict[str, float]:
    """The best figure of each column, to be set in bold."""
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
    figures = {
        "latency": (quantities.latency(report), report["time_s"]),
        "energy": (
            quantities.energy(report["energy_pj"]["total"]),
            report["energy_pj"]["total"],
        ),
        "accuracy": (
            quantities.accuracy(report),
            (report["accuracy"] or {}).get("target"),
        ),
    }
    cells = [escape(report["target"])]
    for name, (text, value) in figures.items():
        strong = name in best and value == best[name]
        cells.append(f"<b>{escape(text)}</b>" if strong else escape(text))
    checks = [quantities.check(report["cross_check"])]
    if report.get("second_check"):
        checks.append(f"second check: {quantities.check(report['second_check'])}")
    bound = bound_by(report) or "n/a"
    return [*cells, escape(quantities.area(report)), escape(bound), escape("; ".join(checks))]


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
    parts = [_figure("Energy over latency; lower left is better", dots, times, energies)]
    if all(r["accuracy"] for r in known):
        shares = [r["accuracy"]["target"] for r in known]
        axis = charts.share_axis("accuracy", shares)
        dots = [
            charts.Dot(r["target"], joule, share, _share(r))
            for r, joule, share in zip(known, joules, shares, strict=True)
        ]
        parts.append(
            _figure("Accuracy over energy; upper left is better", dots, energies, axis)
        )
    return f"<div class=charts>{''.join(parts)}</div>"


def _share(report: Facts) -> str:
    return f"({quantities.accuracy(report)})" if report["accuracy"] else ""


def _figure(caption: str, dots: Sequence[charts.Dot], x: charts.Axis, y: charts.Axis) -> str:
    drawing = charts.scatter(dots, x, y, caption)
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def _energies(reports: Sequence[Facts]) -> str:
    rows, lines = [], []
    for report in reports:
        parts = sorted(report["energy_pj"]["by_unit"].items())
        lines += [[report["target"], unit, quantities.energy(pj)] for unit, pj in parts]
        if report["energy_pj"]["total"]:
            rows.append((report["target"], [(unit, pj) for unit, pj in parts if pj]))
    cells = [[escape(cell) for cell in line] for line in lines]
    table = _table(("target", "unit", "energy"), cells)
    drawn = ""
    if rows:
        title = "Energy by unit, as shares of each target's total"
        drawn = (
            f"<figure>{charts.stacked(rows, title)}<figcaption>{title}</figcaption></figure>"
        )
    return f"{drawn}<details><summary>Energy by unit, as a table</summary>{table}</details>"


def _layers(report: Facts) -> str:
    headings = ("layer", "op", "cycles", "MACs", "utilization", "bound by", "energy")
    rows = []
    for row in report["layers"]:
        used = row["utilization_frac"]
        cells = (
            row["name"],
            row["op"],
            f"{row['cycles']:,.0f}",
            f"{row['macs']:,}",
            "n/a" if used is None else f"{100 * used:.1f} %",
            row["bound_by"],
            quantities.energy(row["energy_pj"]),
        )
        rows.append([escape(cell) for cell in cells])
    name = f"{report['target']}: {len(rows)} layers, {report['cycles']:,.0f} cycles"
    return f"<details><summary>{escape(name)}</summary>{_table(headings, rows)}</details>"


def _warnings(reports: Sequence[Facts]) -> str:
    items = dict.fromkeys(
        f"{report['target']}: {text}" for report in reports for text in report["warnings"]
    )
    if not items:
        return ""
    listed = "".join(f"<li>{escape(text)}</li>" for text in items)
    return f"<section><h2>Warnings</h2><ul>{listed}</ul></section>"


def _provenance(reports: Sequence[Facts]) -> str:
    """Every constant that a target was simulated with, its source and its grade."""
    parts = []
    for report in {r["target"]: r for r in reports}.values():
        rows = [
            [
                escape(entry["field"]),
                escape(f"{entry['value']} {entry['unit']}".strip()),
                escape(entry["grade"]),
                escape(entry["source"]),
            ]
            for entry in report["provenance"]
        ]
        table = _table(("constant", "value", "grade", "source"), rows)
        name = escape(f"{report['target']}: {len(rows)} constants")
        parts.append(f"<details><summary>{name}</summary>{table}</details>")
    return f"<section><h2>Constants and their sources</h2>{''.join(parts)}</section>"


def _downloads(reports: Sequence[Facts]) -> str:
    data = to_json({"schema": "tetrapla.compare/1", "reports": list(reports)})
    lines = [",".join(COLUMNS)]
    for report in reports:
        row = flat(report)
        lines.append(",".join(_csv(row[name]) for name in COLUMNS))
    links = [
        _link("report.json", "application/json", data),
        _link("report.csv", "text/csv", "\n".join(lines) + "\n"),
    ]
    return f"<section><h2>Data</h2><p>{' '.join(links)}</p></section>"


def _csv(value: object) -> str:
    text = "" if value is None else str(value)
    return f'"{text.replace(chr(34), 2 * chr(34))}"' if set(text) & set('",\n') else text


def _link(name: str, kind: str, text: str) -> str:
    data = base64.b64encode(text.encode()).decode()
    return f'<a download="{name}" href="data:{kind};base64,{data}">{name}</a>'


def _table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    head = "".join(f"<th>{escape(text)}</th>" for text in headings)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f"<div class=wide><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
