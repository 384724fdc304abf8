"""The command that runs a model on the RTL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tetrapla.commands import options
from tetrapla.commands.options import (
    Batch,
    Calib,
    CalibFraction,
    Data,
    Dims,
    Fixed,
    Json,
    Model,
    Overrides,
    Quant,
    Seed,
    Target,
)

if TYPE_CHECKING:
    from tetrapla.hardware import LayerCheck, RtlReport

_HEADINGS = ("layer", "op", "cycles", "RTL cycles", "compared", "differences")


def rtl(
    model: Model,
    target: Target,
    data: Data = None,
    calib: Calib = None,
    calib_fraction: CalibFraction = None,
    samples: Annotated[
        str | None,
        typer.Option("--samples", metavar="N", help="Run the first N samples. [default: 1]"),
    ] = None,
    dim: Dims = None,
    seed: Seed = "0",
    quant: Quant = None,
    batch: Batch = None,
    fix: Fixed = None,
    set_: Overrides = None,
    json: Json = None,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="Write a Chrome trace (ui.perfetto.dev)."),
    ] = None,
    vcd: Annotated[
        Path | None,
        typer.Option("--vcd", metavar="FILE", help="Write the waveforms of --layer (GTKWave)."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option("--layer", metavar="NAME", help="The layer of --vcd, as in the table."),
    ] = None,
) -> int:
    """Run a model on the RTL, compare values and cycles; 1 if not equal.

    The program is compiled once and runs twice for each sample: on the Python machine and, in
    SystemVerilog made into a library, on registers. Compared are all bytes and sums when they
    are written, all memories at the end, the cycles in which every instruction is sent and
    retires, the cycles of every layer, and the outputs with the reference interpreter. It
    needs the extra rtl and g++; the first run of an array's size builds it, in half a minute.
    """
    from tetrapla.designs import designs
    from tetrapla.files import STDOUT, check_outputs, write_all
    from tetrapla.hardware import checked
    from tetrapla.ir.errors import ModelError
    from tetrapla.trace import chrome_trace

    chosen = options.settings(
        data,
        calib,
        calib_fraction,
        samples,
        dim,
        seed,
        quant,
        batch=batch,
        overrides=set_,
        fixed=fix,
    )
    if (vcd is None) != (layer is None):
        raise ModelError("--vcd and --layer must come together; give both, or neither")
    check_outputs([json, trace, vcd], [model, target, data, calib])
    (design,) = designs([target], chosen.overrides)
    found = checked(model, target, design, chosen)
    contents: dict[Path, str | bytes] = {}
    if vcd and layer:
        contents[vcd], said = found.waves(layer)
        options.note(*([said] if said else []))
    if trace:
        contents[trace] = chrome_trace(found.run, found.report.target)
    if json:
        contents[json] = found.report.to_json()
    write_all(contents)
    _show(found.report, err=STDOUT in contents)
    return _status(found.report)


def _show(report: RtlReport, err: bool) -> None:
    """A row for each layer, what they come to, and the notes."""
    from tetrapla.quantities import count
    from tetrapla.table import show_rows

    rows = [
        (
            row.name,
            row.op,
            count(row.cycles),
            count(check.rtl_cycles),
            count(check.compared),
            _differences(int(row.cycles), check.rtl_cycles, check),
        )
        for row, check in zip(report.layers, report.checks, strict=True)
    ]
    samples = f"{report.samples} sample{'s' * (report.samples != 1)}"
    title = f"{report.model} on {report.target} and its RTL, batch {report.batch}, {samples}"
    show_rows(title, _HEADINGS, rows, err=err)
    typer.echo(verdict(report), err=err)
    for text in report.warnings:
        typer.echo(f"note: {report.target}: {text}", err=err)


def verdict(report: RtlReport) -> str:
    """What the comparison comes to, in a line."""
    from dataclasses import asdict

    from tetrapla.quantities import check

    pairs = list(zip(report.layers, report.checks, strict=True))
    wrong = [row.name for row, one in pairs if one.value_mismatches]
    late = [row.name for row, one in pairs if row.cycles != one.rtl_cycles]
    sent = [row.name for row, one in pairs if one.dispatch_mismatches]
    kept = [row.name for row, one in pairs if one.retirement_mismatches]
    parts = [
        _counted(report.value_mismatches, "value mismatch", "es", wrong or ["the memories"]),
        _counted(report.cycle_differences, "cycle difference", "s", late),
    ]
    text = f"{', '.join(parts)} on every layer" if not (wrong or late) else ", ".join(parts)
    if report.dispatch_mismatches:
        more = _counted(report.dispatch_mismatches, "instruction", "s", sent)
        text += f", {more} sent in another cycle"
    if report.retirement_mismatches:
        more = _counted(report.retirement_mismatches, "instruction", "s", kept)
        text += f", {more} retired in another cycle"
    known = None if report.cross_check is None else asdict(report.cross_check)
    return f"RTL against the Python machine: {text}; against the interpreter: {check(known)}"


def _counted(count: int, what: str, plural: str, names: list[str]) -> str:
    text = f"{count:,} {what}{plural if count != 1 else ''}"
    return f"{text} (first in {names[0]})" if count else text


def _differences(cycles: int, rtl_cycles: int, check: LayerCheck) -> str:
    """In a cell: what of a layer differs."""
    parts = {
        "values": check.value_mismatches,
        "cycles": abs(rtl_cycles - cycles),
        "dispatches": check.dispatch_mismatches,
        "retirements": check.retirement_mismatches,
    }
    return ", ".join(f"{name} {count}" for name, count in parts.items() if count) or "0"


def _status(report: RtlReport) -> int:
    if report.passed:
        return 0
    typer.echo("error: the RTL differs; see the table", err=True)
    return 1
