"""Charts as inline SVG: no script, no font, no picture from elsewhere.

Colours are Okabe and Ito's, which people with any colour vision tell apart ("Color Universal
Design", 2008); a shape or a label says the same again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from tetrapla.quantities import energy, quantity

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#F0E442",
)
_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 20, 16, 52
_BAR, _GAP = 26, 14


@dataclass(frozen=True)
class Dot:
    """One design in a scatter; `note` is written behind the label."""

    label: str
    x: float
    y: float
    note: str = ""


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high`, with ticks as (place 0..1, text)."""

    title: str
    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...]

    def place(self, value: float) -> float:
        """Where a value lies, 0..1."""
        if self.log:
            return (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return (value - self.low) / (self.high - self.low)


def colour(index: int) -> str:
    """The colour of the n-th thing; they repeat after eight."""
    return COLOURS[index % len(COLOURS)]


def log_axis(title: str, values: Sequence[float], unit: str) -> Axis:
    """Decades around the values, at least one."""
    first = floor(log10(min(values)) - 1e-9)
    last = max(ceil(log10(max(values)) + 1e-9), first + 1)
    step = max(1, (last - first + 7) // 8)
    ticks = tuple(
        ((power - first) / (last - first), quantity(10.0**power, unit).replace(".00", ""))
        for power in range(first, last + 1, step)
    )
    return Axis(title, 10.0**first, 10.0**last, True, ticks)


def share_axis(title: str, values: Sequence[float]) -> Axis:
    """Percentages around the shares, in steps that suit their range."""
    low, high = min(values), max(values)
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 1.0) if (high - low) <= 5 * s)
    first, last = max(0.0, floor(low / step - 0.5) * step), min(1.0, ceil(high / step) * step)
    count = max(1, round((last - first) / step))
    ticks = tuple((i / count, f"{100 * (first + i * step):.0f} %") for i in range(count + 1))
    return Axis(title, first, first + count * step, False, ticks)


def scatter(dots: Sequence[Dot], x: Axis, y: Axis, title: str) -> str:
    """Designs as labelled shapes over two axes."""
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    parts = [_frame(x, y, wide, high)]
    taken: list[tuple[float, float]] = []
    for index, dot in enumerate(dots):
        left = _LEFT + wide * x.place(dot.x)
        top = _TOP + high * (1 - y.place(dot.y))
        text = escape(f"{dot.label} {dot.note}".strip())
        parts.append(_mark(index, left, top, text))
        parts.append(_label(left, top, text, taken))
    return _svg(_WIDTH, _HEIGHT, title, "".join(parts))


def stacked(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], title: str) -> str:
    """A bar of shares per design: the parts of each sum to its whole width.

    Args:
        rows: name of the design with its (part, amount), amounts in picojoules.
        title: what a screen reader says.
    """
    names = list(dict.fromkeys(part for _, parts in rows for part, _ in parts))
    wide = _WIDTH - 110 - 96
    drawn: list[str] = []
    for number, (label, parts) in enumerate(rows):
        top = 8 + number * (_BAR + _GAP)
        total = sum(amount for _, amount in parts)
        drawn.append(_text(104, top + _BAR / 2 + 4, escape(label), "end"))
        left = 110.0
        for part, amount in parts:
            width = wide * amount / total if total else 0.0
            fill = colour(names.index(part))
            share = 100 * amount / total if total else 0.0
            tip = escape(f"{part} {energy(amount)}, {share:.1f} %")
            drawn.append(
                f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_BAR}" '
                f'fill="{fill}" stroke="#fff" stroke-width="0.7"><title>{tip}</title></rect>'
            )
            left += width
        drawn.append(_text(_WIDTH - 90, top + _BAR / 2 + 4, energy(total), "start"))
    height = 8 + len(rows) * (_BAR + _GAP)
    legend, depth = _legend(names, height + 6)
    return _svg(_WIDTH, height + depth + 10, title, "".join(drawn) + legend)


def _frame(x: Axis, y: Axis, wide: float, high: float) -> str:
    parts = []
    for place, text in x.ticks:
        left = _LEFT + wide * place
        parts.append(_line(left, _TOP, left, _TOP + high))
        parts.append(_text(left, _TOP + high + 18, escape(text), "middle"))
    for place, text in y.ticks:
        top = _TOP + high * (1 - place)
        parts.append(_line(_LEFT, top, _LEFT + wide, top))
        parts.append(_text(_LEFT - 8, top + 4, escape(text), "end"))
    middle = _TOP + high / 2
    parts.append(_text(_LEFT + wide / 2, _HEIGHT - 8, escape(x.title), "middle"))
    parts.append(
        f'<text x="14" y="{middle:.1f}" text-anchor="middle" '
        f'transform="rotate(-90 14 {middle:.1f})">{escape(y.title)}</text>'
    )
    return "".join(parts)


def _mark(index: int, x: float, y: float, tip: str) -> str:
    """A circle, square, diamond or triangle: the shape repeats what the colour says."""
    fill = colour(index)
    shapes = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7"',
        f'<rect x="{x - 6:.1f}" y="{y - 6:.1f}" width="12" height="12"',
        f'<path d="M{x:.1f} {y - 8:.1f}l8 8l-8 8l-8 -8z"',
        f'<path d="M{x:.1f} {y - 8:.1f}l8 14h-16z"',
    )
    shape = shapes[index % len(shapes)]
    tag = shape[1 : shape.index(" ")]
    return f'{shape} fill="{fill}" stroke="#fff"><title>{tip}</title></{tag}>'


def _label(x: float, y: float, text: str, taken: list[tuple[float, float]]) -> str:
    """The name beside the mark, moved down while it would cover another."""
    flipped = x > 0.7 * _WIDTH
    left, top = (x - 12 if flipped else x + 12), y + 4
    while any(abs(top - b) < 14 and abs(left - a) < 150 for a, b in taken):
        top += 14
    taken.append((left, top))
    return _text(left, top, text, "end" if flipped else "start")


def _legend(names: Sequence[str], top: float) -> tuple[str, float]:
    parts, left, row = [], 110.0, 0
    for index, name in enumerate(names):
        width = 30 + 7.2 * len(name)
        if left + width > _WIDTH - 10:
            left, row = 110.0, row + 1
        y = top + 20 * row
        parts.append(
            f'<rect x="{left:.1f}" y="{y:.1f}" width="12" height="12" fill="{colour(index)}"/>'
        )
        parts.append(_text(left + 17, y + 10, escape(name), "start"))
        left += width
    return "".join(parts), 20.0 * (row + 1)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {place} stroke="currentColor" stroke-opacity="0.15"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _svg(width: float, height: float, title: str, body: str) -> str:
    name = escape(title)
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{name}">'
        f"<title>{name}</title>{body}</svg>"
    )
