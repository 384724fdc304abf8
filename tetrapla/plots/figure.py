"""What all figures share: their size, their look, and files without a date.

One column is 85 mm wide and two are 178 mm: both fit the columns of ACM (84.7 and 177.8 mm, to
a third of a millimetre) and of IEEE (88.9 and 181.9 mm), so that nothing is scaled and a letter
of 7 points stays one. Colours are Okabe and Ito's ("Color Universal Design", 2008); marks and
labels say the same again.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tetrapla.ir.errors import ModelError, UnsupportedError, nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Formatter

WIDTHS_MM: Final[Mapping[str, float]] = {"one": 85.0, "two": 178.0}
FORMATS: Final = (".pdf", ".svg", ".png")
MOST_MM: Final = 225.0  # of height: what a page of a paper holds, with a caption below

BLUE, RED, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
COLOURS: Final = (BLUE, RED, GREEN, PINK, "#E69F00", "#56B4E9", "#F0E442", "#000000")
GREY: Final = "#999999"
MARKS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")

_DOTS_PER_INCH = 600
_MM = 1 / 25.4
_LOOK: Final[Mapping[str, Any]] = {
    "font.family": "DejaVu Sans",  # matplotlib brings it: the same on every machine
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "axes.linewidth": 0.5,
    "axes.axisbelow": True,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.minor.width": 0.3,
    "ytick.minor.width": 0.3,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "grid.linewidth": 0.3,
    "grid.color": "#d0d0d0",
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 0.9,
    "hatch.linewidth": 0.4,
    "pdf.fonttype": 42,  # TrueType, which journals ask for, not Type 3
    "ps.fonttype": 42,
    "svg.fonttype": "path",  # outlines: no reader needs the font
    "svg.hashsalt": "tetrapla",
    "text.parse_math": False,  # names hold dollars and underscores
}


@dataclass(frozen=True)
class Origin:
    """What a figure's metadata say: the commands, the data's SHA-256 and the version."""

    title: str
    plotted: str
    computed: str
    digest: str
    version: str

    @property
    def text(self) -> str:
        """All in one sentence."""
        made = f"{self.computed}; " if self.computed else ""
        return f"{made}{self.plotted}; sha256 of the data {self.digest}"


def check_name(path: Path) -> None:
    """Refuse a file whose name asks for another kind.

    Raises:
        ModelError: the name does not end in .pdf, .svg or .png.
    """
    if path.suffix.lower() not in FORMATS:
        close = nearest(path.suffix, FORMATS)
        raise ModelError(
            f"--output must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, not '{path}'"
            f"{close or '; rename it'}"
        )


def check_library() -> None:
    """Refuse to draw without the extra.

    Raises:
        UnsupportedError: matplotlib is not installed.
    """
    try:
        import_module("matplotlib")
    except ImportError:
        raise UnsupportedError(
            'plot needs matplotlib, which is not installed; pip install "tetrapla[plot]"'
        ) from None


@contextmanager
def look() -> Generator[None, None, None]:
    """The same look whatever a person's own matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: Any = matplotlib.rcParams
        settings.update(_LOOK)
        yield


def blank(size: str, height_mm: float) -> Figure:
    """An empty figure of a column's width, its parts laid out so that nothing is cut."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    high = min(height_mm, MOST_MM)
    made = Figure(figsize=(WIDTHS_MM[size] * _MM, high * _MM), layout="constrained")
    FigureCanvasAgg(made)
    engine: Any = made.get_layout_engine()
    engine.set(w_pad=0.02, h_pad=0.02)
    return made


def written(figure: Figure, path: Path, origin: Origin) -> bytes:
    """The file that the name asks for; the same figure gives the same bytes."""
    maker = f"tetrapla {origin.version}"
    kind = path.suffix.lower()
    known: dict[str, dict[str, str | None]] = {
        ".pdf": {
            "Title": origin.title,
            "Subject": origin.text,
            "Keywords": f"sha256:{origin.digest}",
            "Creator": maker,
            "CreationDate": None,
        },
        ".svg": {
            "Title": origin.title,
            "Description": origin.text,
            "Creator": maker,
            "Date": None,
        },
        ".png": {
            "Title": origin.title,
            "Description": origin.text,
            "Software": maker,
        },
    }
    held = io.BytesIO()
    saved: Any = figure.savefig
    saved(held, format=kind[1:], metadata=known[kind], dpi=_DOTS_PER_INCH)
    return held.getvalue()


def ticks(show: Callable[[float], str]) -> Formatter:
    """Ticks that say what `show` makes of their place."""
    from matplotlib.ticker import FuncFormatter

    def shown(value: float, _: int | None) -> str:
        return show(value)

    return FuncFormatter(shown)


def bare(axes: Axes, *sides: str) -> None:
    """Take an axes' lines away at these sides."""
    for side in sides:
        axes.spines[side].set_visible(False)


def micro(text: str) -> str:
    """A quantity with the sign that print has and a terminal may lack."""
    number, _, unit = text.rpartition(" ")
    return f"{number} {unit.replace('u', 'µ')}" if number else text


def label_apart(
    figure: Figure,
    axes: Axes,
    places: Sequence[tuple[float, float, str]],
    lines: Sequence[tuple[float, float, float, float]] = (),
) -> None:
    """Name points where the names keep clear of each other, of the points and the frame.

    Args:
        figure: of the axes; it is laid out once.
        axes: whose limits are final.
        places: x and y in data coordinates, and the name.
        lines: x1, y1, x2, y2 of upright and level lines that names keep clear of, too.
    """
    draw: Any = figure.draw_without_rendering
    draw()
    canvas: Any = figure.canvas
    renderer = canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    spots = axes.transData.transform([(x, y) for x, y, _ in places])
    step = figure.dpi / 72
    taken = [(px - 3 * step, py - 3 * step, px + 3 * step, py + 3 * step) for px, py in spots]
    for x1, y1, x2, y2 in lines:
        (left, low), (right, high) = axes.transData.transform([(x1, y1), (x2, y2)])
        taken.append(
            (min(left, right) - step, min(low, high) - step, max(left, right) + step,
             max(low, high) + step)
        )  # fmt: skip
    for x, y, name in places:
        best: tuple[float, Any] | None = None
        for dx, dy, across, along in _SIDES:
            text = axes.annotate(
                name,
                (x, y),
                (dx, dy),
                textcoords="offset points",
                ha=across,
                va=along,
                fontsize=6.5,
                annotation_clip=False,
            )
            text.set_in_layout(False)
            box = text.get_window_extent(renderer).extents
            cost = sum(_common(box, other) for other in taken) + _outside(box, frame.extents)
            if best is None or cost < best[0]:
                if best is not None:
                    best[1].remove()
                best = cost, text
            else:
                text.remove()
            if cost == 0:
                break
        assert best is not None, "there is a side"
        taken.append(tuple(best[1].get_window_extent(renderer).extents))


_SIDES: Final = (
    (5, 0, "left", "center"),
    (-5, 0, "right", "center"),
    (0, 5, "center", "bottom"),
    (0, -5, "center", "top"),
    (4, 4, "left", "bottom"),
    (-4, 4, "right", "bottom"),
    (4, -4, "left", "top"),
    (-4, -4, "right", "top"),
    (4, 11, "left", "bottom"),
    (4, -11, "left", "top"),
    (-4, 11, "right", "bottom"),
    (-4, -11, "right", "top"),
)


def _common(box: Sequence[float], other: Sequence[float]) -> float:
    """The area that two boxes share."""
    wide = min(box[2], other[2]) - max(box[0], other[0])
    high = min(box[3], other[3]) - max(box[1], other[1])
    return wide * high if wide > 0 and high > 0 else 0.0


def _outside(box: Sequence[float], frame: Sequence[float]) -> float:
    """The area of a box that lies beyond a frame."""
    whole = (box[2] - box[0]) * (box[3] - box[1])
    return whole - _common(box, frame)
