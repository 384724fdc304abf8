"""`calibrate gpu`: a chip's constants from a user's own timings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tetrapla.commands.options import Target

if TYPE_CHECKING:
    from tetrapla.calibration import Calibration


def gpu(
    measurements: Annotated[
        Path,
        typer.Option(
            "--measurements",
            metavar="FILE",
            help="A CSV file of matrix products: columns m, n, k, format, time_s.",
        ),
    ],
    target: Target = "gpu",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the chip's YAML."),
    ] = None,
) -> int:
    """Refit a GPU's time model of matrix products from 10 to 20 timings."""
    from tetrapla.backends.target_ import find
    from tetrapla.calibration import ENOUGH_ROWS, calibrate, calibrated_yaml, timings
    from tetrapla.files import STDOUT, check_outputs, write_all
    from tetrapla.ir.errors import ModelError
    from tetrapla.simulators.gpu.spec import GpuSpec
    from tetrapla.table import show_rows

    family, loaded = find(target)
    spec = loaded.spec
    if not isinstance(spec, GpuSpec):
        raise ModelError(f"--target must be a GPU, not '{target}' of family {family.family}")
    check_outputs([output], [str(measurements), target])
    found = calibrate(timings(measurements, spec), spec)
    title = f"{spec.name}, level 1, {found.rows} timings"
    err = output == STDOUT
    show_rows(title, ("constant", "before", "after"), _rows(found), err=err)
    if found.rows < ENOUGH_ROWS:
        said = f"note: {found.rows} timings are few; {ENOUGH_ROWS}, small and large, are better"
        typer.echo(said, err=err)
    if found.error >= found.shipped_error:
        typer.echo("note: the chip as it was comes as near to these timings", err=err)
    if output is not None:
        write_all({output: calibrated_yaml(loaded, found, measurements.name)})
    return 0


def _rows(found: Calibration) -> list[tuple[str, str, str]]:
    before, after = found.prior, found.product
    pairs = {
        "compute efficiency": (before.compute_efficiency_frac, after.compute_efficiency_frac),
        "memory efficiency": (before.dram_efficiency_frac, after.dram_efficiency_frac),
    }
    rows = [(name, f"{was:.3g}", f"{now:.3g}") for name, (was, now) in pairs.items()]
    launches = [f"{1e6 * constants.launch_s:.3g} us" for constants in (before, after)]
    errors = [f"{100 * error:.1f} %" for error in (found.shipped_error, found.error)]
    was, now = launches
    shipped, left_out = errors
    said = "mean error (after: each timing left out once)"
    return [*rows, ("launch", was, now), (said, shipped, left_out)]
