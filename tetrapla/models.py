"""Reading a model by its file's suffix: every frontend says which suffixes are its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from tetrapla.datasets import load_inputs
from tetrapla.frontend.zoo.network import PREFIX, entry
from tetrapla.ir.errors import ModelError, nearest
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.settings import Settings

_OTHERS = {  # known to be a model, but of a kind that holds no graph to read
    ".pt": "a PyTorch checkpoint; export it with torch.onnx.export(model, x, 'model.onnx')",
    ".pth": "a PyTorch checkpoint; export it with torch.onnx.export(model, x, 'model.onnx')",
    ".h5": "a Keras file; export it with tf2onnx",
    ".keras": "a Keras file; export it with tf2onnx",
    ".tflite": "a TensorFlow Lite file; convert it with tf2onnx --tflite",
    ".safetensors": "weights without a graph; export the model as ONNX",
}


def load(
    path: str | os.PathLike[str],
    dims: Mapping[str, int] | None = None,
    batch: int | None = None,
    fixed: Mapping[str, Array] | None = None,
    sparse: bool = False,
    nir: Mapping[str, Any] | None = None,
) -> Module:
    """Read a model file.

    Args:
        path: `.onnx`, torch.export's `.pt2`, the project's own `.mlir`, SCALE-Sim's `.csv`,
            NIR's `.nir`, or `zoo:NAME`.
        dims: sizes of symbolic dimensions by name.
        batch: size of a leading symbolic dimension; 1 when it is not given.
        fixed: inputs that become constants of these values: edges of a graph, a shape, axes,
            whatever decides the shapes of the rest (of `.onnx` files).
        sparse: whether a `.csv` may have rows of N:M sparsity, which its module says by layer.
        nir: of a `.nir` file `discretisation`, `dt_s` and `repair`, as `frontend.nir.load` has
            them.

    Raises:
        ModelError: the file is missing, broken or of no known kind, or its batch is fixed.
        UnsupportedError: it uses operators that the IR does not have.
    """
    if not str(path):
        raise ModelError("MODEL must be the path of a model file, not ''; name one")
    if str(path).startswith(PREFIX):
        return _of_the_zoo(str(path), {**(dims or {})}, batch, fixed)
    file = Path(path)
    suffix = file.suffix.lower()
    if batch is not None and batch < 1:
        raise ModelError(f"--batch must be at least 1, not {batch}")
    readers = {known: frontend for frontend in _frontends() for known in frontend.SUFFIXES}
    if suffix not in readers:
        raise ModelError(_unknown(file, suffix, sorted(readers)))
    sizes = {"dims": dict(dims or {}), "batch": batch or 1}
    if fixed and suffix != ".onnx":
        raise ModelError(f"{file}: must be an .onnx file to have inputs fixed; drop --fix")
    more: dict[str, Any] = {"fixed": fixed} if fixed else {}
    if sparse and suffix == ".csv":
        more["sparse"] = True
    if nir and suffix == ".nir":
        more |= nir
    module: Module = readers[suffix].load(file, **sizes, **more)
    _check_batch(module, batch, dims or {})
    return module


def _of_the_zoo(
    name: str,
    dims: Mapping[str, int],
    batch: int | None,
    fixed: Mapping[str, Array] | None,
) -> Module:
    found = entry(name.removeprefix(PREFIX))
    if dims or fixed:
        option = "--dim" if dims else "--fix"
        raise ModelError(f"{name} must not be given {option}: its sizes are fixed; drop it")
    if batch is not None and batch < 1:
        raise ModelError(f"--batch must be at least 1, not {batch}")
    return found.module(batch or 1)


def load_for(path: str | os.PathLike[str], settings: Settings) -> Module:
    """`load` with the sizes and constants that the settings give."""
    fixed = {name: _constant(name, Path(file)) for name, file in settings.fixed}
    sparse = settings.compat is not None
    dims = dict(settings.dims)
    if settings.timesteps is not None and Path(path).suffix.lower() == ".nir":
        dims.setdefault("timesteps", settings.timesteps)  # the duration of a spiking network
    return load(path, dims, settings.batch, fixed, sparse, _of_nir(path, settings))


def _of_nir(path: str | os.PathLike[str], settings: Settings) -> dict[str, Any]:
    """How the settings want a NIR file read.

    Raises:
        ModelError: they say so of another file.
    """
    given = {
        "discretisation": settings.discretisation,
        "dt_s": settings.dt,
        "repair": settings.repair or None,
    }
    found = {name: value for name, value in given.items() if value is not None}
    if found and Path(path).suffix.lower() != ".nir":
        option = "--" + next(iter(found)).removesuffix("_s")
        raise ModelError(f"{path}: must be a .nir file to have {option}; drop it")
    return found


def _constant(name: str, file: Path) -> Array:
    """The array of an archive that has the input's name, or its only one."""
    arrays = load_inputs(file)
    key = name if name in arrays or len(arrays) != 1 else next(iter(arrays))
    if key not in arrays:
        have = ", ".join(arrays) or "nothing"
        raise ModelError(f"{file}: must hold an array '{name}' or one alone, not {have}")
    return arrays[key]


def _frontends() -> Iterator[ModuleType]:
    """The files of frontend/ that read files: they name `SUFFIXES`."""
    folder = str(Path(import_module("tetrapla.frontend").__file__ or "").parent)
    for found in iter_modules([folder]):
        frontend = import_module(f"tetrapla.frontend.{found.name}")
        if hasattr(frontend, "SUFFIXES"):
            yield frontend


def _unknown(file: Path, suffix: str, known: list[str]) -> str:
    if suffix in _OTHERS:
        return f"{file}: must be one of {', '.join(known)}, not {_OTHERS[suffix]}"
    kind = f"'{suffix}'" if suffix else "a name without suffix"
    return f"{file}: must be one of {', '.join(known)}, not {kind}{nearest(suffix, known)}"


def _check_batch(module: Module, batch: int | None, dims: Mapping[str, int]) -> None:
    if batch is None:
        return
    for name, value in module.graph.inputs:
        if not value.shape or value.shape[0] != batch:
            leading = [key for key, size in dims.items() if value.shape[:1] == (size,)]
            if leading:
                raise ModelError(
                    f"--batch {batch} must not contradict --dim {leading[0]}="
                    f"{value.shape[0]}, both sizes of the leading dimension of input "
                    f"'{name}'; drop one of them"
                )
            raise ModelError(
                f"input '{name}' must have a symbolic leading dimension for --batch {batch}, "
                f"not {list(value.shape)}; drop --batch, or export the model with a dynamic "
                "batch"
            )
