"""A roof for each machine that has one, and its layers as dots below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from tetrapla import quantities
from tetrapla.columns import Facts
from tetrapla.drawing import charts
from tetrapla.page import parts

_MOST: Final = 48  # layers that are drawn: those with most multiply-accumulates
_LABELLED: Final = 10
_HEADINGS: Final = ("layer", "MACs", "bytes", "intensity", "rate", "of the roof", "bound by")


@dataclass(frozen=True)
class _Layer:
    """A layer below a roof.

    Attributes:
        intensity: multiply-accumulates per byte.
        rate: of them in a second.
        share: of what the roof allows at this intensity.
    """

    name: str
    macs: int
    traffic_bytes: float
    intensity: float
    rate: float
    share: float
    bound_by: str


def drawn(reports: Sequence[Facts], called: Sequence[str], marks: Sequence[int]) -> str:
    """Charts of the machines with a peak and a bandwidth, and why the others have none."""
    figures, reasons = [], []
    for report, name, mark in zip(reports, called, marks, strict=True):
        roof = report.get("roofline")
        if roof is None:
            reasons.append((name, "no peak and no bandwidth of it are known"))
        elif roof["peak_macs_per_s"] is None or roof["bandwidth_bytes_per_s"] is None:
            texts = (f"{roof['sources']['peak']}; {roof['sources']['bandwidth']}",)
            reasons.append((name, *texts))
        else:
            figures.append(_chart(report, name, mark))
    listed = "".join(f"<li><strong>{escape(k)}</strong>: {escape(v)}.</li>" for k, v in reasons)
    without = f"<p>No roofline:</p><ul class=reasons>{listed}</ul>" if listed else ""
    return parts.charts(figures) + without


def _chart(report: Facts, name: str, mark: int) -> str:
    roof = report["roofline"]
    peak, bandwidth = roof["peak_macs_per_s"], roof["bandwidth_bytes_per_s"]
    layers, inside = _layers(report, peak, bandwidth)
    ridge = peak / bandwidth
    across = [each.intensity for each in layers] + [ridge / 3, ridge * 3]
    x = charts.log_axis("multiply-accumulates per byte", across, "", ticks=6)
    x = charts.Axis(x.title, x.low, x.high, x.log, tuple((p, t.strip()) for p, t in x.ticks))
    low = min([each.rate for each in layers] or [peak / 100])
    y = charts.log_axis("multiply-accumulates per second", [low, peak], "/s", ticks=6)
    line = _roof(x, y, peak, bandwidth)
    few = sorted(layers, key=lambda each: -each.macs)[:_MOST]
    shown = {each.name for each in few[:_LABELLED]}
    dots = [
        charts.Dot(
            each.name if each.name in shown else "",
            each.intensity,
            each.rate,
            mark=mark,
            radius=5.0,
            tip=f"{each.name}: {quantities.share(each.share)} of the roof",
        )
        for each in few
    ]
    caption = (
        f"{name}: peak {quantities.quantity(peak, 'MAC/s')} ({roof['sources']['peak']}), "
        f"{quantities.quantity(bandwidth, 'B/s')} ({roof['sources']['bandwidth']}). A layer "
        "may lie above the slope where its data came while an earlier one ran."
    )
    if inside:
        caption += f" Without traffic, and so without a place: {', '.join(inside)}."
    drawing = charts.scatter(dots, x, y, f"Roofline of {name}", line)
    return parts.figure(drawing, caption, f"{report['model']} roofline {name}", _table(layers))


def _layers(report: Facts, peak: float, bandwidth: float) -> tuple[list[_Layer], list[str]]:
    """Layers with a place, and those that multiply and move nothing."""
    found, inside = [], []
    cycle_s = report["time_s"] / report["cycles"] if report["cycles"] else 0.0
    for row in report["layers"]:
        time_s = row["cycles"] * cycle_s
        if not row["macs"] or not time_s:
            continue
        if not row.get("traffic_bytes"):
            inside.append(row["name"])
            continue
        intensity, rate = row["macs"] / row["traffic_bytes"], row["macs"] / time_s
        share = rate / min(peak, bandwidth * intensity)
        facts = (row["macs"], row["traffic_bytes"], intensity, rate, share, row["bound_by"])
        found.append(_Layer(row["name"], *facts))
    return found, inside


def _roof(
    x: charts.Axis, y: charts.Axis, peak: float, bandwidth: float
) -> list[tuple[float, float]]:
    """From where the slope enters the frame to the ridge and on to the right."""
    start = max(x.low, y.low / bandwidth)
    return [(start, start * bandwidth), (peak / bandwidth, peak), (x.high, peak)]


def _table(layers: Sequence[_Layer]) -> str:
    rows = [
        [
            each.name,
            quantities.count(each.macs),
            quantities.count(each.traffic_bytes),
            f"{each.intensity:.3g}",
            quantities.quantity(each.rate, "MAC/s"),
            quantities.share(each.share),
            each.bound_by,
        ]
        for each in layers
    ]
    return parts.plain_table(_HEADINGS, rows, label="Layers below the roof")
