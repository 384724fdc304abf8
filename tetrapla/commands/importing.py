"""`arch import`: another tool's architecture file as a chip of one's own."""

from __future__ import annotations

from typing import Annotated

import typer


def import_(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="AccelForge's or Timeloop v4's YAML.")
    ],
) -> int:
    """Print an architecture file as a chip's YAML, and say what it cannot carry."""
    from pathlib import Path

    from tetrapla.backends.target_ import find
    from tetrapla.commands import options
    from tetrapla.ir.errors import SpecError
    from tetrapla.simulators.spec_ import dump
    from tetrapla.simulators.systolic.architecture.components import TOPS, is_architecture

    path = Path(file)
    if path.is_file() and not is_architecture(path):
        keys = " or ".join(f"{key} ({tool})" for key, tool in TOPS.items())
        raise SpecError(
            f"{file}: the file must have the key {keys} on top, not be of another kind; "
            "a chip's own YAML needs no import"
        )
    _, chip = find(file)
    typer.echo(dump(chip).rstrip("\n"))
    options.note(*chip.warnings)
    return 0
