"""What `compile` writes: the program, the lowered module, its weights, a target's sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tetrapla.archive import npz
from tetrapla.ir.errors import ModelError, nearest
from tetrapla.simulators.report import to_json

FORMS = ("onnx", "qdq.onnx")

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tetrapla.run import Executable


def check_form(form: str | None) -> None:
    """Refuse a form of `emitted` that there is not.

    Raises:
        ModelError: there is no such form.
    """
    if form not in (None, *FORMS):
        raise ModelError(
            f"--emit must be {' or '.join(FORMS)}, not '{form}'{nearest(form or '', FORMS)}"
        )


def emitted(executable: Executable, extra: str | None = None) -> dict[str, str | bytes]:
    """File contents by name.

    Args:
        executable: the compiled model.
        extra: "onnx" adds the lowered module in ONNX's own (quantised) operators, "qdq.onnx"
            with float operators between QDQ pairs instead.

    Raises:
        UnsupportedError: the lowered module has operators that ONNX cannot express.
    """
    lowered = executable.lowered
    contents: dict[str, str | bytes] = {
        "program.txt": lowered.program.text().rstrip("\n") + "\n",
        "program.json": to_json(lowered.program.to_dict()),
        "module.mlir": lowered.module.text(),
        "weights.npz": npz(lowered.module.weights),
    }
    contents.update(executable.sources())
    if extra is not None:
        from tetrapla.frontend.onnx.export import export

        form = "qdq" if extra == "qdq.onnx" else "qlinear"
        contents[f"model.{extra}"] = export(lowered.module, form)
    return contents


def write(
    executable: Executable, folder: Path, extra: str | None, inputs: Sequence[str | None]
) -> tuple[dict[Path, int], list[str]]:
    """Fill a folder with what `emitted` gives.

    Args:
        executable: the compiled model.
        folder: made where it is missing.
        extra: as for `emitted`.
        inputs: what was read, and must not be written over.

    Returns:
        The size of every file in bytes, and what a person should know.
    """
    from tetrapla.files import as_bytes, check_outputs, write_all

    found = emitted(executable, extra)
    contents = {folder / name: as_bytes(content) for name, content in found.items()}
    if folder.is_dir():
        check_outputs(contents, inputs)
    write_all(contents)
    others = sorted(path.name for path in folder.iterdir() if path not in contents)
    stale = f"{folder} also holds what this command did not write: {', '.join(others)}"
    return {path: len(data) for path, data in contents.items()}, [stale] if others else []
