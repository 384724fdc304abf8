"""Commands about the chips: targets, arch show."""

from __future__ import annotations

from typing import Annotated

import typer


def targets() -> int:
    """List the chips and the families that they belong to."""
    from tetrapla.backends.target_ import families, find, target
    from tetrapla.quantities import area
    from tetrapla.simulators.spec_ import chips
    from tetrapla.table import show_rows

    defaults = {family: target(family).default_chip for family in families()}
    rows = []
    for name in chips():
        _, chip = find(name)
        family, box = chip.spec.family, chip.spec.chip
        default = "default" if defaults.get(family) == name else ""
        rows.append((name, family, default, box.default_format, area(box.area_mm2)))
    show_rows("targets", ("chip", "family", "of its family", "format", "area"), rows)
    return 0


def show(
    name: Annotated[str, typer.Argument(metavar="TARGET", help="A chip, family or YAML.")],
) -> int:
    """Print a chip's YAML: start from a shipped one, edit it, pass its path as a target."""
    from tetrapla.backends.target_ import find
    from tetrapla.simulators.spec_ import dump

    _, chip = find(name)
    typer.echo(dump(chip).rstrip("\n"))
    return 0
