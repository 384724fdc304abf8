"""Charts as inline SVG: no script, no font, no picture from elsewhere.

Colours are Okabe and Ito's, which people with any colour vision tell apart ("Color Universal
Design", 2008), on light and on dark; a shape and a label say the same again. The drawings are
narrow, so that their text stays legible on a phone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import ceil, floor, log10

from tetrapla.drawing import svg
from tetrapla.quantities import decade, energy, share

_WIDTH, _HEIGHT = 460, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 24, 14, 50
_LETTER = 6.9  # assumed width of a letter at 13 px, for labels that keep clear of each other
_LINE = 19
_BESIDE = 6  # places of a label that are beside its mark
_PIECES = 24  # of a line, that labels keep clear of
_NAMES, _NUMBERS = 118, 124  # columns of the dot plot, left and right of its axis


@dataclass(frozen=True)
class Dot:
    """One design in a scatter.

    Attributes:
        note: written behind the label.
        spread: of y, drawn upwards and downwards.
        mark: which shape and colour; its place among the dots for None.
        radius: of the mark.
        hollow: whether the mark is an outline, since its size says nothing.
        tip: shown over the mark; label and note for none.
    """

    label: str
    x: float
    y: float
    note: str = ""
    spread: float = 0.0
    mark: int | None = None
    radius: float = 6.0
    hollow: bool = False
    tip: str = ""


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high`, with ticks as (place 0..1, text)."""

    title: str
    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...]

    def place(self, value: float) -> float:
        """Where a value lies, 0..1; beyond the ends it is at the end."""
        if self.log:
            found = log10(value / self.low) / log10(self.high / self.low)
        else:
            found = (value - self.low) / (self.high - self.low)
        return min(max(found, 0.0), 1.0)


@dataclass(frozen=True)
class Parts:
    """A design's total and what it is the sum of; None where a price is unknown."""

    label: str
    total: float | None
    parts: Sequence[tuple[str, float | None]]
    mark: int | None = None


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        wide = self.left < other.right and other.left < self.right
        return wide and self.top < other.bottom and other.top < self.bottom


def log_axis(title: str, values: Sequence[float], unit: str, ticks: int = 6) -> Axis:
    """Decades around the values, at least one, with at most so many ticks."""
    first = floor(log10(min(values)) - 1e-9)
    last = max(ceil(log10(max(values)) + 1e-9), first + 1)
    step = -(-(last - first + 1) // ticks)
    marks = tuple(
        ((power - first) / (last - first), decade(power, unit))
        for power in range(first, last + 1, step)
    )
    return Axis(title, 10.0**first, 10.0**last, True, marks)


def share_axis(title: str, values: Sequence[float]) -> Axis:
    """Percentages around the shares, in steps that suit their range."""
    low, high = min(values), max(values)
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 1.0) if (high - low) <= 5 * s)
    first, last = max(0.0, floor(low / step - 0.5) * step), min(1.0, ceil(high / step) * step)
    count = max(1, round((last - first) / step))
    ticks = tuple((i / count, f"{100 * (first + i * step):.0f} %") for i in range(count + 1))
    return Axis(title, first, first + count * step, False, ticks)


def scatter(
    dots: Sequence[Dot], x: Axis, y: Axis, title: str, line: Sequence[tuple[float, float]] = ()
) -> str:
    """Designs as labelled shapes over two axes; `line` joins points, drawn below them."""
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    parts = [_frame(x, y, wide, high)]
    places = [
        (_LEFT + wide * x.place(dot.x), _TOP + high * (1 - y.place(dot.y))) for dot in dots
    ]
    sides = [dot.radius + 2 for dot in dots]
    taken = [
        _Box(left - side, top - side, left + side, top + side)
        for (left, top), side in zip(places, sides, strict=True)
    ]
    for start, end in pairwise(line):
        (x1, y1), (x2, y2) = (
            (_LEFT + wide * x.place(a), _TOP + high * (1 - y.place(b))) for a, b in (start, end)
        )
        parts.append(svg.line(x1, y1, x2, y2, 0.6))
        taken += [
            _Box(
                x1 + (x2 - x1) * k / _PIECES,
                y1 + (y2 - y1) * k / _PIECES - 1,
                x1 + (x2 - x1) * (k + 1) / _PIECES,
                y1 + (y2 - y1) * (k + 1) / _PIECES + 1,
            )
            for k in range(_PIECES)
        ]
    for index, (dot, (left, top)) in enumerate(zip(dots, places, strict=True)):
        text = f"{dot.label} {dot.note}".strip()
        if dot.spread:
            ends = [_TOP + high * (1 - y.place(dot.y + s * dot.spread)) for s in (1, -1)]
            parts.append(svg.line(left, ends[0], left, ends[1], 0.8))
        number = index if dot.mark is None else dot.mark
        tip = escape(dot.tip or text)
        parts.append(mark(number, left, top, tip, dot.radius, hollow=dot.hollow))
        if text:
            parts.append(_label(left, top, text, taken, dot.radius))
    return svg.drawing(_WIDTH, _HEIGHT, title, "".join(parts))


def dot_plot(rows: Sequence[Parts], title: str) -> str:
    """Energies by unit, in picojoules, on one axis for all designs; largest first.

    The axis is logarithmic, because one unit often takes nearly everything.
    """
    amounts = [a for row in rows for _, a in row.parts if a]
    if not amounts:
        return ""
    axis = log_axis("", [1e-12 * amount for amount in amounts], "J", ticks=4)
    wide = _WIDTH - _NAMES - _NUMBERS
    drawn: list[str] = []
    top = 2.0
    for index, row in enumerate(rows):
        top += _LINE
        heading = f"{row.label}, {energy(row.total)}"
        drawn.append(f'<text x="0" y="{top:.1f}" class="strong">{escape(heading)}</text>')
        for part, amount in sorted(row.parts, key=lambda item: -(item[1] or 0.0)):
            top += _LINE
            drawn.append(svg.text(_NAMES - 10, top, escape(part), "end"))
            drawn.append(svg.text(_WIDTH, top, _amount(amount, row.total), "end"))
            if amount:
                left = _NAMES + wide * axis.place(1e-12 * amount)
                drawn.append(svg.line(_NAMES, top - 4, left, top - 4, 0.4))
                drawn.append(
                    mark(
                        row.mark if row.mark is not None else index,
                        left,
                        top - 4,
                        escape(f"{part} {energy(amount)}"),
                    )
                )
        top += 6
    for place, text in axis.ticks:
        left = _NAMES + wide * place
        drawn.append(svg.line(left, 6, left, top))
        drawn.append(svg.text(left, top + 16, text, "middle"))
    return svg.drawing(_WIDTH, top + 24, title, "".join(drawn))


def _amount(picojoules: float | None, total: float | None) -> str:
    if picojoules is None or not total:
        return energy(picojoules)
    return f"{energy(picojoules)}, {share(picojoules / total)}"


def _frame(x: Axis, y: Axis, wide: float, high: float) -> str:
    parts = [svg.ticks(x.ticks, y.ticks, (_LEFT, _TOP, wide, high))]
    middle = _TOP + high / 2
    parts.append(svg.text(_LEFT + wide / 2, _HEIGHT - 8, escape(x.title), "middle"))
    parts.append(
        f'<text x="11" y="{middle:.1f}" text-anchor="middle" '
        f'transform="rotate(-90 11 {middle:.1f})">{escape(y.title)}</text>'
    )
    return "".join(parts)


def mark(
    index: int, x: float, y: float, tip: str, radius: float = 6.0, *, hollow: bool = False
) -> str:
    """A circle, square, diamond or triangle: the shape repeats what the colour says.

    Args:
        index: of the colour and the shape; twelve differ.
        x: of the middle.
        y: of the middle.
        tip: escaped.
        radius: of the circle; the others have about its area.
        hollow: an outline.
    """
    colour = svg.COLOURS[index % len(svg.COLOURS)]
    r, a, b, c = radius, radius * 5 / 6, radius * 7 / 6, radius * 2
    shapes = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:g}"',
        f'<rect x="{x - a:.1f}" y="{y - a:.1f}" width="{2 * a:g}" height="{2 * a:g}"',
        f'<path d="M{x:.1f} {y - b:.1f}l{b:g} {b:g}l-{b:g} {b:g}l-{b:g} -{b:g}z"',
        f'<path d="M{x:.1f} {y - b:.1f}l{b:g} {c:g}h-{2 * b:g}z"',
    )
    shape = shapes[index % len(shapes)]
    tag = shape[1 : shape.index(" ")]
    look = f'fill="none" stroke="{colour}" stroke-width="2"'
    if not hollow:
        look = f'fill="{colour}" fill-opacity="0.85" stroke="currentColor"'
    return f"{shape} {look}><title>{tip}</title></{tag}>"


def _label(x: float, y: float, text: str, taken: list[_Box], radius: float) -> str:
    """The name beside, under or over its mark: the first place that is free."""
    width, frame = _LETTER * len(text), _Box(_LEFT, 0, _WIDTH, _HEIGHT - _BOTTOM)
    anchors = {"start": 0.0, "end": width, "middle": width / 2}
    away = radius + 5
    choices = [("start", x + away, y + 4), ("end", x - away, y + 4)]
    choices += [("middle", x, y + 4 + dy) for dy in (radius + 12, -radius - 10)]
    further = (18, -16, 34, -32, 50, -48, 66, 82)
    choices += [(side, at, y + 4 + dy) for dy in further for side, at, _ in choices[:2]]
    boxes = [
        _Box(at - anchors[side], top - 11, at - anchors[side] + width, top + 3)
        for side, at, top in choices
    ]
    free = [
        i
        for i, box in enumerate(boxes)
        if frame.left <= box.left and box.right <= frame.right
        if frame.top <= box.top and box.bottom <= frame.bottom
        if not any(box.meets(other) for other in taken)
    ]
    number = free[0] if free else 0
    side, at, top = choices[number]
    taken.append(boxes[number])
    found = svg.text(at, top, escape(text), side)
    if number < _BESIDE:
        return found
    # farther away, a thin line says whose name it is
    return svg.line(x, y, at, top - 4, 0.35) + found
