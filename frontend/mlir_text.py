"""MLIR text: the project's own, or StableHLO's or TOSA's, told apart by their operations.

The project's own is ``model.mlir`` with its weights beside it in ``model.npz``. A folder that
`tetrapla compile` wrote has them in ``weights.npz``, which is read too.

The text is MLIR's generic form, as every MLIR tool prints it; the archive holds one array per
weight under its symbol, and no Python objects. A file without an archive is shape-only when it
names weights. A module of StableHLO or TOSA holds its weights itself.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import numpy as np

from tetrapla.frontend.foreign.text import dialect_of
from tetrapla.frontend.names import safe
from tetrapla.ir.errors import IRError, ModelError, TetraplaError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module, bits_of
from tetrapla.ir.npz import Npz
from tetrapla.ir.text import MAX_BYTES

SUFFIXES = (".mlir",)


def load(
    path: str | Path,
    dims: Mapping[str, int] | None = None,
    batch: int = 1,
    *,
    shape_only: bool = False,
) -> Module:
    """Read a module; its shapes are static, so `dims` must be empty and `batch` is its own.

    Raises:
        ModelError: the file is missing, is not a module of the project, of StableHLO or of
            TOSA, or its weights do not fit the text.
        UnsupportedError: listing the operations that the IR does not have.
    """
    path = Path(path)
    if dims:
        raise ModelError(f"{path}: has no symbolic dimension '{next(iter(dims))}'; drop --dim")
    if not path.is_file():
        raise ModelError(f"{path}: no such file; give the path of an .mlir file")
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{path}: must be at most {MAX_BYTES} bytes")
    try:
        text = path.read_text("utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise ModelError(f"{path}: must be UTF-8 text; it cannot be read") from error
    dialect, name = dialect_of(text), safe(path.stem)
    weights = {} if shape_only or dialect is not None else _weights_beside(path)
    try:
        if dialect is None:
            module = Module.parse(text, weights, name)
        else:
            module = import_module(f"tetrapla.frontend.{dialect}.operators").load(text, name)
    except IRError as error:
        gap = "" if str(error)[:1].isdigit() else " "  # a line and column follow at once
        raise ModelError(f"{path}:{gap}{error}") from None
    except TetraplaError as error:
        raise type(error)(f"{path}: {error}") from None
    if batch != 1 and all(value.shape[:1] != (batch,) for value in module.inputs.values()):
        raise ModelError(f"{path}: has its own fixed batch; drop --batch {batch}")
    return module


def save(module: Module, path: str | Path) -> None:
    """Write the text, and the weights beside it; each file appears whole or not at all."""
    path = Path(path)
    if module.weights:
        _written(path.with_suffix(".npz"), lambda target: _save_weights(module, target))
    _written(path, lambda target: target.write_text(module.text(), "utf-8"))


def dialect_of_name(path: Path) -> str | None:
    """The dialect that a file's name asks for: ``net.stablehlo.mlir``, ``net.tosa.mlir``."""
    dialects = ("stablehlo", "tosa")
    return next((name for name in dialects if path.name.endswith(f".{name}.mlir")), None)


def foreign_text(module: Module, dialect: str) -> str:
    """The module in another dialect, with its weights in the text.

    Raises:
        ModelError: the module is shape-only, or its text would be too large.
        UnsupportedError: listing the operators that the dialect has no form of.
    """
    return str(import_module(f"tetrapla.frontend.{dialect}.export").export(module))


def _save_weights(module: Module, target: Path) -> None:
    arrays = {symbol: module.weights[symbol] for symbol in sorted(module.weights)}
    # an archive entry is never named after an argument of savez
    with target.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        for symbol, array in arrays.items():
            entry = zipfile.ZipInfo(f"{symbol}.npy", (1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w", force_zip64=True) as stream:
                held = np.asarray(array)
                np.lib.format.write_array(
                    stream, held.view(bits_of(held.dtype)), allow_pickle=False
                )


def _written(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _weights_beside(path: Path) -> dict[str, Array]:
    stores = [path.with_suffix(".npz"), path.with_name("weights.npz")]
    store = next((store for store in stores if store.is_file()), None)
    if store is None:
        return {}
    return dict(Npz(store, "the weights", "save the module again"))
