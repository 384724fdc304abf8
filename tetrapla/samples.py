"""What a model is run on: the bundled digits, a user's arrays, or numbers from the seed.

Arrays reach the machines as (invocations, *static shape); one invocation holds as many
samples as the model's leading dimension says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from tetrapla.datasets import BUNDLED, as_float32, load_data, load_inputs
from tetrapla.frontend.zoo.network import PREFIX, Sample, entry
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import DTYPES, Array, Value
from tetrapla.ir.module import Module
from tetrapla.ir.op import macs
from tetrapla.recordings import is_recording, recorded
from tetrapla.settings import Settings
from tetrapla.simulators.random_ import Key, uniforms

RECORDED = "one recording: it is calibrated on itself; give another by --calib"
CALIBRATION_SAMPLES = 256  # of the training part, in the split's order
DRAWN_INVOCATIONS = 16  # where nobody says how many, and the model is not a large one
DRAWN_MACS = 2 * 10**10  # of all of them together, assumed: seconds in the interpreter


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
        return len(next(iter(self.inputs.values()), ()))


def samples_for(module: Module, settings: Settings) -> Samples:
    """The data that the settings ask for; none for a model without values.

    Raises:
        ModelError: a file that cannot be read, or does not fit the model.
    """
    if module.shape_only:
        return Samples({}, batch_of(module), warnings=(_shape_only(settings),))
    if settings.data is None:
        return drawn(module, settings.seed, settings.samples)
    found = _read(module, settings.data)
    if settings.calib:
        found = replace(found, calibration=_unlabelled(module, settings.calib))
    elif settings.calib_fraction is not None:
        found = _divided(found, settings.calib_fraction)
    return _limited(found, settings.samples)


def as_invocations(module: Module, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Inputs as (invocations, *static shape), where one invocation may come without that axis.

    Raises:
        ModelError: an array has neither shape, or holds NaN or an infinity.
    """
    found = {name: np.asarray(array) for name, array in inputs.items()}
    for name, value in module.graph.inputs:
        array = found.get(name)
        if array is not None and array.shape == value.shape:
            found[name] = array[np.newaxis]
        elif array is not None and array.shape[1:] != value.shape:
            raise ModelError(
                f"input '{name}' must have the shape {list(value.shape)}, or that behind an "
                f"axis of invocations, not {list(array.shape)}; reshape it"
            )
        if array is not None and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelError(f"input '{name}' must be finite, not NaN or infinite; mend it")
    return found


def drawn(module: Module, seed: int, samples: int | None = None) -> Samples:
    """Uniform numbers in [0, 1) from the seed, also for calibration: values mean nothing."""
    batch = batch_of(module)
    few = _few(module)
    count = few if samples is None else _invocations(samples, batch)
    if module.name.startswith(PREFIX):
        sample = entry(module.name.removeprefix(PREFIX)).sample
        if sample is not None:
            return _sampled(module, sample, seed, (count, few))
    parts: list[dict[str, Array]] = []
    for tile, invocations in enumerate((count, few)):
        arrays: dict[str, Array] = {}
        for layer, (name, value) in enumerate(module.graph.inputs):
            key = Key(seed).at(layer=layer, tile=tile)
            numbers = uniforms(key, (invocations, *value.shape))
            if not value.dtype.startswith("f"):
                numbers = np.floor(2 * numbers)  # 0 or 1: legal for tokens, masks and flags
            arrays[name] = numbers.astype(DTYPES[value.dtype])
        parts.append(arrays)
    warning = (
        "no --data: inputs and calibration are uniform random numbers from the seed, "
        "so accuracy is not known and counts that depend on values (spikes) are arbitrary"
    )
    return Samples(parts[0], batch, None, parts[1], (warning,))


def _few(module: Module) -> int:
    """How many invocations are drawn: fewer of a model that takes long."""
    products = macs(module.graph.nodes) or 1
    return min(DRAWN_INVOCATIONS, max(1, DRAWN_MACS // products))


def _sampled(module: Module, sample: Sample, seed: int, counts: tuple[int, int]) -> Samples:
    """What an entry of the zoo says that its inputs look like, from the seed."""
    batch = batch_of(module)
    parts: list[dict[str, Array]] = []
    for tile, invocations in enumerate(counts):
        # NumPy promises the stream of Philox; `sample` draws all it needs from it
        rng = np.random.Generator(np.random.Philox(key=[seed, tile]))
        drawn = [sample(rng, batch) for _ in range(invocations)]
        parts.append(
            {name: np.stack([each[name] for each in drawn]) for name, _ in module.graph.inputs}
        )
    warning = "no --data: inputs and calibration are the zoo's own, drawn from the seed"
    return Samples(parts[0], batch, None, parts[1], (warning,))


def batch_of(module: Module) -> int:
    """Samples in one invocation: the leading dimension that all inputs share, else 1."""
    leading = {
        value.shape[0] if len(value.shape) > 1 else 1 for _, value in module.graph.inputs
    }
    return max(1, leading.pop()) if len(leading) == 1 else 1


def _shape_only(settings: Settings) -> str:
    unused = "; --data is not used" if settings.data else ""
    return f"the model has no weights: cycles and energy alone, no values, no check{unused}"


def _read(module: Module, source: str) -> Samples:
    """Samples of `digits`, of a user's .npz, with its labels and split, or a recording."""
    if is_recording(source):
        held = _unlabelled(module, source)
        return Samples(held, batch_of(module), None, held, (RECORDED,))
    if source in BUNDLED or not source.endswith(".npz"):
        return _labelled(module, source)
    has_labels = {"x", "y"} <= set(load_inputs(source))
    return _labelled(module, source) if has_labels else _plain(module, source)


def _unlabelled(module: Module, source: str) -> dict[str, Array]:
    """Inputs of a recording, or of an .npz that may have labels, which are not read."""
    if is_recording(source):
        name, counts = recorded(module, source)
        return {name: counts[np.newaxis]}
    return _plain(module, source).inputs


def _limited(samples: Samples, limit: int | None) -> Samples:
    """The first `limit` samples, in whole invocations."""
    if limit is None:
        return samples
    keep = _invocations(limit, samples.batch)
    if keep >= samples.invocations:
        return samples
    left, warnings = limit % samples.batch, tuple[str, ...]()
    if left:
        warnings = (left_out(left, samples.batch),)
    return replace(
        samples,
        inputs={name: array[:keep] for name, array in samples.inputs.items()},
        labels=None if samples.labels is None else samples.labels[:keep],
        warnings=warnings,
    )


def _invocations(samples: int, batch: int) -> int:
    if samples < batch:
        raise ModelError(
            f"--samples must be at least the batch of {batch}, not {samples}; raise it"
        )
    return samples // batch


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
    arrays, batch = load_inputs(source), batch_of(module)
    found: dict[str, Array] = {}
    warnings: tuple[str, ...] = ()
    for name, value in module.graph.inputs:
        array = arrays[name_of(arrays, module, name, source)]
        found[name], warnings = _grouped(name, array, value, batch, source)
    counts = {name: len(array) for name, array in found.items()}
    if len(set(counts.values())) > 1:
        raise ModelError(f"{source}: must hold as many samples for every input, not {counts}")
    return Samples(found, batch, None, None, warnings)


def name_of(arrays: Collection[str], module: Module, name: str, source: str) -> str:
    """The name that an input's array has in a file: its own, or `x` of a single input.

    Raises:
        ModelError: there is neither.
    """
    single = len(module.graph.inputs) == 1
    for key in (name, "x") if single else (name,):
        if key in arrays:
            return key
    wanted = f"'{name}'" + (" or 'x'" if single and name != "x" else "")
    there = ", ".join(sorted(arrays)) or "nothing"
    raise ModelError(
        f"{source}: must hold an array {wanted}, not only {there}; write it with numpy.savez"
    )


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
    count, left = arranged(name, array.shape, value, batch, source)
    if array.shape == value.shape:
        array = array[np.newaxis]
    found = cast(source, name, array, value.dtype)[: len(array) - left]
    warnings = (left_out(left, batch),) if left else ()
    return np.ascontiguousarray(found.reshape(count, *value.shape)), warnings


def arranged(
    name: str, shape: tuple[int, ...], value: Value, batch: int, source: str
) -> tuple[int, int]:
    """How many invocations an array makes, and how many samples it has too many.

    Args:
        name: the input's.
        shape: the array's: one invocation's, (invocations, *that), or (samples, ...).
        value: the input.
        batch: samples in an invocation.
        source: the file's name, for messages.

    Raises:
        ModelError: a sample is of another size, or there are too few.
    """
    if shape == value.shape:
        return 1, 0
    if shape and shape[1:] == value.shape:
        batch = 1
    size = prod(value.shape) // batch
    if not shape or prod(shape[1:]) != size:
        raise ModelError(
            f"{source}: array for '{name}' must have {size} elements per sample to fill "
            f"{list(value.shape)}, not shape {list(shape)}; give data of the model's size"
        )
    count, left = divmod(shape[0], batch)
    if not count:
        raise ModelError(
            f"{source}: '{name}' must have at least {batch} samples, not {shape[0]}; "
            "give more or a smaller batch"
        )
    return count, left


def left_out(count: int, batch: int) -> str:
    """What a person is told of samples too many."""
    return f"{count} samples left out: they do not fill a batch of {batch}"


def cast(source: str, name: str, array: Array, dtype: str, first: int = 0) -> Array:
    """The array in the input's own type; its first sample has the number `first` in the file.

    Raises:
        ModelError: a number does not fit the type.
    """
    if dtype == "f32":
        return as_float32(source, name, array, first)
    with np.errstate(all="ignore"):
        found = array.astype(DTYPES[dtype], copy=False)
    exact = np.isfinite(found) if dtype.startswith("f") else found == array
    if not np.all(exact):
        value = array.ravel()[np.flatnonzero(~exact.ravel())[0]]
        raise ModelError(
            f"{source}: array for '{name}' must hold numbers that fit {dtype}, not {value}; "
            "give data of the model's own type"
        )
    return found
