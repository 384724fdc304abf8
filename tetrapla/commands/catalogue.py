"""Commands that list what there is: targets, zoo, arch show, schema, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tetrapla.commands.options import Json


def targets(
    family: Annotated[
        str | None, typer.Argument(metavar="[FAMILY]", help="One family alone.")
    ] = None,
    json: Json = None,
) -> int:
    """List the chips: node, peak, memories, power, area, and what their figures rest on."""
    from tetrapla.catalogue import HEADINGS, LEGEND, catalogue, cells, to_dict
    from tetrapla.files import STDOUT, check_outputs, write_all
    from tetrapla.simulators.report import to_json
    from tetrapla.table import show_rows

    check_outputs([json])
    found = catalogue(family)
    if json is not None:
        write_all({json: to_json(to_dict(found))})
    for name in dict.fromkeys(entry.family for entry in found):
        held = [entry for entry in found if entry.family == name]
        title = f"{name}: {len(held)} chips"
        show_rows(title, HEADINGS, [cells(entry) for entry in held], err=json == STDOUT)
    typer.echo(LEGEND, err=json == STDOUT)
    return 0


def zoo(
    family: Annotated[
        str | None, typer.Argument(metavar="[FAMILY]", help="One family alone.")
    ] = None,
) -> int:
    """List the networks that zoo:NAME names, with their counts at batch 1 and their sources."""
    from tetrapla.frontend.zoo import networks
    from tetrapla.ir.errors import ModelError, nearest
    from tetrapla.ir.op import macs
    from tetrapla.quantities import count
    from tetrapla.table import show_rows

    found = list(networks().values())
    families = sorted({each.family for each in found})
    if family is not None and family not in families:
        raise ModelError(
            f"FAMILY must be one of {', '.join(families)}, not '{family}'"
            f"{nearest(family, families)}"
        )
    rows: list[tuple[str, ...]] = []
    for each in found:
        if family in (None, each.family):
            draft = each.draft(values=False)
            products = macs(draft.builder.graph().nodes)
            work = "n/a" if products is None else count(products)
            rows.append(
                (each.name, each.family, f"{draft.parameter_count:,}", work, each.source)
            )
    headings = ("network", "family", "parameters", "MACs", "source")
    show_rows(f"zoo: {len(rows)} networks", headings, rows)
    return 0


def show(
    name: Annotated[str, typer.Argument(metavar="TARGET", help="A chip, family or YAML.")],
) -> int:
    """Print a chip's YAML with what its fields mean: edit it, pass its path as a target."""
    from tetrapla.backends.target_ import find
    from tetrapla.simulators.editor_ import commented

    _, chip = find(name)
    typer.echo(commented(chip).rstrip("\n"))
    return 0


def schema(
    family: Annotated[
        str | None, typer.Argument(metavar="[FAMILY]", help="One family alone.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write it, in place of printing."),
    ] = None,
) -> int:
    """Print the JSON schema of a chip's YAML, by which editors check and complete it."""
    from tetrapla.catalogue import schemas
    from tetrapla.files import check_outputs, write_all
    from tetrapla.simulators.report import to_json

    check_outputs([output])
    text = to_json(schemas(family))
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_all({output: text})
    return 0


def doctor(json: Json = None) -> int:
    """Say which versions and extras are here, and what needs those that are not."""
    from tetrapla.doctor import HEADINGS, examined, to_dict
    from tetrapla.files import STDOUT, check_outputs, write_all
    from tetrapla.simulators.report import to_json
    from tetrapla.table import show_rows

    check_outputs([json])
    found = examined()
    if json is not None:
        write_all({json: to_json(to_dict(found))})
    show_rows("tetrapla", HEADINGS, [part.cells() for part in found], err=json == STDOUT)
    return 0
