"""The parts that every drawing is made of: lines and texts in the page's own colour."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

# Okabe and Ito's, without black and yellow, which vanish on a dark and on a light page
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def line(x1: float, y1: float, x2: float, y2: float, opacity: float = 0.15) -> str:
    """A line."""
    place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {place} stroke="currentColor" stroke-opacity="{opacity}"/>'


def text(x: float, y: float, content: str, anchor: str) -> str:
    """A text, escaped already; `anchor` is start, middle or end."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{content}</text>'


def ticks(
    x: Iterable[tuple[float, str]],
    y: Iterable[tuple[float, str]],
    box: tuple[float, float, float, float],
) -> str:
    """Lines and texts of two axes.

    Args:
        x: places from 0, left, to 1 with their texts.
        y: places from 0, below, to 1 with theirs.
        box: left, top, width and height of what the axes are of.
    """
    left, top, wide, high = box
    parts = list[str]()
    for place, content in x:
        across = left + wide * place
        parts.append(line(across, top, across, top + high))
        parts.append(text(across, top + high + 18, escape(content), "middle"))
    for place, content in y:
        down = top + high * (1 - place)
        parts.append(line(left, down, left + wide, down))
        parts.append(text(left - 8, down + 4, escape(content), "end"))
    return "".join(parts)


def drawing(width: float, height: float, title: str, body: str) -> str:
    """The whole."""
    name = escape(title)
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{name}">'
        f"<title>{name}</title>{body}</svg>"
    )
