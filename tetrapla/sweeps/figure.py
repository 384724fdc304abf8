"""A sweep as a figure: every point over two objectives, and the front as a line of steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import pairwise
from math import ceil, floor, log10
from typing import Final

from tetrapla.drawing import svg
from tetrapla.drawing.charts import Axis, log_axis
from tetrapla.ir.errors import ModelError
from tetrapla.quantities import tick
from tetrapla.simulators.report import Report
from tetrapla.sweeps.grid import Point, Sweep

_WIDTH, _HEIGHT = 560, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 86, 24, 34, 56
_WIDE: Final = 10.0  # ratio of the ends from which an axis is logarithmic
_LABELLED: Final = 12  # more points of a front are told by their tips alone


def _accuracy(report: Report) -> float | None:
    return None if report.accuracy is None else report.accuracy.target


_VALUES: Mapping[str, tuple[str, Callable[[Report], float | None]]] = {
    "latency": ("s", lambda report: report.time_s),
    "energy": (
        "J",
        lambda report: (
            None if report.energy.total_pj is None else 1e-12 * report.energy.total_pj
        ),
    ),
    "accuracy": ("", _accuracy),
    "area": ("mm2", lambda report: report.area_mm2),
    "dynamic_energy": (
        "J",
        lambda report: (
            None if report.energy.dynamic_pj is None else 1e-12 * report.energy.dynamic_pj
        ),
    ),
}

_TITLES: Final = {"dynamic_energy": "dynamic energy"}


def picture(sweep: Sweep) -> str:
    """An SVG file of the first two objectives; of accuracy more is better, of others less.

    Raises:
        ModelError: there is one objective, or no point has both.
    """
    check_drawable(sweep.objectives)
    # accuracy is read upwards
    across, up = sorted(sweep.objectives[:2], key=lambda name: name == "accuracy")
    known = [
        (point, x, y)
        for point in sweep.points
        if (x := _VALUES[across][1](point.report)) is not None
        and (y := _VALUES[up][1](point.report)) is not None
    ]
    if not known:
        raise ModelError(f"--figure must have points of known {across} and {up}, not none")
    x_axis = _axis(across, [x for _, x, _ in known])
    y_axis = _axis(up, [y for _, _, y in known])
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    placed = [
        (point, _LEFT + wide * x_axis.place(x), _TOP + high * (1 - y_axis.place(y)))
        for point, x, y in known
    ]
    first = sweep.points[0].report
    axes = " over ".join(_TITLES.get(name, name) for name in (up, across))
    title = f"{first.model} on {first.target}: {axes}, {len(known)} points"
    body = _frame(title, x_axis, y_axis) + _line(placed) + _marks(placed)
    drawn = svg.drawing(_WIDTH, _HEIGHT, title, body)
    style = 'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="13"'
    return drawn.replace("<svg ", f"<svg {style} ", 1) + "\n"


def check_drawable(objectives: Sequence[str]) -> None:
    """Refuse to draw fewer than two objectives."""
    if len(objectives) < 2:
        raise ModelError(
            f"--figure must have two objectives, not {', '.join(objectives) or 'none'}; "
            "give --objective energy,accuracy"
        )


def _axis(name: str, values: Sequence[float]) -> Axis:
    unit = _VALUES[name][0]
    low, high = min(values), max(values)
    if name != "accuracy" and low > 0 and high / low >= _WIDE:
        return log_axis(name, values, unit)
    if high == low:
        low, high = (low * 0.9, high * 1.1) if low else (0.0, 1.0)
    step = _step(high - low)
    start, count = floor(low / step), ceil(high / step) - floor(low / step)
    ticks = tuple(
        (i / count, _text(name, (start + i) * step, high, step)) for i in range(count + 1)
    )
    return Axis(name, start * step, (start + count) * step, False, ticks)


def _step(span: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides a span into about five."""
    power: float = 10.0 ** floor(log10(span / 4))
    return next(power * f for f in (1, 2, 5, 10) if span / (power * f) <= 6)


def _text(name: str, value: float, largest: float, step: float) -> str:
    if name == "accuracy":
        return f"{100 * value:.4g} %"
    return tick(value, largest, step, _VALUES[name][0])


def _frame(title: str, x: Axis, y: Axis) -> str:
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    parts = [svg.text(_WIDTH / 2, 18, escape(title), "middle")]
    parts.append(svg.ticks(x.ticks, y.ticks, (_LEFT, _TOP, wide, high)))
    middle = _TOP + high / 2
    parts.append(svg.text(_LEFT + wide / 2, _HEIGHT - 10, _title(x), "middle"))
    parts.append(
        f'<text x="14" y="{middle:.1f}" text-anchor="middle" '
        f'transform="rotate(-90 14 {middle:.1f})">{_title(y)}</text>'
    )
    return "".join(parts)


def _title(axis: Axis) -> str:
    return _TITLES.get(axis.title, axis.title)


def _line(placed: Sequence[tuple[Point, float, float]]) -> str:
    """The front from left to right, by steps: what lies between is not known to be possible."""
    best = sorted((x, y) for point, x, y in placed if point.pareto)
    return "".join(
        svg.line(x1, y1, x2, y1, 0.5) + svg.line(x2, y1, x2, y2, 0.5)
        for (x1, y1), (x2, y2) in pairwise(best)
    )


def _marks(placed: Sequence[tuple[Point, float, float]]) -> str:
    """Points in grey, those of the front in colour and, where they are few, named."""
    few = sum(point.pareto for point, _, _ in placed) <= _LABELLED
    parts: list[str] = []
    # the front last: over the others
    for point, x, y in sorted(placed, key=lambda each: each[0].pareto):
        settings = ", ".join(f"{name}={value}" for name, value in point.settings.items())
        shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{5 if point.pareto else 3.5}"'
        colour = svg.COLOURS[0] if point.pareto else "#999999"
        parts.append(f'{shape} fill="{colour}"><title>{escape(settings)}</title></circle>')
        if point.pareto and few:
            side = "end" if x > _WIDTH / 2 else "start"
            name = escape("/".join(point.settings.values()))
            parts.append(svg.text(x + (-8 if side == "end" else 8), y - 7, name, side))
    return "".join(parts)
