"""Commands about a model: run, compile, ops, ir. Each returns the exit status."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from tetrapla.commands import options
from tetrapla.commands.options import (
    Batch,
    Calib,
    Data,
    Dims,
    Ideal,
    Model,
    Overrides,
    Quant,
    Target,
    Timesteps,
)


def run(
    model: Model,
    input_: Annotated[
        str, typer.Option("--input", help="An .npz with one array per input, or x.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .npz to write.")],
    dim: Dims = None,
    batch: Batch = None,
) -> int:
    """Compute a model's outputs with the reference interpreter."""
    from tetrapla.archive import npz
    from tetrapla.files import check_outputs, write_all
    from tetrapla.ir.interpret import evaluate_many
    from tetrapla.models import load
    from tetrapla.progress import bar
    from tetrapla.samples import read_inputs
    from tetrapla.settings import parse_dims

    check_outputs([output], [model, input_])
    module = load(model, dict(parse_dims(dim or [])), batch)
    inputs = read_inputs(module, input_)
    count = len(next(iter(inputs.values())))
    with bar(module.name, count) as done:
        found = evaluate_many(module, inputs, done)
    # one invocation is written as the model gives it, without an axis of its own
    written = {name: array[0] if count == 1 else array for name, array in found.items()}
    write_all({output: npz(written)})
    for name, array in written.items():
        typer.echo(f"{name}: {array.dtype} {list(array.shape)}")
    return 0


def compile_(
    model: Model,
    target: Target,
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to fill.")],
    data: Data = None,
    calib: Calib = None,
    calib_fraction: options.CalibFraction = None,
    dim: Dims = None,
    seed: options.Seed = 0,
    quant: Quant = None,
    timesteps: Timesteps = None,
    batch: Batch = None,
    ideal: Ideal = False,
    set_: Overrides = None,
    emit: Annotated[
        str | None, typer.Option("--emit", help="onnx: also write the lowered model as ONNX.")
    ] = None,
) -> int:
    """Write the program that a machine would run, and the module it was lowered from."""
    from tetrapla.emit import emitted
    from tetrapla.files import check_folder, write_all
    from tetrapla.models import load
    from tetrapla.run import check_targets, compile_for, options_of, samples_for

    chosen = options.settings(
        data, calib, calib_fraction, None, dim, seed, quant, timesteps, batch, ideal, set_
    )
    if emit not in (None, "onnx"):
        raise typer.BadParameter(f"must be onnx, not '{emit}'", param_hint="--emit")
    check_folder(output)
    check_targets([target], chosen.overrides)
    module = load(model, dict(chosen.dims), chosen.batch)
    samples = samples_for(module, chosen)
    executable = compile_for(
        module, target, samples.calibration, options_of(chosen), chosen.overrides
    )
    contents = emitted(executable, emit)
    write_all({output / name: content for name, content in contents.items()})
    for text in (*samples.warnings, *executable.lowered.warnings):
        typer.echo(f"note: {text}", err=True)
    for name, content in contents.items():
        typer.echo(f"{output / name}  {len(content)} bytes")
    return 0


def ops(
    model: Model,
    target: Annotated[
        str | None, typer.Option("--target", "-t", help="Try to lower for this target.")
    ] = None,
    dim: Dims = None,
    batch: Batch = None,
) -> int:
    """Count a model's operators, and say whether a target can do them."""
    from tetrapla.models import load
    from tetrapla.run import check_targets, compile_for
    from tetrapla.samples import drawn
    from tetrapla.settings import parse_dims
    from tetrapla.table import show_rows

    if target:
        check_targets([target])
    module = load(model, dict(parse_dims(dim or [])), batch)
    counts = Counter(node.kind for node in module.graph.nodes)
    rows = [(kind, str(count)) for kind, count in sorted(counts.items())]
    show_rows(
        f"{module.name}: {len(module.graph.nodes)} operators", ("operator", "count"), rows
    )
    if target:
        # the ranges are arbitrary, but which operators a machine has does not depend on them
        compile_for(module, target, drawn(module, 0).calibration)
        typer.echo(f"{target} can do all of them")
    return 0


def ir(
    model: Model,
    after: Annotated[
        str | None, typer.Option("--after", help="Run this pass first (or 'canonical').")
    ] = None,
    data: Data = None,
    calib: Calib = None,
    dim: Dims = None,
    batch: Batch = None,
) -> int:
    """Print a model as MLIR, as it was read or after a pass."""
    from tetrapla.emit import rewritten
    from tetrapla.models import load

    chosen = options.settings(data, calib, dims=dim, batch=batch)
    module = load(model, dict(chosen.dims), chosen.batch)
    if after:
        module = rewritten(module, after, chosen)
    typer.echo(module.text().rstrip("\n"))
    return 0
