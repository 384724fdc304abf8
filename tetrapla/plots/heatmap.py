"""`heatmap`: how much of a machine each layer uses; of one machine, what it costs, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tetrapla.ir.errors import ModelError
from tetrapla.plots.figure import MOST_MM, blank
from tetrapla.plots.legible import cut
from tetrapla.plots.runs import Facts, RunFile, chosen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW_MM, _LEAST_ROW_MM, _FRAME_MM = 4.4, 2.3, 26
_MOST_ROWS: Final = int((MOST_MM - _FRAME_MM) / _LEAST_ROW_MM)
_MOST_COLUMNS: Final = {"one": 8, "two": 20}
_LETTERS: Final = {"one": 22, "two": 40}
_LIGHT: Final = 0.55  # of the colour scale, above which text is black


@dataclass(frozen=True)
class _Column:
    """A column's name, and its shares by layer; None where one is not known."""

    name: str
    shares: Mapping[str, float | None]


def draw(run: RunFile, size: str, target: str | None) -> Figure:
    """Layers downwards, machines (or of one machine its shares) across.

    Raises:
        ModelError: the file is a sweep, holds several models, or too many columns.
    """
    if run.swept:
        raise ModelError(
            f"heatmap must have one report or a comparison, not the sweep {run.path}; "
            "run `simulate` on one of its points with --json"
        )
    reports = chosen(run, target)
    rows = _rows(reports)
    if not rows[0]:
        raise ModelError(
            f"heatmap must have layers of known utilisation, but {run.path} has none; take a "
            "model with products or convolutions"
        )
    columns = _of_one(reports[0]) if len(reports) == 1 else _of_several(reports)
    if len(columns) > _MOST_COLUMNS[size]:
        raise ModelError(
            f"heatmap --size {size} must have at most {_MOST_COLUMNS[size]} columns, not "
            f"{len(columns)}; take --size two, or --of TARGET"
        )
    return _drawn(columns, rows, _title(reports), size)


def _of_one(report: Facts) -> list[_Column]:
    layers = report["layers"]
    times: dict[str, float | None] = {each["name"]: each["cycles"] for each in layers}
    joules: dict[str, float | None] = {each["name"]: each["energy_pj"] for each in layers}
    used = {each["name"]: each["utilization_frac"] for each in layers}
    return [
        _Column("utilisation", used),
        _Column("time", _shares(times)),
        _Column("energy", _shares(joules)),
    ]


def _of_several(reports: Sequence[Facts]) -> list[_Column]:
    models = {report["model"] for report in reports}
    found: list[_Column] = []
    for report in reports:
        name = str(report["target"])
        if len(models) > 1:
            name = f"{name}, {report['model']}"
        used = {each["name"]: each["utilization_frac"] for each in report["layers"]}
        found.append(_Column(name, used))
    return found


def _shares(amounts: Mapping[str, float | None]) -> dict[str, float | None]:
    """Parts of their sum; layers may overlap, so that it is not the whole."""
    known = [each for each in amounts.values() if each is not None]
    total = sum(known) if len(known) == len(amounts) else 0
    return {
        name: each / total if total and each is not None else None
        for name, each in amounts.items()
    }


def _rows(reports: Sequence[Facts]) -> tuple[list[str], int]:
    """Layers in the order of the first machine; of very many those that take longest.

    Of several machines, only layers that one of them gives a utilisation.
    """
    weight: dict[str, float] = {}
    for report in reports:
        total = sum(each["cycles"] for each in report["layers"]) or 1
        for each in report["layers"]:
            if len(reports) > 1 and each["utilization_frac"] is None:
                continue
            part = each["cycles"] / total
            weight[each["name"]] = max(weight.get(each["name"], 0.0), part)
    kept = set(sorted(weight, key=lambda name: -weight[name])[:_MOST_ROWS])
    return [name for name in weight if name in kept], len(weight)


def _title(reports: Sequence[Facts]) -> str:
    models = ", ".join(dict.fromkeys(str(report["model"]) for report in reports))
    if len(reports) == 1:
        return f"{models} on {reports[0]['target']}: utilisation, shares of time and energy"
    return f"{models}: utilisation by layer"


def _drawn(
    columns: Sequence[_Column], rows: tuple[Sequence[str], int], title: str, size: str
) -> Figure:
    import numpy as np

    names, count = rows
    if len(names) < count:
        title += f" (the {len(names)} longest of {count} layers)"
    values = np.array([[_value(each, name) for each in columns] for name in names])
    step = max(_LEAST_ROW_MM, min(_ROW_MM, (MOST_MM - _FRAME_MM) / len(names)))
    figure = blank(size, _FRAME_MM + step * len(names))
    axes = figure.add_subplot()
    axes.set_facecolor("#e8e8e8")  # of what has no share
    image = axes.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    fits = 6.0 if step > 3.2 else 4.5
    for row in range(len(names)):
        for column in range(len(columns)):
            share = values[row, column]
            style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": fits}
            if np.isnan(share):
                axes.text(column, row, "n/a", color="#606060", **style)
            else:
                ink = "black" if share > _LIGHT else "white"
                axes.text(column, row, _percent(float(share)), color=ink, **style)
    long = max(len(each.name) for each in columns) * len(columns) > (
        44 if size == "one" else 80
    )
    axes.set_xticks(
        range(len(columns)), [each.name for each in columns],
        rotation=30 if long else 0, ha="right" if long else "center",
    )  # fmt: skip
    shown = [cut(name, _LETTERS[size]) for name in names]
    axes.set_yticks(range(len(names)), shown, fontsize=min(6.5, step * 2.1))
    axes.tick_params(length=0)
    axes.set_title(title)
    bar = figure.colorbar(image, ax=axes, location="right", pad=0.02, aspect=30, shrink=0.9)
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "25", "50", "75", "100 %"])
    bar.outline.set_linewidth(0.5)
    return figure


def _value(column: _Column, name: str) -> float:
    found = column.shares.get(name)
    return float("nan") if found is None else found


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "<0.1"
    return f"{100 * share:.1f}" if share < 0.0995 else f"{100 * share:.0f}"
