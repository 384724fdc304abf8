"""What a model is run on: the bundled digits, a user's arrays, or numbers from the seed.

Arrays reach the machines as (invocations, *static shape); one invocation holds as many
samples as the model's leading dimension says.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from importlib.resources import as_file, files
from math import prod
from pathlib import Path

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import DTYPES, Array, Value
from tetrapla.ir.module import Module
from tetrapla.simulators.random_ import Key, uniforms

PIXEL_MAX = 16.0  # the digits' pixels are 0..16
CALIBRATION_SAMPLES = 256  # taken from the training part, in the split's order
DRAWN_INVOCATIONS = 16


@dataclass(frozen=True)
class Samples:
    """Inputs by name, with labels (invocations, batch) and calibration data where there are."""

    inputs: dict[str, Array]
    batch: int
    labels: Array | None = None
    calibration: dict[str, Array] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def invocations(self) -> int:
        """How often the model runs."""
        return len(next(iter(self.inputs.values())))


def digits(module: Module, limit: int | None = None) -> Samples:
    """The held-out 450 handwritten digits; calibration data from the training part only.

    Args:
        module: a model with one input of 64 numbers per sample.
        limit: take the first `limit` of the held-out images.
    """
    name, value = _only_input(module, "--data digits")
    batch = value.shape[0] if value.shape and prod(value.shape) != 64 else 1
    if prod(value.shape) != 64 * batch:
        raise ModelError(
            f"input '{name}' must have 64 elements per sample for --data digits, not "
            f"{list(value.shape)}; give your own --data F.npz"
        )
    with as_file(files("tetrapla") / "data" / "digits.npz") as path, np.load(path) as stored:
        arrays = {key: stored[key] for key in stored.files}
    images = (arrays["x"].astype(np.float32) / np.float32(PIXEL_MAX)).astype(DTYPES[value.dtype])
    test, train = arrays["test"][:limit], arrays["train"][:CALIBRATION_SAMPLES]
    inputs, warnings = _grouped(name, images[test], value, batch)
    calibration, _ = _grouped(name, images[train], value, batch)
    labels = arrays["y"][test].astype(np.int64)[: len(inputs) * batch].reshape(-1, batch)
    return Samples({name: inputs}, batch, labels, {name: calibration}, warnings)


def from_file(
    module: Module,
    path: str,
    calib: str | None = None,
    calib_fraction: float | None = None,
    limit: int | None = None,
) -> Samples:
    """A user's arrays: `x` (or one per input's name) and, for accuracy, `y`.

    Args:
        module: the model.
        path: an .npz file; samples along the first axis.
        calib: a second file with calibration data.
        calib_fraction: use this leading part of `path` for calibration, the rest for the run.
        limit: take the first `limit` samples.
    """
    if calib and calib_fraction is not None:
        raise ModelError("--calib must not be given with --calib-fraction; drop one of them")
    batch, inputs, warnings = _read_inputs(module, path, _arrays(path))
    labels = _labels(path, _arrays(path), len(next(iter(inputs.values()))) * batch, batch)
    calibration = _read_inputs(module, calib, _arrays(calib))[1] if calib else None
    if calib_fraction is not None:
        count = len(next(iter(inputs.values())))
        held = int(count * calib_fraction)
        if not 0 < held < count:
            raise ModelError(
                f"--calib-fraction must leave data on both sides of {count} invocations, "
                f"not {calib_fraction}"
            )
        calibration = {name: array[:held] for name, array in inputs.items()}
        inputs = {name: array[held:] for name, array in inputs.items()}
        labels = None if labels is None else labels[held:]
    if limit is not None:
        keep = max(1, limit // batch)
        inputs = {name: array[:keep] for name, array in inputs.items()}
        labels = None if labels is None else labels[:keep]
    return Samples(inputs, batch, labels, calibration, warnings)


def drawn(module: Module, seed: int, limit: int | None = None) -> Samples:
    """Uniform numbers in [0, 1) from the seed, also for calibration: values mean nothing."""
    batch = _batch(module)
    count = DRAWN_INVOCATIONS if limit is None else max(1, limit // batch)
    arrays: list[dict[str, Array]] = []
    for part in (0, 1):
        arrays.append({})
        for index, (name, value) in enumerate(module.graph().inputs):
            key = Key(seed).at(layer=index, tile=part)
            numbers = uniforms(key, (count, *value.shape))
            if not value.dtype.startswith("f"):
                numbers = np.floor(2 * numbers)  # 0 or 1: legal for tokens, masks and flags
            arrays[part][name] = numbers.astype(DTYPES[value.dtype])
    warning = (
        "no --data: inputs and calibration are uniform random numbers from the seed, "
        "so accuracy is not known and value-dependent counts (spikes) are arbitrary"
    )
    return Samples(arrays[0], batch, None, arrays[1], (warning,))


def read_inputs(module: Module, path: str) -> dict[str, Array]:
    """Arrays for every input of the model from an .npz file, as (invocations, *shape)."""
    return _read_inputs(module, path, _arrays(path))[1]


def _read_inputs(
    module: Module, path: str, arrays: dict[str, Array]
) -> tuple[int, dict[str, Array], tuple[str, ...]]:
    batch = _batch(module)
    named = module.graph().inputs
    found: dict[str, Array] = {}
    warnings: tuple[str, ...] = ()
    for name, value in named:
        array = arrays.get(name, arrays.get("x") if len(named) == 1 else None)
        if array is None:
            wanted = f"'{name}'" + (" or 'x'" if len(named) == 1 else "")
            raise ModelError(f"{path} must hold an array {wanted}, not {sorted(arrays)}")
        if array.dtype.kind not in "fiub":
            raise ModelError(f"{path}: array for '{name}' must be numbers, not {array.dtype}")
        found[name], warnings = _grouped(name, array, value, batch, path)
    counts = {name: len(array) for name, array in found.items()}
    if len(set(counts.values())) > 1:
        raise ModelError(f"{path} must hold as many samples for every input, not {counts}")
    return batch, found, warnings


def _grouped(
    name: str, array: Array, value: Value, batch: int, path: str = "--data digits"
) -> tuple[Array, tuple[str, ...]]:
    """Arrange samples (n, ...) or whole invocations as (invocations, *static shape)."""
    shape = value.shape
    kept = array
    if array.shape == shape:
        kept = array[np.newaxis]
    elif array.shape[1:] != shape:
        sample = prod(shape) // batch
        if array.ndim == 0 or prod(array.shape[1:]) != sample:
            raise ModelError(
                f"{path}: array for '{name}' must have {sample} elements per sample to fit "
                f"{list(shape)}, not shape {list(array.shape)}"
            )
        whole = len(array) // batch
        kept = array[: whole * batch].reshape(whole, *shape)
    if not len(kept):
        raise ModelError(f"{path}: '{name}' must have at least {batch} samples, not {len(array)}")
    left = len(array) - len(kept) * batch if array.shape[1:] != shape else 0
    left = 0 if array.shape == shape else left
    warnings = (f"{left} samples left out: they do not fill a batch of {batch}",) if left else ()
    return np.ascontiguousarray(kept.astype(DTYPES[value.dtype], copy=False)), warnings


def _labels(path: str, arrays: dict[str, Array], count: int, batch: int) -> Array | None:
    if "y" not in arrays:
        return None
    labels = arrays["y"]
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or len(labels) < count:
        raise ModelError(
            f"{path}: 'y' must be one whole number for each of {count} samples, not "
            f"{labels.dtype} of shape {list(labels.shape)}"
        )
    return labels[:count].astype(np.int64).reshape(-1, batch)


def _arrays(path: str) -> dict[str, Array]:
    if not Path(path).is_file():
        raise ModelError(f"data file '{path}' must exist; give an .npz file or 'digits'")
    try:
        with np.load(path, allow_pickle=False) as stored:
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise ModelError(f"data file '{path}' must be an .npz archive, not one array")
            return {key: stored[key] for key in stored.files}
    except (OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise ModelError(f"data file '{path}' must be an .npz archive: {error}") from None
    except ModelError:
        raise
    except ValueError as error:
        raise ModelError(f"data file '{path}' must be an .npz of numbers: {error}") from None


def _batch(module: Module) -> int:
    """Samples in one invocation: the leading dimension that all inputs share, else 1."""
    leading = {value.shape[0] if value.shape else 1 for _, value in module.graph().inputs}
    return max(1, leading.pop()) if len(leading) == 1 else 1


def _only_input(module: Module, why: str) -> tuple[str, Value]:
    inputs = module.graph().inputs
    if len(inputs) != 1:
        names = ", ".join(name for name, _ in inputs)
        raise ModelError(f"model must have one input for {why}, not {len(inputs)}: {names}")
    return inputs[0]
