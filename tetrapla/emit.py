"""What `compile` writes: the program, the lowered module, its weights, a target's own files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tetrapla.archive import npz
from tetrapla.ir.errors import ModelError, nearest
from tetrapla.simulators.report import to_json

FORMS = ("onnx", "qdq.onnx")
WEIGHTS = "weights.safetensors"  # a target's own file of the program's weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tetrapla.backends.target_ import Ahead, AnyTarget
    from tetrapla.run import Executable


@dataclass(frozen=True)
class Wishes:
    """What a person may ask `compile` to write beside the program.

    Args:
        form: one of `forms`, or None.
        architectures: that machine code is made for; None leaves it to the target.
    """

    form: str | None = None
    architectures: tuple[str, ...] | None = None


def forms(target: AnyTarget) -> tuple[str, ...]:
    """The words of `--emit`: the model's forms, and the target's own."""
    return (*FORMS, *target.forms)


def check_form(form: str | None, target: AnyTarget) -> None:
    """Refuse a form of `emitted` that there is not.

    Raises:
        ModelError: there is no such form.
    """
    known = forms(target)
    if form not in (None, *known):
        raise ModelError(
            f"--emit must be {' or '.join(known)}, not '{form}'{nearest(form or '', known)}"
        )


def check_architectures(names: tuple[str, ...] | None, target: AnyTarget) -> None:
    """Refuse names that the target makes no machine code for.

    Raises:
        ModelError: it makes none, there is no such name, or none was given.
    """
    known = target.architectures
    if names is None:
        return
    if not known:
        raise ModelError(f"--arch must be left out for {target.family}; it is a GPU's")
    if not names:
        raise ModelError(f"--arch must name an architecture, not none; give {known[0]}, say")
    for name in names:
        if name not in known:
            raise ModelError(
                f"--arch must be of {', '.join(known)}, not '{name}'{nearest(name, known)}"
            )


def emitted(executable: Executable, wishes: Wishes) -> tuple[dict[str, str | bytes], Ahead]:
    """File contents by name, and what was made ahead of the machine.

    Args:
        executable: the compiled model.
        wishes: the form "onnx" adds the lowered module in ONNX's own (quantised) operators,
            "qdq.onnx" with float operators between QDQ pairs instead; others are the target's.

    Raises:
        UnsupportedError: the lowered module has operators that ONNX cannot express, or there
            is no compiler for an architecture that was named.
    """
    lowered, target = executable.lowered, executable.design.target
    sources, program = executable.sources(), lowered.program.to_dict()
    if WEIGHTS in sources:  # once is enough: they can be most of a gigabyte
        program["weights"] = {"file": WEIGHTS}
    contents: dict[str, str | bytes] = {
        "program.txt": lowered.program.text().rstrip("\n") + "\n",
        "program.json": to_json(program),
        "module.mlir": lowered.module.text(),
        "weights.npz": npz(lowered.module.weights),
    }
    for stem, module in target.modules(lowered, executable.spec).items():
        contents |= {f"{stem}.mlir": module.text(), f"{stem}.npz": npz(module.weights)}
    ahead = target.ahead(lowered, executable.spec, sources, wishes.architectures)
    contents |= sources | dict(ahead.files)
    if wishes.form is None:
        return contents, ahead
    if wishes.form in target.forms:
        contents.update(target.forms[wishes.form](lowered, executable.spec))
    else:
        from tetrapla.frontend.onnx.export import export

        form = "qdq" if wishes.form == "qdq.onnx" else "qlinear"
        contents[f"model.{wishes.form}"] = export(lowered.module, form)
    return contents, ahead


def write(
    executable: Executable, folder: Path, wishes: Wishes, inputs: Sequence[str | None]
) -> tuple[dict[Path, int], Ahead, list[str]]:
    """Fill a folder with what `emitted` gives, and no more of what it had by an earlier one.

    Args:
        executable: the compiled model.
        folder: made where it is missing.
        wishes: as for `emitted`.
        inputs: what was read, and must not be written over.

    Returns:
        The size of every file in bytes, what was made ahead, and what a person should know.

    Raises:
        ModelError: a file would be written over that is a person's own, or cannot be written.
        UnsupportedError: as `emitted`.
    """
    from tetrapla.earlier import check_own, earlier, listed, remove
    from tetrapla.files import as_bytes, check_outputs, write_all

    found, ahead = emitted(executable, wishes)
    check_own(folder, found)
    contents = {folder / name: as_bytes(content) for name, content in listed(found).items()}
    if folder.is_dir():
        check_outputs([path for path in contents if path.parent.is_dir()], inputs)
    old = earlier(folder)
    write_all(contents, folder)
    removed = remove(folder, old, contents, inputs)
    notes = [*ahead.notes, *removed, *_stale(folder, contents)]
    return {path: len(data) for path, data in contents.items()}, ahead, notes


def _stale(folder: Path, contents: dict[Path, bytes]) -> list[str]:
    """A note that names what else the folder holds; a folder of others' files is one name."""
    made = {*contents, *(parent for path in contents for parent in path.parents)}
    folders = [folder, *(path for path in made if path.is_dir() and folder in path.parents)]
    others = sorted(
        str(path.relative_to(folder))
        for each in folders
        for path in each.iterdir()
        if path not in made and path.name != "__pycache__"
    )
    stale = f"{folder} also holds what this command did not write: {', '.join(others)}"
    return [stale] if others else []
