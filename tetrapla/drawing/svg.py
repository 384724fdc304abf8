"""The parts that every drawing is made of: lines and texts in the page's own colour."""

from __future__ import annotations

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


def drawing(width: float, height: float, title: str, body: str) -> str:
    """The whole."""
    name = escape(title)
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{name}">'
        f"<title>{name}</title>{body}</svg>"
    )
