"""The command `compile`. It returns the exit status."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tetrapla.commands import options
from tetrapla.commands.options import Emit, Model, Target

if TYPE_CHECKING:
    from tetrapla.settings import Settings

Arch = Annotated[
    list[str] | None,
    typer.Option(
        "--arch",
        metavar="A,...",
        help="A GPU's machine code for these: sm_80,sm_90,gfx942. [default: the chip's]",
    ),
]

Codegen = Annotated[
    str,
    typer.Option(
        "--codegen",
        metavar="C",
        help="triton, or tvm: TVM's own code for a GPU, or for the CPU (--target cpu).",
    ),
]


@options.with_settings(
    *("samples", "compat", "chunk", "chips", "least_accuracy", *options.ADDED)
)
def compile_(
    chosen: Settings,
    model: Model,
    target: Target,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="The folder to fill.")
    ],
    emit: Emit = None,
    arch: Arch = None,
    codegen: Codegen = "triton",
) -> int:
    """Write the program that a machine would run, and the module it was lowered from."""
    if codegen != "triton":
        from tetrapla.commands.by_tvm import by_tvm, check_codegen

        check_codegen(codegen)
        return by_tvm(chosen, model, target, output, {"--emit": emit, "--arch": arch})
    from tetrapla.designs import designs
    from tetrapla.emit import Wishes, check_architectures, check_form, write
    from tetrapla.files import check_folder
    from tetrapla.models import load_for
    from tetrapla.table import show_rows
    from tetrapla.trials import compiled

    (design,) = designs([target], chosen.overrides)
    check_form(emit, design.target)
    wishes = Wishes(emit, None if arch is None else tuple(options.split(arch)))
    check_architectures(wishes.architectures, design.target)
    check_folder(output)
    executable, notes = compiled(load_for(model, chosen), design, chosen)
    read = [model, target, chosen.data, chosen.calib]
    sizes, ahead, more = write(executable, output, wishes, read)
    options.note(*notes, *more)
    _say(output, sizes)
    if ahead.rows:
        show_rows(f"kernels of {output}", ahead.headings, ahead.rows)
    return 0


def _say(output: Path, sizes: Mapping[Path, int]) -> None:
    """Print the files, and of folders in the folder how much is in them."""
    for path, size in sizes.items():
        if path.parent == output:
            typer.echo(f"{path}  {size} bytes")
    for folder in dict.fromkeys(path.parent for path in sizes if path.parent != output):
        held = [size for path, size in sizes.items() if path.parent == folder]
        typer.echo(f"{folder}  {len(held)} files, {sum(held)} bytes")
