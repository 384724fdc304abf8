"""`breakdown`: which unit takes the energy, of one machine in joules, of several in shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tetrapla.ir.errors import ModelError
from tetrapla.plots.figure import COLOURS, GREY, bare, blank, micro, ticks
from tetrapla.plots.runs import Facts, RunFile, chosen
from tetrapla.quantities import energy, quantity, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STATIC = "static"
_NAMED: Final = 7  # units with a colour of their own; the rest is one grey part
_FIRST: Final = 0.04  # share from which a part has room for its number
_HATCHES: Final = ("", "//", "", "\\\\", "", "..", "", "xx")


def draw(run: RunFile, size: str, target: str | None) -> Figure:
    """One machine's energy by unit, or one bar for each of several.

    Raises:
        ModelError: no energy is known, or the file is a sweep.
    """
    if run.swept:
        raise ModelError(
            f"breakdown must have one report or a comparison, not the sweep {run.path}; "
            "run `simulate` on one of its points with --json"
        )
    reports = chosen(run, target)
    if not any(_known(report) for report in reports):
        raise ModelError(
            f"breakdown must have known energies, but {run.path} has none: a price is unknown; "
            "see the warnings in it"
        )
    return _one(reports[0], size) if len(reports) == 1 else _several(reports, size)


def _one(report: Facts, size: str) -> Figure:
    """A bar for each unit, the largest on top."""
    units = {unit: pj for unit, pj in report["energy_pj"]["by_unit"].items() if pj != 0}
    rows = sorted(units, key=lambda unit: (-(units[unit] or 0.0), unit))
    figure = blank(size, 17 + 4.2 * len(rows))
    axes = figure.add_subplot()
    total = report["energy_pj"]["total"]
    amounts = [1e-12 * (units[unit] or 0.0) for unit in rows]
    axes.barh(range(len(rows)), amounts, height=0.7, color=COLOURS[0])
    _log_joules(axes, [each for each in amounts if each > 0])
    for place, unit in enumerate(rows):
        pj = units[unit]
        text = "unknown" if pj is None else micro(energy(pj))
        text += f", {share(pj / total)}" if total and pj is not None else ""
        left = amounts[place] or axes.get_xlim()[0]
        axes.annotate(text, (left, place), (2, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_title(f"{_who(report)}: {micro(energy(total))}")
    axes.set_xlabel("energy of one invocation")
    axes.tick_params(axis="y", length=0)
    bare(axes, "top", "right")
    return figure


def _log_joules(axes: Axes, amounts: Sequence[float]) -> None:
    """A logarithmic axis with room for the numbers behind the bars."""
    from math import ceil, floor, log10

    from matplotlib.ticker import NullFormatter

    low = 10.0 ** floor(log10(min(amounts)) - 0.3)
    decades = max(1, ceil(log10(max(amounts) / low)))
    axes.set_xscale("log")
    axes.set_xlim(low, low * 10 ** (1.75 * decades))  # assumed: what the longest text needs
    last = 1.5 * max(amounts)
    places = [low * 10.0**i for i in range(decades + 1) if low * 10.0**i <= last]
    step = -(-len(places) // 6)
    axes.set_xticks(places[::step])
    axes.xaxis.set_major_formatter(ticks(_joules))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", which="minor", bottom=False)


def _joules(value: float) -> str:
    number, unit = quantity(value, "J").split(" ")
    return micro(f"{float(number):g} {unit}")


def _several(reports: Sequence[Facts], size: str) -> Figure:
    """Shares of all energy, and of what work costs where machines also wait."""
    work = [_work(report) for report in reports]
    panels: list[tuple[str, list[dict[str, float]]]] = [
        ("share of all energy", [_units(report) for report in reports])
    ]
    if any(_STATIC in _units(report) for report in reports) and any(work):
        panels.append(("share of the energy without static", work))
    wide = size == "two"
    high = 5.0 * len(reports) + 9
    figure = blank(size, 13 + high * (1 if wide else len(panels)))
    grid = (1, len(panels)) if wide else (len(panels), 1)
    named = _named([units for _, held in panels for units in held])
    every = figure.subplots(*grid, sharey=wide, squeeze=False).ravel()
    for axes, (title, held) in zip(every, panels, strict=True):
        _bars(axes, held, named)
        axes.set_xlabel(title)
        axes.set_yticks(range(len(reports)), [_label(each, reports) for each in reports])
        axes.set_ylim(len(reports) - 0.5, -0.5)
        for place, (report, units) in enumerate(zip(reports, held, strict=True)):
            total = micro(energy(sum(units.values()) if _known(report) else None))
            spot = (1.0, place) if units else (0.0, place)
            axes.annotate(total, spot, (2, 0), textcoords="offset points", va="center")
    names = [*named, *(["other"] if _rest(panels, named) else [])]
    _legend(figure, names, 9 if wide else 4)
    return figure


def _bars(axes: Axes, held: Sequence[dict[str, float]], named: Sequence[str]) -> None:
    """Stacked bars from 0 to 1."""
    for place, units in enumerate(held):
        total, left = sum(units.values()), 0.0
        if not total:
            continue
        parts = [(unit, units.get(unit, 0.0)) for unit in named]
        parts.append(("other", total - sum(amount for _, amount in parts)))
        for unit, amount in parts:
            part = max(0.0, amount / total)
            if part < 1e-4:  # not a tenth of a line
                continue
            colour, hatch = _ink(unit, named)
            axes.barh(
                place, part, 0.72, left, color=colour, hatch=hatch, edgecolor="white",
                linewidth=0.3,
            )  # fmt: skip
            if part >= _FIRST * 2:
                middle = left + part / 2
                axes.text(
                    middle, place, f"{100 * part:.0f} %", ha="center", va="center",
                    fontsize=6, color="black" if colour in _LIGHT else "white",
                    bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.6},
                )  # fmt: skip
            left += part
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    axes.tick_params(axis="y", length=0)
    bare(axes, "top", "right", "left")


_LIGHT: Final = ("#E69F00", "#56B4E9", "#F0E442", "#CC79A7", "#c4c4c4")


def _ink(unit: str, named: Sequence[str]) -> tuple[str, str]:
    """A unit's colour and hatch."""
    if unit == _STATIC:
        return GREY, ""
    if unit == "other":
        return "#c4c4c4", ""
    index = [each for each in named if each != _STATIC].index(unit)
    return COLOURS[index % len(COLOURS)], _HATCHES[index % len(_HATCHES)]


def _legend(figure: Figure, names: Sequence[str], columns: int) -> None:
    from matplotlib.patches import Patch

    handles = []
    for name in names:
        colour, hatch = _ink(name, names)
        text = name.replace("_", " ")
        handles.append(Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=text))
    figure.legend(handles=handles, loc="outside upper center", ncols=min(columns, len(names)))


def _named(held: Sequence[dict[str, float]]) -> list[str]:
    """The units that take most of any bar, in that order; static first."""
    most: dict[str, float] = {}
    for units in held:
        total = sum(units.values())
        for unit, amount in units.items():
            if total:
                most[unit] = max(most.get(unit, 0.0), amount / total)
    ranked = sorted((unit for unit in most if unit != _STATIC), key=lambda u: (-most[u], u))
    return [*([_STATIC] if _STATIC in most else []), *ranked[:_NAMED]]


def _rest(
    panels: Sequence[tuple[str, Sequence[dict[str, float]]]], named: Sequence[str]
) -> bool:
    return any(set(units) - set(named) for _, held in panels for units in held)


def _units(report: Facts) -> dict[str, float]:
    """Energy by unit, pJ; nothing where a price is unknown, as then no share is known."""
    if not _known(report):
        return {}
    return {unit: pj for unit, pj in report["energy_pj"]["by_unit"].items() if pj}


def _work(report: Facts) -> dict[str, float]:
    return {unit: pj for unit, pj in _units(report).items() if unit != _STATIC}


def _known(report: Facts) -> bool:
    return bool(report["energy_pj"]["total"])


def _who(report: Facts) -> str:
    return f"{report['model']} on {report['target']}"


def _label(report: Facts, reports: Sequence[Facts]) -> str:
    several = len({each["model"] for each in reports}) > 1
    return f"{report['target']}, {report['model']}" if several else str(report["target"])
