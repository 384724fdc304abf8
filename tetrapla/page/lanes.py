"""A timeline: a lane for each unit, a bar for each stretch, a colour for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from tetrapla import quantities
from tetrapla.drawing import svg

_WIDTH, _LEFT, _RIGHT = 460, 84, 10
_LANE, _BAR, _TOP = 30, 20, 6
_LEAST: Final = 0.7  # of a bar, so that it is seen
_LANES: Final = 16  # that there is room for: the busiest
_LETTER: Final = 6.9
_EDGED: Final = 120  # bars
_HATCHED: Final = 0.55  # opacity of every second round of the colours


def drawn(
    slices: Sequence[Sequence[Any]], layers: Sequence[str], whole_s: float, title: str
) -> str:
    """Slices [unit, name, start_s, end_s] of a run of `whole_s` seconds.

    Those of a unit and a layer are one shape.
    """
    whole = max(whole_s, *(end for *_, end in slices)) or 1.0
    wide = _WIDTH - _LEFT - _RIGHT
    units = _units(slices, layers)
    colours = {name: i for i, name in enumerate(layers)}
    shapes: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for unit, name, start, end in slices:
        if unit in units:
            shapes.setdefault((unit, layer_of(name, layers)), []).append((start, end))
    parts = []
    # edges tell few bars apart, and are all that is seen of many
    edge = ' stroke="currentColor" stroke-width="0.4"' if len(slices) <= _EDGED else ""
    for place, unit in enumerate(units):
        top = _TOP + _LANE * place
        parts.append(svg.text(_LEFT - 8, top + _BAR / 2 + 4, escape(_short(unit)), "end"))
        parts.append(svg.line(_LEFT, top + _BAR, _LEFT + wide, top + _BAR, 0.25))
    for (unit, layer), spans in shapes.items():
        top = _TOP + _LANE * units.index(unit)
        number = colours.get(layer, len(colours))
        path, widest = "", (0.0, 0.0)
        for start, end in spans:
            left = _LEFT + wide * start / whole
            width = max(_LEAST, wide * (end - start) / whole)
            path += f"M{left:.1f} {top}h{width:.1f}v{_BAR}h-{width:.1f}z"
            widest = max(widest, (width, left))
        busy = quantities.quantity(sum(end - start for start, end in spans), "s")
        tip = escape(f"{layer} on {unit}: {busy} in {len(spans)} slices")
        opacity = 0.85 if number // len(svg.COLOURS) % 2 == 0 else _HATCHED
        parts.append(
            f'<path d="{path}" fill="{svg.COLOURS[number % len(svg.COLOURS)]}" '
            f'fill-opacity="{opacity}"{edge}>'
            f"<title>{tip}</title></path>"
        )
        if widest[0] > _LETTER * len(layer) + 6:
            middle = widest[1] + widest[0] / 2
            label = svg.text(middle, top + _BAR / 2 + 4, escape(layer), "middle")
            parts.append(label.replace("<text ", '<text class="on" ', 1))
    bottom = _TOP + _LANE * len(units)
    parts.append(svg.line(_LEFT, bottom, _LEFT + wide, bottom, 0.4))
    for share in (0.0, 0.5, 1.0):
        left = _LEFT + wide * share
        anchor = "end" if share == 1 else "start" if share == 0 else "middle"
        parts.append(svg.line(left, bottom, left, bottom + 5, 0.4))
        text = quantities.quantity(share * whole, "s") if share else "0"
        parts.append(svg.text(left, bottom + 18, text, anchor))
    return svg.drawing(_WIDTH, bottom + 26, title, "".join(parts))


def rows(slices: Sequence[Sequence[Any]], layers: Sequence[str]) -> list[list[str]]:
    """Of each unit and layer: how many slices, their time, and when the first starts."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for unit, name, start, end in slices:
        found.setdefault((unit, layer_of(name, layers)), []).append((start, end))
    return [
        [
            unit,
            layer,
            quantities.count(len(spans)),
            quantities.quantity(sum(end - start for start, end in spans), "s"),
            quantities.quantity(min(start for start, _ in spans), "s"),
        ]
        for (unit, layer), spans in found.items()
    ]


def layer_of(name: str, layers: Sequence[str]) -> str:
    """The layer that a slice is of: its name may have an instruction before it."""
    if name in layers:
        return name
    _, _, behind = name.partition(" ")
    return behind or name


def _units(slices: Sequence[Sequence[Any]], layers: Sequence[str]) -> list[str]:
    busy: dict[str, float] = {}
    for unit, _, start, end in slices:
        busy[unit] = busy.get(unit, 0.0) + end - start
    some = sorted(busy, key=lambda unit: -busy[unit])[:_LANES]
    places = {name: place for place, name in enumerate(layers)}
    # where units are layers, in their order; else as they come
    return sorted((unit for unit in busy if unit in some), key=lambda u: places.get(u, -1))


def _short(name: str) -> str:
    return name if len(name) <= 11 else f"{name[:10]}\u2026"
