"""Codes before they are cut to a converter's range: a panel for each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import log10
from typing import Any, Final

from tetrapla import quantities
from tetrapla.drawing import svg

_WIDTH, _LEFT, _RIGHT = 460, 96, 14
_HIGH, _GAP, _TOP = 56, 40, 10
_PANELS: Final = 8  # layers that there is room for: those that are cut most, in their order
_LETTERS: Final = 13


def drawn(layers: Sequence[Mapping[str, Any]], title: str) -> str:
    """Bars of counts; the range is shaded, and bars outside it are orange with an edge."""
    some = sorted(layers, key=lambda each: -each["clipped_frac"])[:_PANELS]
    kept = [each for each in layers if each in some]
    parts, top = list[str](), float(_TOP)
    for each in kept:
        parts.append(_panel(each, top))
        top += _HIGH + _GAP
    return svg.drawing(_WIDTH, top - _GAP + 26, title, "".join(parts))


def _panel(each: Mapping[str, Any], top: float) -> str:
    counts, start, step = each["counts"], each["start"], each["step"]
    wide = _WIDTH - _LEFT - _RIGHT
    most = log10(max(counts) + 1) or 1.0
    bar = wide / len(counts)

    def place(code: float) -> float:
        return float(_LEFT + wide * (code - start) / (step * len(counts)))

    left, right = place(each["low"] - 0.5), place(each["high"] + 0.5)
    parts = [
        svg.text(_LEFT - 10, top + 12, escape(_short(each["layer"])), "end"),
        svg.text(_LEFT - 10, top + 30, quantities.share(each["clipped_frac"]), "end"),
        svg.text(_LEFT - 10, top + 46, "clipped", "end"),
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{_HIGH}" '
        'fill="currentColor" fill-opacity="0.06"/>',
    ]
    inside, outside = "", ""
    for number, count in enumerate(counts):
        if not count:
            continue
        high = _HIGH * log10(count + 1) / most
        x = _LEFT + bar * number
        box = f"M{x:.1f} {top + _HIGH:.1f}v-{high:.1f}h{bar:.1f}v{high:.1f}z"
        low_code = start + step * number
        # a bin that the border divides counts as inside; the share beside it is exact
        if low_code + step <= each["low"] - 0.5 or low_code >= each["high"] + 0.5:
            outside += box
        else:
            inside += box
    tip = f"{each['layer']}: {quantities.count(sum(counts))} conversions"
    parts.append(
        f'<path d="{inside}" fill="{svg.COLOURS[0]}"><title>{escape(tip)}</title></path>'
    )
    if outside:
        look = f'fill="{svg.COLOURS[1]}" stroke="currentColor" stroke-width="0.6"'
        parts.append(f'<path d="{outside}" {look}/>')
    parts.append(svg.line(_LEFT, top + _HIGH, _LEFT + wide, top + _HIGH, 0.5))
    for code, anchor in ((each["low"], "start"), (each["high"], "end")):
        at = place(code - 0.5 if anchor == "start" else code + 0.5)
        parts.append(svg.line(at, top, at, top + _HIGH + 4, 0.6))
        parts.append(svg.text(at, top + _HIGH + 18, f"code {code}", anchor))
    return "".join(parts)


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}\u2026"
