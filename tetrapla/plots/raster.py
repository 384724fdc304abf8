"""`raster`: the spikes of one inference, a row for each neuron, population under population."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tetrapla.plots.figure import COLOURS, MOST_MM, bare, blank
from tetrapla.plots.legible import cut
from tetrapla.plots.runs import RunFile
from tetrapla.plots.sights import seen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW_MM, _LEAST_MM, _GAP_MM = 0.25, 7.0, 1.0
_WAY = "take a spiking target: `simulate --target loihi --json`"
_LETTERS: Final = 18


def draw(run: RunFile, size: str, target: str | None) -> Figure:
    """A panel for each population, a mark for each spike.

    Raises:
        ModelError: there are no spikes, or those of several machines and none is named.
    """
    report = seen(run, "rasters", target, _WAY)
    rasters = report["sight"]["rasters"]
    heights = [max(_LEAST_MM, _ROW_MM * len(each["shown"])) for each in rasters]
    room = MOST_MM - 16 - _GAP_MM * len(rasters)
    shrink = min(1.0, room / sum(heights))
    heights = [shrink * each for each in heights]
    figure = blank(size, 16 + sum(heights) + _GAP_MM * len(rasters))
    panels = figure.subplots(
        len(rasters), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    last = 1
    for index, (axes, each) in enumerate(zip(panels.ravel(), rasters, strict=True)):
        shown = len(each["shown"])
        times = [int(t) for t, _ in each["spikes"]]
        rows = [int(i) for _, i in each["spikes"]]
        last = max([last, *(t + 1 for t in times)])
        colour = COLOURS[index % (len(COLOURS) - 2)]  # no yellow: thin marks would vanish
        axes.vlines(
            times, [row - 0.45 for row in rows], [row + 0.45 for row in rows], color=colour,
            linewidth=0.8,
        )  # fmt: skip
        axes.set_ylim(shown - 0.5, -0.5)
        axes.set_yticks([])
        some = "" if shown == each["neurons"] else f"{shown} of "
        name = cut(str(each["name"]), _LETTERS)
        axes.set_ylabel(
            f"{name}\n{some}{each['neurons']}", rotation=0, ha="right", va="center", fontsize=6
        )
        bare(axes, "top", "right", "bottom")
        axes.tick_params(axis="x", length=0)
    bottom = panels.ravel()[-1]
    bottom.spines["bottom"].set_visible(True)
    bottom.tick_params(axis="x", length=2.5)
    bottom.set_xlim(-0.8, last - 0.2)
    bottom.set_xlabel("timestep of the first inference")
    panels.ravel()[0].set_title(f"{report['model']} on {report['target']}, spikes")
    return figure
