"""What `compile --codegen tvm` does. It returns the exit status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tetrapla.commands import options

if TYPE_CHECKING:
    from tetrapla.settings import Settings


CODEGENS = ("triton", "tvm")


def check_codegen(name: str) -> None:
    """Refuse a code generator that there is not.

    Raises:
        ModelError: there is no such one.
    """
    from tetrapla.ir.errors import ModelError, nearest

    if name not in CODEGENS:
        known = " or ".join(CODEGENS)
        raise ModelError(f"--codegen must be {known}, not '{name}'{nearest(name, CODEGENS)}")


def by_tvm(
    chosen: Settings, model: str, target: str, output: Path, others: dict[str, object]
) -> int:
    """Fill a folder with TVM's own code for a model, checked on this machine.

    Args:
        chosen: the common options.
        model: what is compiled.
        target: `cpu`, or a GPU.
        output: the folder.
        others: options by name that TVM's code has no use for.

    Raises:
        ModelError: one of `others` is given, or the target is no GPU.
    """
    from tetrapla.earlier import check_own, earlier, listed, remove
    from tetrapla.files import as_bytes, check_folder, check_outputs, write_all
    from tetrapla.models import load_for
    from tetrapla.samples import samples_for
    from tetrapla.tvm.codegen import generated

    _check(chosen, others)
    check_folder(output)
    architecture = _architecture(target, chosen)
    module = load_for(model, chosen)
    samples = samples_for(module, chosen)
    found = generated(module, architecture, samples.inputs)
    check_own(output, found.files)
    named = listed(found.files)
    contents = {output / name: as_bytes(content) for name, content in named.items()}
    if output.is_dir():
        check_outputs(contents, [model, chosen.data])
    old = earlier(output)
    write_all(contents)
    removed = remove(output, old, contents, [model, chosen.data])
    options.note(*samples.warnings, *found.notes, *removed)
    for path, data in contents.items():
        typer.echo(f"{path}  {len(data)} bytes")
    if found.check is None:
        return 0
    verdict = "passed" if found.check.passed else "FAILED"
    error, bound = found.check.max_rel_error, found.check.bound
    told = "none" if bound is None else f"{bound:.1e}"
    typer.echo(f"cross-check {verdict}: relative error {error:.1e}, bound {told}")
    return 0 if found.check.passed else 1


def _check(chosen: Settings, others: dict[str, object]) -> None:
    from tetrapla.ir.errors import ModelError

    given = {
        **others,
        "--quant": None if chosen.quant == "none" else chosen.quant,
        "--timesteps": chosen.timesteps,
        "--ideal": chosen.ideal,
    }
    for option, value in given.items():
        if value:
            raise ModelError(
                f"--codegen tvm must come without {option}: it compiles the float model; drop "
                "one of them"
            )


def _architecture(target: str, chosen: Settings) -> str:
    """`cpu`, or what a GPU's machine code is made for."""
    from tetrapla.designs import design
    from tetrapla.ir.errors import ModelError
    from tetrapla.tvm.codegen import CPU

    if target == CPU:
        return CPU
    found = design(target, chosen.overrides)
    architecture = getattr(found.chip.spec, "architecture", "")
    if not architecture:
        raise ModelError(
            f"--codegen tvm must have {CPU} or a GPU as its target, not '{target}'; "
            "leave --codegen out"
        )
    return str(architecture)
