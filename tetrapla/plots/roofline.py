"""`roofline`: layers as dots under a machine's peak and its bandwidth.

S. Williams, A. Waterman and D. Patterson, "Roofline: an insightful visual performance model",
CACM 52(4), 2009, with multiply-accumulates in place of floating-point operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tetrapla.ir.errors import ModelError
from tetrapla.plots.figure import COLOURS, MARKS, blank, label_apart, ticks
from tetrapla.plots.runs import Facts, RunFile, chosen
from tetrapla.quantities import quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABELLED: Final = 8  # of one machine, the layers that take longest are named


@dataclass(frozen=True)
class _Roof:
    """A machine: its ends in MAC/s and bytes/s, and its layers as (MAC/byte, MAC/s, name)."""

    target: str
    peak: float
    bandwidth: float | None
    dots: tuple[tuple[float, float, str, float], ...]


def draw(run: RunFile, size: str, target: str | None) -> Figure:
    """A roof for each machine, in its colour with its layers.

    Raises:
        ModelError: the file is a sweep, or no machine has a roofline with layers under it.
    """
    if run.swept:
        raise ModelError(
            f"roofline must have one report or a comparison, not the sweep {run.path}; "
            "run `simulate` on one of its points with --json"
        )
    reports = chosen(run, target)
    roofs = [roof for roof in map(_roof, reports) if roof is not None]
    if not any(roof.dots for roof in roofs):
        names = ", ".join(dict.fromkeys(str(report["target"]) for report in reports))
        raise ModelError(
            f"roofline must have a machine with a peak and layers with MACs and traffic, which "
            f"{names} of {run.path} have not; take a systolic, gpu or datasheet target"
        )
    return _drawn(roofs, _models(reports), size)


def _roof(report: Facts) -> _Roof | None:
    given = report.get("roofline")
    if not isinstance(given, dict) or not given.get("peak_macs_per_s"):
        return None
    hertz = report["cycles"] / report["time_s"] if report["time_s"] else 0.0
    dots = []
    for layer in report["layers"]:
        moved, macs, cycles = layer.get("traffic_bytes"), layer["macs"], layer["cycles"]
        if moved and macs and cycles and hertz:
            rate = macs / (cycles / hertz)
            dots.append((macs / moved, rate, str(layer["name"]), float(cycles)))
    peak, bandwidth = given["peak_macs_per_s"], given.get("bandwidth_bytes_per_s")
    return _Roof(str(report["target"]), float(peak), bandwidth, tuple(dots))


def _models(reports: Sequence[Facts]) -> str:
    return ", ".join(dict.fromkeys(str(report["model"]) for report in reports))


def _drawn(roofs: Sequence[_Roof], models: str, size: str) -> Figure:
    figure = blank(size, 66 if size == "one" else 92)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(visible=True)
    low, high = _limits(roofs)
    for index, roof in enumerate(roofs):
        _line(axes, roof, COLOURS[index % len(COLOURS)], (low, high))
        style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "zorder": 3}
        style |= {"marker": MARKS[index % len(MARKS)], "edgecolors": "black"}
        if roof.dots:
            across, up, *_ = zip(*roof.dots, strict=True)
            axes.scatter(across, up, s=16, linewidths=0.3, label=roof.target, **style)
    axes.set_xlim(low, high)
    least = min(dot[1] for roof in roofs for dot in roof.dots)
    axes.set_ylim(least / 4, 8 * max(roof.peak for roof in roofs))
    _ticks(axes)
    axes.set_xlabel("operational intensity (MAC per byte of memory traffic)")
    axes.set_ylabel("MAC per second")
    axes.set_title(f"{models}, layers")
    if len(roofs) > 1:
        columns = 4 if size == "two" else 3
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=columns)
        return figure
    dots = sorted(roofs[0].dots, key=lambda dot: -dot[3])[:_LABELLED]
    label_apart(figure, axes, [(x, y, name) for x, y, name, _ in dots])
    return figure


def _limits(roofs: Sequence[_Roof]) -> tuple[float, float]:
    """Intensities around the dots and the ridges."""
    every = [dot[0] for roof in roofs for dot in roof.dots]
    every += [roof.peak / roof.bandwidth for roof in roofs if roof.bandwidth]
    return min(every) / 4, max(every) * 6


def _line(axes: Axes, roof: _Roof, colour: str, ends: tuple[float, float]) -> None:
    """The roof, with its two numbers on it; flat where no bandwidth is known."""
    low, high = ends
    if roof.bandwidth is None:
        across, up = [low, high], [roof.peak, roof.peak]
    else:
        ridge = roof.peak / roof.bandwidth
        across, up = [low, ridge, high], [low * roof.bandwidth, roof.peak, roof.peak]
    axes.plot(across, up, color=colour, linewidth=1.1, zorder=2)
    text = f"{roof.target}: {_rate(roof.peak, 'MAC/s')}"
    if roof.bandwidth is not None:
        text += f", {_rate(roof.bandwidth, 'B/s')}"
    axes.annotate(
        text, (high, roof.peak), (-2, 2), textcoords="offset points", ha="right", va="bottom",
        fontsize=6, color=colour, zorder=4,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3},
    )  # fmt: skip


def _rate(value: float, unit: str) -> str:
    return quantity(value, unit)


def _ticks(axes: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(base=10, numticks=8))
        axis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(ticks("{:g}".format))
    axes.yaxis.set_major_formatter(ticks(_tick))


def _tick(value: float) -> str:
    number, unit = quantity(value, "").split(" ")
    return f"{float(number):g} {unit}".strip()
