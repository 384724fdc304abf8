"""What a model is run on: the bundled digits, a user's arrays, or numbers from the seed.

Arrays reach the machines as (invocations, *static shape); one invocation holds as many
samples as the model's leading dimension says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from tetrapla.datasets import BUNDLED, load_data, load_inputs
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import DTYPES, Array, Value
from tetrapla.ir.module import Module
from tetrapla.simulators.random_ import Key, uniforms

CALIBRATION_SAMPLES = 256  # of the training part, in the split's order
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


def read(module: Module, source: str, calib: str | None, fraction: float | None) -> Samples:
    """Samples of `digits` or of a user's .npz, with their calibration data.

    A file holds `x` (or one array per input's name) and, for accuracy, `y`. Calibration data
    is `calib`, the leading `fraction` of the samples, or the file's own training part.

    Raises:
        ModelError: a file that cannot be read, or does not fit the model.
    """
    if calib and fraction is not None:
        raise ModelError("--calib must not be given with --calib-fraction; drop one of them")
    found = _labelled(module, source) if _has_labels(source) else _plain(module, source)
    if calib:
        return replace(found, calibration=_plain(module, calib).inputs)
    return found if fraction is None else _divided(found, fraction)


def read_inputs(module: Module, source: str) -> dict[str, Array]:
    """Every input of a model from an .npz, as (invocations, *static shape)."""
    return _plain(module, source).inputs


def limited(samples: Samples, limit: int | None) -> Samples:
    """The first `limit` samples, in whole invocations, at least one."""
    if limit is None:
        return samples
    keep = max(1, limit // samples.batch)
    return replace(
        samples,
        inputs={name: array[:keep] for name, array in samples.inputs.items()},
        labels=None if samples.labels is None else samples.labels[:keep],
    )


def drawn(module: Module, seed: int) -> Samples:
    """Uniform numbers in [0, 1) from the seed, also for calibration: values mean nothing."""
    parts: list[dict[str, Array]] = [{}, {}]
    for tile, arrays in enumerate(parts):
        for layer, (name, value) in enumerate(module.graph.inputs):
            key = Key(seed).at(layer=layer, tile=tile)
            numbers = uniforms(key, (DRAWN_INVOCATIONS, *value.shape))
            if not value.dtype.startswith("f"):
                numbers = np.floor(2 * numbers)  # 0 or 1: legal for tokens, masks and flags
            arrays[name] = numbers.astype(DTYPES[value.dtype])
    warning = (
        "no --data: inputs and calibration are uniform random numbers from the seed, "
        "so accuracy is not known and counts that depend on values (spikes) are arbitrary"
    )
    return Samples(parts[0], batch_of(module), None, parts[1], (warning,))


def batch_of(module: Module) -> int:
    """Samples in one invocation: the leading dimension that all inputs share, else 1."""
    leading = {
        value.shape[0] if len(value.shape) > 1 else 1 for _, value in module.graph.inputs
    }
    return max(1, leading.pop()) if len(leading) == 1 else 1


def _has_labels(source: str) -> bool:
    if source in BUNDLED or not source.endswith(".npz"):
        return True
    return {"x", "y"} <= set(load_inputs(source))


def _labelled(module: Module, source: str) -> Samples:
    if len(module.graph.inputs) != 1:
        names = ", ".join(name for name, _ in module.graph.inputs)
        raise ModelError(
            f"model must have one input for --data {source}, not {len(module.graph.inputs)}: "
            f"{names}; give an .npz with one array per input"
        )
    data = load_data(source)
    ((name, value),) = module.graph.inputs
    whole = prod(data.x.shape[1:]) == prod(value.shape)  # a sample is an invocation
    batch = 1 if whole else batch_of(module)
    train = data.train[:CALIBRATION_SAMPLES]
    inputs, warnings = _grouped(name, data.x[data.test], value, batch, source)
    count = len(inputs) * batch
    labels = data.y[data.test][:count].reshape(-1, batch)
    if len(train) < batch:
        return Samples({name: inputs}, batch, labels, None, warnings)
    calibration, _ = _grouped(name, data.x[train], value, batch, source)
    return Samples({name: inputs}, batch, labels, {name: calibration}, warnings)


def _plain(module: Module, source: str) -> Samples:
    """Inputs without labels, from arrays of the inputs' names (or `x` for a single input)."""
    arrays, named, batch = load_inputs(source), module.graph.inputs, batch_of(module)
    found: dict[str, Array] = {}
    warnings: tuple[str, ...] = ()
    for name, value in named:
        array = arrays.get(name, arrays.get("x") if len(named) == 1 else None)
        if array is None:
            wanted = f"'{name}'" + (" or 'x'" if len(named) == 1 else "")
            raise ModelError(f"{source}: must hold an array {wanted}; it has {sorted(arrays)}")
        found[name], warnings = _grouped(name, array, value, batch, source)
    counts = {name: len(array) for name, array in found.items()}
    if len(set(counts.values())) > 1:
        raise ModelError(f"{source}: must hold as many samples for every input, not {counts}")
    return Samples(found, batch, None, None, warnings)


def _divided(samples: Samples, fraction: float) -> Samples:
    held = int(samples.invocations * fraction)
    if not 0 < held < samples.invocations:
        raise ModelError(
            f"--calib-fraction must leave data on both sides of {samples.invocations} "
            f"invocations, not {fraction}"
        )
    return replace(
        samples,
        inputs={name: array[held:] for name, array in samples.inputs.items()},
        labels=None if samples.labels is None else samples.labels[held:],
        calibration={name: array[:held] for name, array in samples.inputs.items()},
    )


def _grouped(
    name: str, array: Array, value: Value, batch: int, source: str
) -> tuple[Array, tuple[str, ...]]:
    """Arrange samples (n, ...) or whole invocations as (invocations, *static shape)."""
    shape, left = value.shape, 0
    if array.shape == shape:
        kept = array[np.newaxis]
    elif array.shape[1:] == shape:
        kept = array
    else:
        size = prod(shape) // batch
        if array.ndim == 0 or prod(array.shape[1:]) != size:
            raise ModelError(
                f"{source}: array for '{name}' must have {size} elements per sample to fill "
                f"{list(shape)}, not shape {list(array.shape)}; give data of the model's size"
            )
        whole, left = divmod(len(array), batch)
        kept = array[: whole * batch].reshape(whole, *shape)
    if not len(kept):
        raise ModelError(
            f"{source}: '{name}' must have at least {batch} samples, not {len(array)}"
        )
    warning = f"{left} samples left out: they do not fill a batch of {batch}"
    warnings = (warning,) if left else ()
    return np.ascontiguousarray(kept.astype(DTYPES[value.dtype], copy=False)), warnings
