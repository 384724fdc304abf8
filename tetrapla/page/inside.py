"""What the machines did in one inference: when, which neurons fired, which codes were cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tetrapla import quantities
from tetrapla.columns import Facts
from tetrapla.drawing import pictures
from tetrapla.page import histograms, lanes, parts
from tetrapla.simulators.scene_ import Sight

_TRACE = (
    "One invocation, with at most 2,000 slices; of a spiking machine the first inference, with "
    "each layer's slowest core in each timestep. simulate --trace FILE writes everything, for "
    "ui.perfetto.dev."
)


def timelines(reports: Sequence[Facts], called: Sequence[str]) -> str:
    """A lane for each unit of each machine that keeps a trace."""
    figures, without = [], []
    for report, name in zip(reports, called, strict=True):
        slices = report.get("sight", {}).get("timeline")
        if not slices:
            without.append(name)
            continue
        layers = [row["name"] for row in report["layers"]]
        caption = f"{name}: {quantities.latency(report)}, {len(slices)} slices"
        drawing = lanes.drawn(slices, layers, report["time_s"], f"Timeline of {name}")
        behind = parts.plain_table(
            ("unit", "layer", "slices", "busy", "start"),
            lanes.rows(slices, layers),
            label=caption,
        )
        figures.append(parts.figure(drawing, caption, f"{report['model']} time {name}", behind))
    left = escape(", ".join(without))
    why = f"Not drawn, since no unit has a time of its own: {left}."
    note = f"<p class=legend>{why}</p>" if without else ""
    lead = f"<p class=lead>{_TRACE}</p>" if figures else ""
    return lead + parts.charts(figures) + note


def drawn(
    reports: Sequence[Facts], called: Sequence[str], sights: Sequence[Sight | None]
) -> str:
    """Spikes, voltages and busy cores of spiking machines; codes of analog ones."""
    found, codes = [], []
    for report, name, sight in zip(reports, called, sights, strict=True):
        if sight is not None and sight.rasters:
            made = pictures.drawn(name, sight)
            found.append(made + _spikes(report.get("sight", {}).get("rasters", [])))
        clipped = report.get("sight", {}).get("clipping")
        if clipped:
            codes.append(_clipping(report, name, clipped))
    if codes:
        found.append(f"<h4>Codes of the converters</h4>{parts.charts(codes)}")
    if found:
        return "".join(found)
    return (
        "<p>Nothing more: only spiking machines have spikes to draw, and only analog ones "
        "converters whose codes are cut.</p>"
    )


def _spikes(rasters: Sequence[Mapping[str, Any]]) -> str:
    """What the raster draws, as counts."""
    if not rasters:
        return ""
    rows = []
    for each in rasters:
        spikes = len(each["spikes"])
        steps = len({t for t, _ in each["spikes"]})
        rows.append(
            [
                each["name"],
                quantities.count(each["neurons"]),
                quantities.count(len(each["shown"])),
                quantities.count(spikes),
                quantities.count(steps),
            ]
        )
    headings = ("population", "neurons", "of them shown", "spikes", "timesteps with spikes")
    return parts.folded("Table", parts.plain_table(headings, rows, label="Spikes"))


def _clipping(report: Facts, name: str, layers: Sequence[Mapping[str, Any]]) -> str:
    caption = (
        f"{name}: codes of the first inference before they are cut to the range of "
        "the converters, on a logarithmic scale; the range is shaded, and what is outside it "
        "is orange"
    )
    rows = [
        [
            each["layer"],
            f"{each['low']} to {each['high']}",
            f"{each['start'] + 0.5:g} to "
            f"{each['start'] + len(each['counts']) * each['step'] - 0.5:g}",
            quantities.count(sum(each["counts"])),
            quantities.share(each["clipped_frac"]),
        ]
        for each in layers
    ]
    headings = ("layer", "range of codes", "bins", "conversions", "clipped")
    return parts.figure(
        histograms.drawn(layers, f"Converters' codes of {name}"),
        caption,
        f"{report['model']} codes {name}",
        parts.plain_table(headings, rows, label=caption),
    )
