"""A module as files, in the form that the name asks for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tetrapla.ir.errors import ModelError

if TYPE_CHECKING:
    from tetrapla.ir.module import Module

SUFFIXES = (".mlir", ".onnx")


def save(module: Module, path: str | os.PathLike[str]) -> None:
    """Write a module.

    The ends of a name: .onnx; .qdq.onnx, integers as float operators between QDQ pairs; .mlir,
    the project's text with the weights beside it in an .npz; .stablehlo.mlir and .tosa.mlir,
    weights inside.

    Raises:
        UnsupportedError: it holds operators that ONNX, or the dialect, cannot express.
        ModelError: the name ends otherwise, or the system refuses the file.
    """
    from tetrapla.archive import npz
    from tetrapla.files import write_all
    from tetrapla.frontend.mlir_text import dialect_of_name, foreign_text

    place = checked(Path(path))
    if place.suffix == ".onnx":
        from tetrapla.frontend.onnx.export import export

        form = "qdq" if place.name.endswith(".qdq.onnx") else "qlinear"
        write_all({place: export(module, form)})
        return
    dialect = dialect_of_name(place)
    if dialect is not None:
        write_all({place: foreign_text(module, dialect)})
        return
    text, weights = files_of(place)
    held: dict[Path, str | bytes] = {weights: npz(module.weights)} if module.weights else {}
    write_all({**held, text: module.text()})


def checked(path: Path) -> Path:
    """The path of a model to save.

    Raises:
        ModelError: its name ends otherwise.
    """
    if path.suffix not in SUFFIXES:
        raise ModelError(f"a model must be saved as {' or '.join(SUFFIXES)}, not '{path}'")
    return path


def files_of(path: Path) -> list[Path]:
    """What `save` fills."""
    from tetrapla.frontend.mlir_text import dialect_of_name

    alone = path.suffix == ".onnx" or dialect_of_name(path) is not None
    return [path] if alone else [path, path.with_suffix(".npz")]
