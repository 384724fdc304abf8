"""The options that several commands share, and `Settings` made of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, cast, get_type_hints

import typer

from tetrapla.settings import ADDED as ADDED

if TYPE_CHECKING:
    from tetrapla.settings import Settings

P = ParamSpec("P")

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model file, or zoo:NAME (`zoo`).")
]
Models = Annotated[list[str], typer.Argument(metavar="MODEL...", help="Model files.")]
Target = Annotated[
    str,
    typer.Option(
        "--target", "-t", metavar="T", help="A chip, a family, a YAML or SCALE-Sim .cfg file."
    ),
]
Targets = Annotated[
    list[str],
    typer.Option(
        "--targets",
        metavar="T1,T2,...",
        help="Chips, families, YAML or .cfg files (`targets`).",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="digits, or an .npz with x and y. [default: random inputs]",
    ),
]
Calib = Annotated[
    str | None,
    typer.Option("--calib", metavar="FILE", help="An .npz with calibration data (x)."),
]
CalibFraction = Annotated[
    str | None,
    typer.Option(
        "--calib-fraction", metavar="P", help="Leading share of --data that calibrates, 0..1."
    ),
]
Samples = Annotated[
    str | None, typer.Option("--samples", metavar="N", help="Run the first N samples only.")
]
Dims = Annotated[
    list[str] | None,
    typer.Option("--dim", metavar="NAME=SIZE", help="Size of a symbolic dimension."),
]
Fixed = Annotated[
    list[str] | None,
    typer.Option(
        "--fix", metavar="NAME=FILE", help="Make an input a constant, from an .npz file."
    ),
]
Seed = Annotated[str, typer.Option("--seed", metavar="N", help="Of every random number.")]
Quant = Annotated[
    str | None,
    typer.Option(
        "--quant",
        metavar="FORMAT",
        help="int8, int4, int16, fp32, tf32, bf16, fp16, fp8, none or a pipeline. "
        "[default: the chip's]",
    ),
]
Timesteps = Annotated[
    str | None, typer.Option("--timesteps", metavar="N", help="T of a spiking target.")
]
Code = Annotated[
    str | None,
    typer.Option(
        "--code",
        metavar="CODE",
        help="Of a spiking target: rate, sequential, radix, graded or ttfs. [default: rate]",
    ),
]
Batch = Annotated[
    str | None,
    typer.Option(
        "--batch", metavar="N", help="Size of a symbolic leading dimension. [default: 1]"
    ),
]
Ideal = Annotated[
    bool, typer.Option("--ideal", help="Switch every non-ideality of the machine off.")
]
Compat = Annotated[
    str | None,
    typer.Option(
        "--compat", metavar="TOOL", help="scalesim: SCALE-Sim 3.0's own numbers beside ours."
    ),
]
Tuning = Annotated[
    str | None,
    typer.Option("--tuning", metavar="FILE", help="Tiles that were found on a GPU."),
]
Discretisation = Annotated[
    str | None,
    typer.Option(
        "--discretisation",
        metavar="RULE",
        help="Of a .nir file: euler, zoh, exponential or a platform. [default: its own, euler]",
    ),
]
Dt = Annotated[
    str | None,
    typer.Option(
        "--dt", metavar="S", help="Timestep of a .nir file, seconds. [default: its own, 1e-4]"
    ),
]
Repair = Annotated[
    bool,
    typer.Option("--repair", help="Of a .nir file: mend an edge where one node can be meant."),
]
Chunk = Annotated[
    str | None,
    typer.Option(
        "--chunk",
        metavar="N",
        help="Column sums that an analog machine holds at once; values do not change.",
    ),
]
Chips = Annotated[
    str | None,
    typer.Option(
        "--chips",
        metavar="N",
        help="Chips of a noisy kind, each with its own errors and faults. [default: 5]",
    ),
]
LeastAccuracy = Annotated[
    str | None,
    typer.Option(
        "--least-accuracy",
        metavar="P",
        help="What a good chip has, 0..1. [default: a point below the float model's]",
    ),
]
Normalize = Annotated[
    str | None,
    typer.Option(
        "--normalize", metavar="7nm|100mm2", help="Figures also at one node, or at one area."
    ),
]
Region = Annotated[
    str | None,
    typer.Option(
        "--region",
        metavar="R",
        help="CO2 on a country's grid: DEU or Germany (`regions`).",
    ),
]
Pue = Annotated[
    str | None,
    typer.Option(
        "--pue", metavar="X", help="What a site draws over its computers. [default: 1.1]"
    ),
]
Price = Annotated[
    str | None,
    typer.Option("--price-per-kwh", metavar="X", help="Of electricity: adds its cost."),
]
Batches = Annotated[
    list[str] | None,
    typer.Option(
        "--batch",
        metavar="N1,N2,...",
        help="Sizes of a symbolic leading dimension. [default: 1]",
    ),
]
Quants = Annotated[
    list[str] | None,
    typer.Option(
        "--quant",
        metavar="F1,F2,...",
        help="int8, int4, int16, fp32, tf32, bf16, fp16, fp8, none; a pipeline has an option "
        "of its own. [default: the chip's]",
    ),
]
Unsupported = Annotated[
    str,
    typer.Option(
        "--on-unsupported",
        metavar="error|skip",
        help="What a machine cannot do is an error before the work, or left out and named.",
    ),
]
Executor = Annotated[
    str | None,
    typer.Option(
        "--executor",
        metavar="E",
        help="serial, processes[:N], dask://HOST:PORT, ray or ray://HOST:PORT. [default: "
        "processes where it pays]",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Over the chip's YAML (`arch show`)."),
]
Emit = Annotated[
    str | None,
    typer.Option(
        "--emit",
        metavar="FORM",
        help="Also write the lowered model as onnx or qdq.onnx; a GPU's plan as cuda-c.",
    ),
]
Json = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the figures as JSON; - prints them."),
]
Page = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Write a self-contained HTML page."),
]
Parquet = Annotated[
    Path | None,
    typer.Option("--parquet", metavar="FILE", help="The rows of --csv (extra parquet)."),
]
Csv = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Write one row per result.")
]


def settings(
    data: Data = None,
    calib: Calib = None,
    calib_fraction: CalibFraction = None,
    samples: Samples = None,
    dims: Dims = None,
    seed: Seed = "0",
    quant: Quant = None,
    timesteps: Timesteps = None,
    code: Code = None,
    batch: Batch = None,
    ideal: Ideal = False,
    overrides: Overrides = None,
    fixed: Fixed = None,
    compat: Compat = None,
    tuning: Tuning = None,
    discretisation: Discretisation = None,
    dt: Dt = None,
    repair: Repair = False,
    chunk: Chunk = None,
    chips: Chips = None,
    least_accuracy: LeastAccuracy = None,
    normalize: Normalize = None,
    region: Region = None,
    pue: Pue = None,
    price_per_kwh: Price = None,
) -> Settings:
    """The options as one frozen value, checked.

    Raises:
        ModelError: one is not what it should be.
    """
    from tetrapla.settings import Settings, parse_dims, parse_fixed, share, whole

    return Settings(
        data=data,
        calib=calib,
        calib_fraction=share("--calib-fraction", calib_fraction),
        samples=whole("--samples", samples),
        dims=parse_dims(dims or []),
        seed=whole("--seed", seed) or 0,
        quant=quant,
        timesteps=whole("--timesteps", timesteps),
        code=code,
        batch=whole("--batch", batch),
        fixed=parse_fixed(fixed or []),
        ideal=ideal,
        overrides=tuple(overrides or ()),
        compat=compat,
        tuning=tuning,
        discretisation=discretisation,
        dt=share("--dt", dt),
        repair=repair,
        chunk=whole("--chunk", chunk),
        chips=whole("--chips", chips),
        least_accuracy=share("--least-accuracy", least_accuracy),
        normalize=normalize,
        region=region,
        pue=share("--pue", pue),
        price_per_kwh=share("--price-per-kwh", price_per_kwh),
    )


def with_settings(
    *left_out: str,
) -> Callable[[Callable[Concatenate[Settings, P], int]], Callable[..., int]]:
    """Give a command the options of `settings`, which it takes as its first argument.

    Args:
        left_out: the parameters of `settings` that the command has no option for.
    """

    def made(command: Callable[Concatenate[Settings, P], int]) -> Callable[..., int]:
        shared = [each for each in _parameters(settings) if each.name not in left_out]
        own = _parameters(command)[1:]
        needed = [each for each in own if each.default is each.empty]
        named = [each for each in own if each.default is not each.empty]

        @wraps(command)
        def run(**words: Any) -> int:
            chosen = settings(**{each.name: words.pop(each.name) for each in shared})
            return cast("Callable[..., int]", command)(chosen, **words)

        every = [*needed, *shared, *named]
        run.__annotations__ = {each.name: each.annotation for each in every}
        cast("Any", run).__signature__ = Signature(every)
        return run

    return made


def _parameters(function: Callable[..., Any]) -> list[Parameter]:
    """Parameters with their types evaluated, as the command line's parser needs them."""
    local = {"Settings": object}  # its module is imported when a command runs
    hints = get_type_hints(function, localns=local, include_extras=True)
    found = signature(function).parameters.values()
    keyword = Parameter.KEYWORD_ONLY  # so that an order of one's own has no rules
    return [each.replace(annotation=hints[each.name], kind=keyword) for each in found]


def split(texts: list[str]) -> list[str]:
    """Names joined by commas, from one or more options; empty ones fall away."""
    names = (name.strip() for text in texts for name in text.split(","))
    return [name for name in names if name]


def note(*texts: str) -> None:
    """Say what a person should know beside the result, on the error stream."""
    for text in texts:
        typer.echo(f"note: {text}", err=True)
