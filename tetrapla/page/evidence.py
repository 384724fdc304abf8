"""What the figures rest on: every constant with its source and grade, and every warning."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tetrapla import quantities
from tetrapla.columns import Facts
from tetrapla.page.parts import folded, table

_PAPER = re.compile(r"\[(\w+): ([^\]]+)\]")  # as `origins` writes a source out
_GRADES = ("measured", "published", "derived", "assumed", "user")


def weak(report: Facts) -> list[Mapping[str, Any]]:
    """The constants that no measurement or publication stands behind."""
    return [
        entry
        for entry in report["provenance"]
        if entry["value"] != "null"
        if entry["grade"] in ("assumed", "user") or not entry["source"]
    ]


def constants(reports: Sequence[Facts]) -> str:
    """Every constant that a target was simulated with; the weak ones are marked."""
    parts = []
    for report in {r["target"]: r for r in reports}.values():
        papers: dict[str, str] = {}
        guessed = {id(entry) for entry in weak(report)}
        rows = [
            [
                escape(entry["field"]),
                escape(f"{entry['value']} {entry['unit']}".strip()),
                f"<mark>{escape(entry['grade'])}</mark>"
                if id(entry) in guessed
                else escape(entry["grade"]),
                escape(_shortened(entry["source"], papers) or "given by the user"),
            ]
            for entry in report["provenance"]
            if entry["value"] != "null"
        ]
        listed = "".join(f"<li>[{escape(k)}] {escape(v)}</li>" for k, v in papers.items())
        known = f"<ul class=papers>{listed}</ul>" if listed else ""
        name = f"{report['target']}: {len(rows)} constants, {_graded(report)}"
        found = table(
            ("constant", "value", "grade", "source"), rows, words=[True] * 4, folds=("source",)
        )
        parts.append(folded(name, known + found))
    lead = (
        "Every number of each machine, as its file gives it, with the place that it is from. A "
        "marked grade is weak: assumed, or given without a source."
    )
    return f"<p class=lead>{lead}</p>{''.join(parts)}"


def warnings(reports: Sequence[Facts]) -> str:
    """What the figures leave out or assume, once each, with the machines that said it."""
    found: dict[str, list[str]] = {}
    for report in reports:
        more = [quantities.chip_yield(report["yield"])] if "yield" in report else []
        for text in (*more, *report["warnings"]):
            held = found.setdefault(text, [])
            if report["target"] not in held:
                held.append(report["target"])
    if not found:
        return ""
    by_target: dict[str, list[str]] = {}
    for text, targets in found.items():
        by_target.setdefault(", ".join(targets), []).append(text)
    parts = [
        f"<dt>{escape(who)}</dt><dd><ul>"
        + "".join(f"<li>{escape(text)}</li>" for text in texts)
        + "</ul></dd>"
        for who, texts in by_target.items()
    ]
    return f"<dl class=warnings>{''.join(parts)}</dl>"


def _graded(report: Facts) -> str:
    grades = [e["grade"] for e in report["provenance"] if e["value"] != "null"]
    return ", ".join(f"{grades.count(each)} {each}" for each in _GRADES if each in grades)


def _shortened(source: str, papers: dict[str, str]) -> str:
    """A source with ``[name: paper]`` as ``[name]``; the paper is noted, to be listed once."""

    def short(match: re.Match[str]) -> str:
        return (
            f"[{match[1]}]" if papers.setdefault(match[1], match[2]) == match[2] else match[0]
        )

    return _PAPER.sub(short, source)
