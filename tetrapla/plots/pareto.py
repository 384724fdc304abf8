"""`pareto`: designs over two figures, and the front of those that no other beats in both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import fsum
from typing import TYPE_CHECKING, Any, Final

from tetrapla.ir.errors import ModelError, nearest
from tetrapla.pareto import front
from tetrapla.plots.figure import BLUE, COLOURS, GREY, MARKS, blank, label_apart, micro, ticks
from tetrapla.plots.runs import Facts, RunFile, chosen
from tetrapla.quantities import quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDE: Final = 8.0  # ratio of the ends from which an axis is logarithmic
_LABELLED: Final = 12  # more points of a sweep's front have no names


@dataclass(frozen=True)
class _Axis:
    """A figure of a report; `more` where a larger one is better."""

    title: str
    unit: str
    value: Callable[[Facts], float | None]
    more: bool = False


def _joules(report: Facts) -> float | None:
    picojoules = report["energy_pj"]["total"]
    return None if picojoules is None else 1e-12 * float(picojoules)


def _dynamic_joules(report: Facts) -> float | None:
    parts = [pj for unit, pj in report["energy_pj"]["by_unit"].items() if unit != "static"]
    return None if None in parts else 1e-12 * fsum(parts)


def _accuracy(report: Facts) -> float | None:
    return None if report["accuracy"] is None else 100 * float(report["accuracy"]["target"])


_AXES: Final[Mapping[str, _Axis]] = {
    "latency": _Axis("latency", "s", lambda report: float(report["time_s"])),
    "energy": _Axis("energy", "J", _joules),
    "area": _Axis("area", "mm²", lambda report: report["area_mm2"]),
    "accuracy": _Axis("accuracy", "%", _accuracy, more=True),
    "dynamic_energy": _Axis("dynamic energy", "J", _dynamic_joules),
}


@dataclass(frozen=True)
class _Dot:
    x: float
    y: float
    label: str
    target: str
    model: str
    named: bool  # on the front, of a sweep as its file says


def draw(run: RunFile, size: str, target: str | None, over: Sequence[str]) -> Figure:
    """Designs as labelled marks.

    Args:
        run: of a comparison or a sweep.
        size: "one" or "two" columns.
        target: the reports of this one alone.
        over: two of latency, energy, area, accuracy, dynamic_energy; empty for a sweep's first
            two objectives and a comparison's latency and energy.

    Raises:
        ModelError: an axis is not known, or fewer than two designs have both figures.
    """
    across, up = _chosen(run, over)
    x, y = _AXES[across], _AXES[up]
    reports = chosen(run, target)
    known: list[tuple[int, Facts, float, float]] = []
    for number, report in enumerate(run.reports):
        if not any(report is each for each in reports):
            continue
        left, top = x.value(report), y.value(report)
        if left is not None and top is not None:
            known.append((number, report, left, top))
    if len(known) < 2:
        raise ModelError(
            f"pareto must have at least two designs with known {across} and {up}, but "
            f"{run.path} has {len(known)}; give the JSON of compare or sweep, or other --axes"
        )
    better = front(
        [[-left if x.more else left, -top if y.more else top] for *_, left, top in known]
    )
    dots = [
        _Dot(
            left,
            top,
            _label(run, n, report, (across, up)),
            str(report["target"]),
            str(report["model"]),
            _named(run, n, best),
        )
        for (n, report, left, top), best in zip(known, better, strict=True)
    ]
    return _drawn(run, size, dots, (x, y), better)


def _chosen(run: RunFile, over: Sequence[str]) -> tuple[str, str]:
    names = tuple(over) or run.objectives[:2] if run.swept else tuple(over)
    names = names or ("latency", "energy")
    for name in names:
        if name not in _AXES:
            known = ", ".join(_AXES)
            raise ModelError(
                f"--axes must be two of {known}, not '{name}'"
                f"{nearest(name, _AXES) or '; give --axes latency,energy'}"
            )
    if len(names) != 2 or names[0] == names[1]:
        raise ModelError(
            f"--axes must be two different figures, not {', '.join(names)}; "
            "give --axes latency,energy"
        )
    first, second = names
    # accuracy is read upwards
    return (second, first) if first == "accuracy" else (first, second)


def _named(run: RunFile, number: int, best: bool) -> bool:
    return run.front[number] if run.swept else best


def _label(run: RunFile, number: int, report: Facts, over: tuple[str, str]) -> str:
    """What a mark is called; of a machine also its accuracy, where no axis shows it."""
    if run.swept:
        return "/".join(run.settings[number].values())
    right = None if "accuracy" in over else _accuracy(report)
    return str(report["target"]) + ("" if right is None else f", {right:.1f} %")


def _drawn(
    run: RunFile,
    size: str,
    dots: Sequence[_Dot],
    axis: tuple[_Axis, _Axis],
    best: Sequence[bool],
) -> Figure:
    figure = blank(size, 62 if size == "one" else 88)
    axes = figure.add_subplot()
    axes.grid(visible=True)
    _scaled(axes, "x", axis[0], [dot.x for dot in dots])
    _scaled(axes, "y", axis[1], [dot.y for dot in dots])
    lines = _stairs(axes, [dot for dot, on in zip(dots, best, strict=True) if on])
    models = list(dict.fromkeys(dot.model for dot in dots))
    targets = list(dict.fromkeys(dot.target for dot in dots))
    for dot in sorted(dots, key=lambda each: each.named):
        style: dict[str, Any]
        if run.swept:
            style = {"color": BLUE if dot.named else GREY, "s": 18 if dot.named else 9}
            style["marker"] = "o"
        else:
            style = {"color": COLOURS[targets.index(dot.target) % len(COLOURS)], "s": 26}
            style["marker"] = MARKS[models.index(dot.model) % len(MARKS)]
        axes.scatter(dot.x, dot.y, zorder=3, linewidths=0.4, edgecolors="black", **style)
    _legend(run, axes, models, any(dot.named for dot in dots))
    if run.swept:
        shown = [dot for dot in dots if dot.named]
        shown = shown if len(shown) <= _LABELLED else []
        if shown:
            _title(axes, run)
    else:
        shown = list(dots)
    label_apart(figure, axes, [(dot.x, dot.y, dot.label) for dot in shown], lines)
    return figure


def _title(axes: Axes, run: RunFile) -> None:
    first = run.reports[0]
    fields = "/".join(run.settings[0])
    axes.set_title(f"{first['model']} on {first['target']}, labels: {fields}")


def _legend(run: RunFile, axes: Axes, models: Sequence[str], any_named: bool) -> None:
    from matplotlib.lines import Line2D

    none: dict[str, Any] = {"linestyle": "none", "markeredgecolor": "black"}
    if run.swept and any_named:
        handles = [
            Line2D([], [], marker="o", color=BLUE, label="Pareto front", markersize=4, **none),
            Line2D([], [], marker="o", color=GREY, label="other points", markersize=3, **none),
        ]
    elif len(models) > 1:
        handles = [
            Line2D([], [], marker=MARKS[i % len(MARKS)], color="white", label=m, **none)
            for i, m in enumerate(models)
        ]
    else:
        return
    axes.figure.legend(handles=handles, loc="outside upper center", ncols=3)


def _scaled(axes: Axes, which: str, axis: _Axis, values: Sequence[float]) -> None:
    """Limits that leave room for marks, and ticks with their unit."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    low, high = min(values), max(values)
    own = axes.xaxis if which == "x" else axes.yaxis
    limits = axes.set_xlim if which == "x" else axes.set_ylim
    titled = axes.set_xlabel if which == "x" else axes.set_ylabel
    if low > 0 and high / low >= _WIDE and not axis.more:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        room = (high / low) ** 0.12
        limits(low / room, high * room)
        own.set_major_locator(LogLocator(base=10, numticks=7))
        own.set_minor_formatter(NullFormatter())
    else:
        room = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
        limits(low - room, min(high + room, 101.0) if axis.unit == "%" else high + room)
        own.set_major_locator(MaxNLocator(5))
    if axis.unit == "s" or axis.unit == "J":
        own.set_major_formatter(ticks(partial(_short, unit=axis.unit)))
        titled(axis.title)
    else:
        own.set_major_formatter(ticks("{:g}".format))
        titled(f"{axis.title} ({axis.unit})")


def _short(value: float, unit: str) -> str:
    """A quantity without the zeros behind its point."""
    number, own = quantity(value, unit).split(" ")
    return micro(f"{float(number):g} {own}")


def _stairs(axes: Axes, best: Sequence[_Dot]) -> list[tuple[float, float, float, float]]:
    """The front by steps: what lies between its points is not known to be possible."""
    lines: list[tuple[float, float, float, float]] = []
    ordered = sorted({(dot.x, dot.y) for dot in best})
    for (x1, y1), (x2, y2) in pairwise(ordered):
        axes.plot([x1, x2, x2], [y1, y1, y2], "--", color="black", linewidth=0.6, zorder=2)
        lines += [(x1, y1, x2, y1), (x2, y1, x2, y2)]
    return lines
