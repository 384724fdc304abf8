"""The options that several commands share, and `Settings` made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tetrapla.settings import Settings

Model = Annotated[str, typer.Argument(metavar="MODEL", help="An .onnx or .mlir file.")]
Models = Annotated[list[str], typer.Argument(metavar="MODEL...", help="Model files.")]
Target = Annotated[
    str, typer.Option("--target", "-t", help="A chip, a family, or a YAML file (`targets`).")
]
Targets = Annotated[
    list[str], typer.Option("--targets", help="Several of them, joined by commas.")
]
Data = Annotated[
    str | None,
    typer.Option("--data", help="digits, or an .npz with x and y. [default: random inputs]"),
]
Calib = Annotated[
    str | None, typer.Option("--calib", help="An .npz with calibration data (x).")
]
CalibFraction = Annotated[
    float | None,
    typer.Option("--calib-fraction", help="Leading share of --data that calibrates, 0..1."),
]
Samples = Annotated[int | None, typer.Option("--samples", help="Run the first N samples only.")]
Dims = Annotated[
    list[str] | None, typer.Option("--dim", help="NAME=SIZE of a symbolic dimension.")
]
Seed = Annotated[int, typer.Option("--seed", help="Of every random number.")]
Quant = Annotated[
    str | None, typer.Option("--quant", help="int8 or none. [default: the chip's format]")
]
Timesteps = Annotated[int | None, typer.Option("--timesteps", help="T of a spiking target.")]
Batch = Annotated[
    int | None, typer.Option("--batch", help="Size of a symbolic leading dimension.")
]
Ideal = Annotated[
    bool, typer.Option("--ideal", help="Switch every non-ideality of the machine off.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="FIELD=VALUE over the chip's YAML.")
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the report as JSON.")]
Page = Annotated[
    Path | None, typer.Option("--report", help="Write a self-contained HTML page.")
]
Csv = Annotated[Path | None, typer.Option("--csv", help="Write one row per target.")]


def settings(
    data: str | None = None,
    calib: str | None = None,
    calib_fraction: float | None = None,
    samples: int | None = None,
    dims: list[str] | None = None,
    seed: int = 0,
    quant: str | None = None,
    timesteps: int | None = None,
    batch: int | None = None,
    ideal: bool = False,
    overrides: list[str] | None = None,
) -> Settings:
    """The options as one frozen value, checked."""
    from tetrapla.settings import Settings, parse_dims

    return Settings(
        data=data,
        calib=calib,
        calib_fraction=calib_fraction,
        samples=samples,
        dims=parse_dims(dims or []),
        seed=seed,
        quant=quant,
        timesteps=timesteps,
        batch=batch,
        ideal=ideal,
        overrides=tuple(overrides or ()),
    )


def split(texts: list[str]) -> list[str]:
    """Names joined by commas, from one or more options; empty ones fall away."""
    return [name for text in texts for name in text.split(",") if name]
