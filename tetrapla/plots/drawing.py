"""From a result's file to a figure's bytes."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tetrapla import __version__
from tetrapla.plots.figure import Origin, look, written
from tetrapla.plots.legible import legible
from tetrapla.plots.runs import RunFile, read

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Wish:
    """How a figure is to be.

    Args:
        size: "one" or "two" columns.
        target: the machine that it is of; None for all.
        over: the axes of a Pareto figure; empty for the usual ones.
    """

    size: str = "one"
    target: str | None = None
    over: tuple[str, ...] = ()


def made(kind: str, source: Path, place: Path, wish: Wish) -> bytes:
    """A figure's file.

    Args:
        kind: a module of this folder.
        source: JSON of a command.
        place: whose name says the format; nothing is written.
        wish: what the options ask for.

    Raises:
        ModelError: the file has not what the figure is of.
    """
    given = read(source)
    run = legible(given)
    renamed = {
        str(old["target"]): str(new["target"])
        for old, new in zip(given.reports, run.reports, strict=True)
    }
    asked = replace(wish, target=renamed.get(wish.target or "", wish.target))
    first = run.reports[0]
    title = f"{kind}: {first['model']}"
    origin = Origin(title, _command(kind, source, wish), run.command, run.digest, __version__)
    with look():
        return written(_drawn(kind, run, asked), place, origin)


def _drawn(kind: str, run: RunFile, wish: Wish) -> Figure:
    from tetrapla.plots import breakdown, heatmap, pareto, raster, roofline, timeline

    if kind == "pareto":
        return pareto.draw(run, wish.size, wish.target, wish.over)
    plain = {
        "roofline": roofline.draw,
        "breakdown": breakdown.draw,
        "heatmap": heatmap.draw,
        "timeline": timeline.draw,
        "raster": raster.draw,
    }
    return plain[kind](run, wish.size, wish.target)


def _command(kind: str, source: Path, wish: Wish) -> str:
    """The command without its output, as reports leave it out, too."""
    words = ["tetrapla", "plot", kind, str(source), "--size", wish.size]
    words += ["--of", wish.target] if wish.target else []
    words += ["--axes", ",".join(wish.over)] if wish.over else []
    return shlex.join(words)
