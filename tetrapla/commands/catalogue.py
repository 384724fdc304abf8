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

    rows = []
    for name in chips():
        _, chip = find(name)
        box = chip.spec.chip
        shown = area({"area_mm2": box.area_mm2})
        rows.append((name, chip.spec.family, box.default_format, shown))
    show_rows("chips", ("chip", "family", "format", "area"), rows)
    defaults = [(family, target(family).default_chip) for family in families()]
    show_rows("families", ("family", "default chip"), defaults)
    return 0


def show(
    name: Annotated[str, typer.Argument(metavar="TARGET", help="A chip, family or YAML.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE over the chip's YAML.")
    ] = None,
) -> int:
    """Print a chip's YAML: start from a shipped one, edit it, pass its path as a target."""
    from tetrapla.backends.target_ import find
    from tetrapla.simulators.spec_ import dump

    _, chip = find(name, set_ or [])
    typer.echo(dump(chip).rstrip("\n"))
    return 0
