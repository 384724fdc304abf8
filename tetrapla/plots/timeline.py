"""`timeline`: which unit works on which layer, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tetrapla.plots.figure import COLOURS, bare, blank
from tetrapla.plots.runs import Facts, RunFile
from tetrapla.plots.sights import seen
from tetrapla.quantities import quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW_MM = 5.5
_LEGEND: Final = 12  # layers that a legend has room for
_HATCHES: Final = ("", "////", "....")  # colours begin again behind the last
_WAY = "run `simulate` with --json again; `simulate --trace` writes what each machine keeps"


def draw(run: RunFile, size: str, target: str | None) -> Figure:
    """Units downwards, time to the right, a colour for each layer.

    Raises:
        ModelError: there is no timeline, or several and none is named.
    """
    report = seen(run, "timeline", target, _WAY)
    slices = [tuple(each) for each in report["sight"]["timeline"]]
    units = list(dict.fromkeys(str(unit) for unit, *_ in slices))
    layers = _layers(report, [str(name) for _, name, *_ in slices])
    figure = blank(size, 20 + _ROW_MM * len(units) + (4 if layers else 0))
    axes = figure.add_subplot()
    end = max(float(stop) for *_, stop in slices)
    scale, unit_name = _scale(end)
    for row, unit in enumerate(units):
        for name in ("", *layers):
            spans = [
                (scale * start, scale * (stop - start))
                for own, text, start, stop in slices
                if own == unit and _layer(str(text), layers) == name
            ]
            if spans:
                style = _style(name, layers)
                axes.broken_barh(spans, (row - 0.38, 0.76), linewidth=0.15, **style)
    axes.set_yticks(range(len(units)), units)
    axes.set_ylim(len(units) - 0.5, -0.5)
    axes.set_xlim(0, scale * end)
    axes.set_xlabel(f"time of one invocation ({unit_name})")
    axes.set_title(f"{report['model']} on {report['target']}")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, axis="x")
    bare(axes, "top", "right", "left")
    if 1 < len(layers) <= _LEGEND:
        _legend(figure, layers, 4 if size == "one" else 8)
    return figure


def _layers(report: Facts, names: list[str]) -> list[str]:
    """The layers that slices name, in the report's order."""
    known = [str(each["name"]) for each in report["layers"]]
    last = {name: {name, name.rpartition(" ")[2]} for name in names}
    used = set[str]().union(*last.values()) if last else set[str]()
    return [name for name in known if name in used]


def _layer(text: str, layers: list[str]) -> str:
    """The layer of a slice's name, which may say before it what is done."""
    if text in layers:
        return text
    end = text.rpartition(" ")[2]
    return end if end in layers else ""


def _style(name: str, layers: list[str]) -> dict[str, Any]:
    if not name:
        return {"facecolor": "#bbbbbb", "edgecolor": "white"}
    index = layers.index(name)
    again = index // len(COLOURS) % len(_HATCHES)
    return {
        "facecolor": COLOURS[index % len(COLOURS)],
        "hatch": _HATCHES[again],
        "edgecolor": "white",
    }


def _legend(figure: Figure, layers: list[str], columns: int) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(label=name, **_style(name, layers)) for name in layers]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(layers)))


def _scale(end: float) -> tuple[float, str]:
    """A factor and the unit in which the end is a number from 1 to 1000."""
    unit = quantity(end, "s").split(" ")[1]
    factor = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9, "ps": 1e12}.get(unit, 1.0)
    return factor, unit.replace("u", "µ")
