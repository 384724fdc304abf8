"""What a spiking machine did in one inference, drawn: spikes, voltages, how busy its cores are.

Colours tell neighbours apart and carry nothing alone: populations and cores are labelled,
voltages have dashes of their own, and a core's load is a shade of one hue and a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from math import isfinite
from typing import TypeVar

import numpy as np

from tetrapla import quantities
from tetrapla.drawing import svg
from tetrapla.ir.graph import Array
from tetrapla.simulators.scene_ import Load, Membrane, Raster, Sight

STEPS = 128  # timesteps that a picture has room for
PANELS = 8  # populations that it has room for: the first and the last ones
_WIDTH, _LEFT, _RIGHT = 460, 96, 14
_ROW, _GAP, _PANEL = 2, 16, 64  # heights: a neuron's spikes, between populations, voltages
_CELL, _WIDEST = 40, 48  # a core's side at most; cores side by side that have room
_DASHES = ("", "7 3", "2 3")
_NAME = 13  # letters of a name
_FAINTEST, _DEEPEST = 0.06, 0.6  # shades that text stays legible on
_Panel = TypeVar("_Panel", Raster, Membrane)


def drawn(target: str, sight: Sight) -> str:
    """All pictures of a sight, as figures with captions."""
    shown = min(sight.timesteps, STEPS)
    steps = f"timesteps 0 to {shown - 1} of {sight.timesteps}"
    if len(sight.rasters) > PANELS:
        steps += f"; {PANELS} of {len(sight.rasters)} populations"
    parts = [(raster(sight), f"Spikes of the first inference, {steps}")]
    if sight.membranes:
        text = "Membrane voltages of the neurons that fire most; thin: their thresholds"
        parts.append((membranes(sight), text))
    if sight.loads:
        text = (
            "Busy time of each core, neurons and synapses together, in percent of the busiest, "
            "where it is on the chip"
        )
        parts.append((heat(sight.loads, sight.slots), text))
    figures = "".join(
        f'<figure data-name="{escape(target)} {number}">{drawing}'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for number, (drawing, caption) in enumerate(parts)
        if drawing
    )
    return f'<h4>{escape(target)}, inside</h4><div class="charts inside">{figures}</div>'


def raster(sight: Sight) -> str:
    """A row for each neuron, a mark for each spike, population under population."""
    wide, scale = _scale(sight.timesteps)
    parts, top = list[str](), 4.0
    for index, each in _some(sight.rasters):
        high = _ROW * len(each.shown)
        label = max(high, 30)
        middle = top + label / 2
        parts.append(svg.text(_LEFT - 10, middle - 2, escape(_short(each.name)), "end"))
        some = "" if len(each.shown) == each.neurons else f"{len(each.shown)} of "
        parts.append(svg.text(_LEFT - 10, middle + 13, f"{some}{each.neurons}", "end"))
        parts.append(svg.line(_LEFT, top, _LEFT, top + label, 0.4))
        parts.append(_spikes(each, top + (label - high) / 2, scale, index))
        top += label + _GAP
    parts.append(_timeline(sight.timesteps, top - _GAP / 2, wide))
    return svg.drawing(_WIDTH, top + 28, "Spike raster", "".join(parts))


def membranes(sight: Sight) -> str:
    """A panel for each population, a line for each neuron."""
    wide, scale = _scale(sight.timesteps)
    parts, top = list[str](), 8.0
    for _, each in _some(sight.membranes):
        parts.append(_voltages(each, top, scale))
        top += _PANEL + _GAP
    parts.append(_timeline(sight.timesteps, top - _GAP / 2, wide))
    return svg.drawing(_WIDTH, top + 28, "Membrane voltages", "".join(parts))


def heat(loads: Sequence[Load], slots: int) -> str:
    """The used part of the chip; nothing where it is too wide to be seen."""
    most = max(load.busy_s for load in loads)
    side = int(np.ceil(np.sqrt(slots)))  # a tile's cores in a square
    places = [
        (load.x * side + load.slot % side, load.y * -(-slots // side) + load.slot // side)
        for load in loads
    ]
    left, top = (min(place[axis] for place in places) for axis in (0, 1))
    right, bottom = (max(place[axis] for place in places) + 1 for axis in (0, 1))
    if max(right - left, bottom - top) > _WIDEST or not most:
        return ""
    cell = min(_CELL, _WIDTH // (right - left))
    parts = [
        _core(load, (cell * (x - left), cell * (y - top), cell), load.busy_s / most)
        for load, (x, y) in zip(loads, places, strict=True)
    ]
    high = cell * (bottom - top) + 20
    parts.append(svg.text(0, high - 4, f"100 is {quantities.quantity(most, 's')}", "start"))
    return svg.drawing(_WIDTH, high, "Busy time by core", "".join(parts))


def _core(load: Load, place: tuple[int, int, int], share: float) -> str:
    x, y, cell = place
    shade = _FAINTEST + (_DEEPEST - _FAINTEST) * share
    tip = (
        f"core {load.core}, {load.layer}: {quantities.quantity(load.busy_s, 's')}, "
        f"{load.spikes} spikes, {load.synaptic_events} synaptic events"
    )
    box = (
        f'<rect x="{x}" y="{y}" width="{cell - 1}" height="{cell - 1}" '
        f'fill="{svg.COLOURS[0]}" fill-opacity="{shade:.2f}" stroke="currentColor" '
        f'stroke-opacity="0.4"><title>{escape(tip)}</title></rect>'
    )
    if cell < 26:
        return box
    return box + svg.text(x + (cell - 1) / 2, y + cell / 2 + 4, f"{100 * share:.0f}", "middle")


def _spikes(each: Raster, top: float, scale: float, index: int) -> str:
    """All spikes of a population as one path."""
    last = max(0, STEPS - each.start)
    times, rows = np.nonzero(each.train[:last])
    marks = "".join(
        f"M{_LEFT + scale * (each.start + t):.1f} {top + _ROW * row:.1f}v{_ROW}"
        for t, row in zip(times.tolist(), rows.tolist(), strict=True)
    )
    if not marks:
        return ""
    fill = svg.COLOURS[index % len(svg.COLOURS)]
    tip = f"{each.name}: {len(times)} spikes"
    thick = min(max(0.6 * scale, 1.0), 3.0)
    return (
        f'<path d="{marks}" stroke="{fill}" stroke-width="{thick:.1f}" fill="none">'
        f"<title>{escape(tip)}</title></path>"
    )


def _voltages(each: Membrane, top: float, scale: float) -> str:
    """One population's panel; its scale holds the voltages and the thresholds."""
    values = each.voltage[: max(0, STEPS - each.start)]
    held = [values.ravel(), np.array(each.threshold or ())]
    finite = np.concatenate([part[np.isfinite(part)] for part in held])
    low, high = (float(f(finite, initial=0.0)) for f in (np.min, np.max))
    span = high - low or 1.0

    def place(value: float) -> float:
        return top + _PANEL * (high - value) / span

    parts = [
        svg.text(_LEFT - 10, top + 10, f"{high:.4g}", "end"),
        svg.text(_LEFT - 10, top + _PANEL / 2 + 4, escape(_short(each.name)), "end"),
        svg.text(_LEFT - 10, top + _PANEL, f"{low:.4g}", "end"),
        svg.line(_LEFT, top, _LEFT, top + _PANEL, 0.4),
    ]
    for limit in sorted(set(each.threshold or ())):
        parts.append(svg.line(_LEFT, place(limit), _WIDTH - _RIGHT, place(limit), 0.4))
    for k, neuron in enumerate(each.shown):
        points = _joined(values[:, k], each.start, scale, place)
        dash = f' stroke-dasharray="{_DASHES[k]}"' if _DASHES[k] else ""
        tip = f"<title>{escape(f'{each.name}, neuron {neuron}')}</title>"
        look = f'stroke="{svg.COLOURS[k]}" fill="none" stroke-width="1.5"{dash}'
        parts.append(f'<path d="{points}" {look}>{tip}</path>')
    return "".join(parts)


def _joined(values: Array, start: int, scale: float, place: Callable[[float], float]) -> str:
    """A line through the voltages that are numbers."""
    parts, pen = list[str](), "M"
    for t, value in enumerate(values.tolist()):
        if not isfinite(value):
            pen = "M"
            continue
        parts.append(f"{pen}{_LEFT + scale * (start + t):.1f} {place(value):.1f}")
        pen = "L"
    return "".join(parts)


def _scale(timesteps: int) -> tuple[float, float]:
    """The width of a picture's time, and of a timestep."""
    wide = _WIDTH - _LEFT - _RIGHT
    return wide, wide / max(1, min(timesteps, STEPS))


def _timeline(timesteps: int, top: float, wide: float) -> str:
    shown = min(timesteps, STEPS)
    step = next(each for each in (1, 2, 5, 10, 20, 50) if shown <= 8 * each or each == 50)
    parts = [svg.line(_LEFT, top, _LEFT + wide, top, 0.4)]
    for t in range(0, shown, step):
        left = _LEFT + wide * t / shown
        parts.append(svg.line(left, top, left, top + 5, 0.4))
        parts.append(svg.text(left, top + 18, str(t), "middle"))
    parts.append(svg.text(_LEFT - 10, top + 18, "timestep", "end"))
    return "".join(parts)


def _some(panels: Sequence[_Panel]) -> Iterator[tuple[int, _Panel]]:
    """Those that have room: the first and the last."""
    half = PANELS // 2
    for index, each in enumerate(panels):
        if index < half or index >= len(panels) - half:
            yield index, each


def _short(name: str) -> str:
    """What fits left of a panel."""
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}\u2026"
