"""Commands about a model: run, ops, ir. Each returns the exit status."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypedDict

import typer

from tetrapla.commands import options
from tetrapla.commands.options import (
    Batch,
    Calib,
    Data,
    Dims,
    Discretisation,
    Dt,
    Fixed,
    Model,
    Repair,
)


class _Read(TypedDict):
    """How a .nir file is read, as `options.settings` takes it."""

    discretisation: str | None
    dt: str | None
    repair: bool


def run(
    model: Model,
    input_: Annotated[
        str,
        typer.Option(
            "--input",
            metavar="FILE",
            help="An .npz or .safetensors: an array per input, or x.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE", help="The .npz or .safetensors file."),
    ],
    engine: Annotated[
        str,
        typer.Option(
            "--engine", metavar="E", help="numpy, the interpreter, or jit, machine code."
        ),
    ] = "numpy",
    precision: Annotated[
        str,
        typer.Option(
            "--precision", metavar="P", help="model, its own types, or float64 for floats."
        ),
    ] = "model",
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep", metavar="NAME,...", help="Write these values inside, too; all: every one."
        ),
    ] = None,
    dim: Dims = None,
    batch: Batch = None,
    fix: Fixed = None,
    discretisation: Discretisation = None,
    dt: Dt = None,
    repair: Repair = False,
) -> int:
    """Compute a model's outputs with the reference interpreter, or compiled.

    Samples along the model's batch give outputs along it; others are stacked by invocation.
    """
    from tetrapla.archive import check_name
    from tetrapla.archive import written as filed
    from tetrapla.batches import STACKED, joinable, joined
    from tetrapla.engines import results
    from tetrapla.files import STDOUT, check_outputs, write_all
    from tetrapla.host import on_host
    from tetrapla.ir.interpret import check_weights, gathered
    from tetrapla.models import load_for
    from tetrapla.progress import bar
    from tetrapla.streams import stream

    read: _Read = {"discretisation": discretisation, "dt": dt, "repair": repair}
    chosen = options.settings(dims=dim, batch=batch, fixed=fix, **read)
    check_outputs([output], [model, input_])
    check_name("--output", output)
    module = load_for(model, chosen)
    check_weights(module)
    kept = "all" if keep == "all" else keep.split(",") if keep else ()
    samples, stacked = (None, False) if kept else joinable(module, model, input_, chosen)
    inputs = stream(module, input_, samples)
    each = results(engine, module, inputs, precision, kept)
    with bar(inputs.count) as step:
        found = gathered(each, inputs.count, lambda done: step(module.name, done))
    if samples is not None:
        written = joined(found, samples)
    else:  # one invocation is written as the model gives it, without an axis of its own
        one = inputs.count == 1
        written = {name: array[0] if one else array for name, array in found.items()}
    written |= on_host(module, {name: found[name] for name in module.outputs})
    write_all({output: filed(output, written)})
    options.note(*inputs.warnings, *([STACKED] if stacked else []))
    for name, array in written.items():
        typer.echo(f"{name}: {array.dtype} {list(array.shape)}", err=output == STDOUT)
    return 0


def ops(
    model: Model,
    target: Annotated[
        str | None,
        typer.Option("--target", "-t", metavar="T", help="Try to lower for this target."),
    ] = None,
    dim: Dims = None,
    batch: Batch = None,
    fix: Fixed = None,
    discretisation: Discretisation = None,
    dt: Dt = None,
    repair: Repair = False,
) -> int:
    """Count a model's operators and their work, and say whether a target can do them."""
    from tetrapla.designs import designs
    from tetrapla.models import load_for
    from tetrapla.operators import HEADINGS, counted
    from tetrapla.run import compile_for
    from tetrapla.samples import drawn
    from tetrapla.table import show_rows

    read: _Read = {"discretisation": discretisation, "dt": dt, "repair": repair}
    chosen = options.settings(dims=dim, batch=batch, fixed=fix, **read)
    found = designs([target]) if target else ()
    module = load_for(model, chosen)
    title = f"{module.name}: {len(module.graph.nodes)} operators"
    show_rows(title, HEADINGS, counted(module))
    for design in found:
        # the ranges are arbitrary, but which operators a machine has does not depend on them
        compile_for(module, design, drawn(module, chosen.seed).calibration)
        typer.echo(f"{target} can do all of them")
    return 0


def ir(
    model: Model,
    after: Annotated[
        str | None,
        typer.Option(
            "--after", metavar="PASS", help="Run this pass first (or 'canonical', all of them)."
        ),
    ] = None,
    pipeline: Annotated[
        str | None,
        typer.Option(
            "--pipeline", metavar="TEXT", help="Run passes first: canonical,quantize{bits=8}."
        ),
    ] = None,
    print_after: Annotated[
        str | None,
        typer.Option(
            "--print-ir-after", metavar="PASS", help="Also print what this pass (or all) made."
        ),
    ] = None,
    time_passes: Annotated[
        bool, typer.Option("--time-passes", help="Also print each pass's CPU time.")
    ] = False,
    generic: Annotated[
        bool, typer.Option("--generic", help="Print MLIR's generic text, which can be read.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write .mlir (and .npz), .stablehlo.mlir, .tosa.mlir or .onnx.",
        ),
    ] = None,
    reduce: Annotated[
        Path | None,
        typer.Option(
            "--reduce",
            metavar="FILE",
            help="If a pass fails, write the least that it fails on.",
        ),
    ] = None,
    data: Data = None,
    calib: Calib = None,
    dim: Dims = None,
    batch: Batch = None,
    fix: Fixed = None,
    discretisation: Discretisation = None,
    dt: Dt = None,
    repair: Repair = False,
) -> int:
    """Print or write a model as it was read, or after passes."""
    from tetrapla.commands import rewriting
    from tetrapla.models import load_for
    from tetrapla.samples import samples_for
    from tetrapla.saving import SUFFIXES, save

    # nothing is judged here, so calibration data is all the data there needs to be
    read: _Read = {"discretisation": discretisation, "dt": dt, "repair": repair}
    wanted = options.settings(data or calib, calib, dims=dim, batch=batch, fixed=fix, **read)
    rewriting.check_file("--output", output, SUFFIXES, model)
    rewriting.check_file("--reduce", reduce, SUFFIXES[:1], model)
    passes = rewriting.chosen(after, pipeline)
    module = load_for(model, wanted)
    what = "--pipeline" if pipeline else f"--after {after}"
    context = rewriting.data_for(module, passes, what, lambda m: samples_for(m, wanted))
    watch = rewriting.Watch(print_after, time_passes, generic, reduce)
    module = rewriting.rewritten(module, passes, context, watch)
    if output is None:
        typer.echo(rewriting.printed(module, generic))
    else:
        save(module, output)
    return 0
