"""`plot`: a figure for a paper out of a result's JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_KINDS = ("roofline", "breakdown", "pareto", "heatmap", "timeline", "raster")


def plot(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"{', '.join(_KINDS)}.")],
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN.json", help="What --json of a command wrote."),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FIG", help="The .pdf, .svg or .png to write."),
    ],
    size: Annotated[
        str,
        typer.Option("--size", metavar="one|two", help="Columns: 85 or 178 mm wide."),
    ] = "one",
    of: Annotated[
        str | None,
        typer.Option("--of", metavar="TARGET", help="This machine of a comparison alone."),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(
            "--axes",
            metavar="X,Y",
            help="Of pareto: two of latency, energy, area, accuracy, dynamic_energy.",
        ),
    ] = None,
) -> int:
    """Draw a result for a paper (extra plot)."""
    from tetrapla.files import check_outputs, write_all
    from tetrapla.ir.errors import ModelError, nearest
    from tetrapla.plots import drawing
    from tetrapla.plots.figure import WIDTHS_MM, check_library, check_name

    if kind not in _KINDS:
        raise ModelError(
            f"KIND must be one of {', '.join(_KINDS)}, not '{kind}'"
            f"{nearest(kind, _KINDS) or '; choose one'}"
        )
    if size not in WIDTHS_MM:
        raise ModelError(f"--size must be one or two columns, not '{size}'; give --size one")
    if axes is not None and kind != "pareto":
        raise ModelError(f"--axes must come with pareto, not with {kind}; leave it out")
    check_name(output)
    check_outputs([output], [str(run)])
    check_library()
    over = tuple(part.strip() for part in (axes or "").split(",") if part.strip())
    write_all({output: drawing.made(kind, run, output, drawing.Wish(size, of, over))})
    return 0
