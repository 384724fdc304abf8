"""Latency, energy, accuracy and area of all machines in two charts, and their Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import sqrt
from typing import Final

from tetrapla import quantities
from tetrapla.columns import Facts, energy_pj, pareto
from tetrapla.drawing import charts
from tetrapla.page import parts

_SMALLEST, _LARGEST, _USUAL = 5.0, 14.0, 6.0  # radii of marks
_HEADINGS: Final = ("target", "latency", "energy", "accuracy", "area", "front")


def drawn(reports: Sequence[Facts], called: Sequence[str], marks: Sequence[int]) -> str:
    """Energy over latency, and accuracy over energy, where they are known."""
    places = [i for i, r in enumerate(reports) if energy_pj(r) and r["time_s"] > 0]
    table = _table(reports, called)
    if not places:
        return f"<p>No chart: no target's energy is known.</p>{table}"
    known = [reports[i] for i in places]
    joules = [1e-12 * (energy_pj(r) or 0.0) for r in known]
    radii = _radii(reports)
    times = charts.log_axis("latency of one invocation", [r["time_s"] for r in known], "s")
    energies = charts.log_axis("energy of one inference", joules, "J")
    dots = [
        charts.Dot(
            called[i],
            reports[i]["time_s"],
            joule,
            _share(reports[i]),
            mark=marks[i],
            radius=radii[i] or _USUAL,
            hollow=radii[i] is None,
        )
        for i, joule in zip(places, joules, strict=True)
    ]
    shares = " (accuracy in brackets)" if any(r["accuracy"] for r in known) else ""
    caption = (
        f"Energy over latency{shares}; lower left is better. A mark's area is the chip's; an "
        "outline has none that is known."
    )
    on = pareto(reports)
    front = [(d.x, d.y) for d, i in zip(dots, places, strict=True) if on[i]]
    line = _steps(front)
    if line:
        caption += " The line is the front of these two; accuracy may add others to it."
    figures = [
        parts.figure(
            charts.scatter(dots, times, energies, caption, line),
            caption,
            f"{known[0]['model']} energy latency",
            table,
        )
    ]
    if all(r["accuracy"] for r in known):
        figures.append(
            _accuracies(
                known, [called[i] for i in places], [marks[i] for i in places], joules, energies
            )
        )
    left = ", ".join(name for i, name in enumerate(called) if i not in places)
    note = f"<p class=legend>Not drawn, since its energy is unknown: {escape(left)}.</p>"
    return parts.charts(figures) + (note if left else "")


def _accuracies(
    known: Sequence[Facts],
    called: Sequence[str],
    marks: Sequence[int],
    joules: Sequence[float],
    energies: charts.Axis,
) -> str:
    spreads = [r["accuracy"]["target_std"] or 0.0 for r in known]
    shares = [r["accuracy"]["target"] for r in known]
    lowest = min(share - spread for share, spread in zip(shares, spreads, strict=True))
    axis = charts.share_axis("accuracy", [*shares, max(lowest, 0.0)])
    dots = [
        charts.Dot(name, joule, share, "", spread, mark, tip=f"{name} {_share(r)}")
        for name, r, joule, share, spread, mark in zip(
            called, known, joules, shares, spreads, marks, strict=True
        )
    ]
    caption = "Accuracy over energy; upper left is better. Bars are ± a standard deviation."
    if not any(spreads):
        caption = "Accuracy over energy; upper left is better."
    rows = [
        [name, quantities.energy(energy_pj(r)), quantities.accuracy(r)]
        for name, r in zip(called, known, strict=True)
    ]
    behind = parts.plain_table(("target", "energy", "accuracy"), rows, label=caption)
    drawing = charts.scatter(dots, energies, axis, caption)
    return parts.figure(drawing, caption, f"{known[0]['model']} accuracy energy", behind)


def _table(reports: Sequence[Facts], called: Sequence[str]) -> str:
    rows = [
        [
            name,
            quantities.latency(r),
            quantities.energy(energy_pj(r)),
            quantities.accuracy(r),
            quantities.area(r["area_mm2"]),
            "on it" if on else "",
        ]
        for name, r, on in zip(called, reports, pareto(reports), strict=True)
    ]
    return parts.plain_table(_HEADINGS, rows, label="Latency, energy, accuracy, area")


def _radii(reports: Sequence[Facts]) -> list[float | None]:
    """Of marks whose areas are in proportion to the chips', down to what can be seen."""
    known = [r["area_mm2"] for r in reports if r["area_mm2"]]
    if len(set(known)) < 2:
        return [None if not r["area_mm2"] else _USUAL for r in reports]
    most = max(known)
    return [
        max(_SMALLEST, _LARGEST * sqrt(r["area_mm2"] / most)) if r["area_mm2"] else None
        for r in reports
    ]


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The front of two figures as steps: what lies between is not known to be possible."""
    best: list[tuple[float, float]] = []
    for x, y in sorted(points):
        if not best or y < best[-1][1]:
            best += [(x, best[-1][1]), (x, y)] if best else [(x, y)]
    return best if len(best) > 1 else []


def _share(report: Facts) -> str:
    return f"({quantities.accuracy(report)})" if report["accuracy"] else ""
