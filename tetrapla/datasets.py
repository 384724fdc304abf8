"""Data to run a model on: the bundled digits, or a user's `.npz`.

An `.npz` has `x` (numbers, first axis = samples) and `y` (integer labels, one per sample), and
may have `train` and `test` (indices into both). Without them every sample is a test sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tetrapla.ir.errors import ModelError, nearest
from tetrapla.ir.npz import Npz
from tetrapla.ir.safetensors import SUFFIX, Safetensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]

BUNDLED: Mapping[str, float] = {"digits": 16.0}  # name -> largest pixel value, divided out
DATA_DIR = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Data:
    """Samples and labels with their split.

    Attributes:
        x: float32, shape (samples, *sample_shape).
        y: int64, shape (samples,).
        train: indices of the training samples; empty when the file has no split.
        test: indices of the held-out samples.
    """

    x: Array
    y: Array
    train: Array
    test: Array

    def reshaped(self, shape: tuple[int, ...], samples: Array) -> Array:
        """The chosen samples as (samples, *shape), where `shape` is a model's input.

        Raises:
            ModelError: a sample has another number of elements than the shape.
        """
        size = int(np.prod(self.x.shape[1:], dtype=np.int64))
        if size != int(np.prod(shape, dtype=np.int64)):
            raise ModelError(
                f"data: a sample must fill the model's input of shape {_shape(shape)}, "
                f"not shape {_shape(self.x.shape[1:])}; give data of the model's size"
            )
        return self.x[samples].reshape(len(samples), *shape)


def load_data(source: str | Path) -> Data:
    """Read `digits` or an `.npz` file.

    Raises:
        ModelError: the name is unknown, or the file is not what the module docstring says.
    """
    name = str(source)
    if name in BUNDLED:
        data = _checked(name, _arrays(DATA_DIR / f"{name}.npz"))
        return Data(data.x / np.float32(BUNDLED[name]), data.y, data.train, data.test)
    path = Path(source)
    if path.suffix != ".npz":
        raise ModelError(
            f"--data must be {', '.join(BUNDLED)} or an .npz file, "
            f"not '{name}'{nearest(name, BUNDLED)}"
        )
    return _checked(name, _arrays(path))


def load_inputs(source: str | Path) -> Npz:
    """The arrays of an .npz or .safetensors file, a model's inputs, each read when asked for.

    Raises:
        ModelError: the file is missing, broken, or holds something other than numbers.
    """
    path = Path(source)
    return Safetensors(path) if path.suffix == SUFFIX else _arrays(path)


def _arrays(path: Path) -> Npz:
    return Npz(path, "numeric arrays", "write it with numpy.savez(path, x=..., y=...)")


def _checked(name: str, arrays: Mapping[str, Array]) -> Data:
    """Arrays as `Data`, after every rule of the module docstring."""
    for key in ("x", "y"):
        if key not in arrays:
            have = ", ".join(arrays) or "nothing"
            raise ModelError(f"{name}: must have the arrays x and y; it has {have}")
    x, y = arrays["x"], arrays["y"]
    if x.ndim < 2 or len(x) == 0:
        raise ModelError(
            f"{name}: x must have the shape (samples, ...) with at least one sample, "
            f"not {_shape(x.shape)}"
        )
    if y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer):
        raise ModelError(
            f"{name}: y must hold one integer label per sample, shape ({len(x)},), "
            f"not {y.dtype} of shape {_shape(y.shape)}"
        )
    if np.any(y < 0):
        raise ModelError(f"{name}: y must hold labels of at least 0, not {int(y.min())}")
    x = as_float32(name, "x", x)
    train = _indices(name, "train", arrays, len(x), default=0)
    test = _indices(name, "test", arrays, len(x), default=len(x))
    shared = np.intersect1d(train, test)
    if len(shared):
        raise ModelError(f"{name}: train and test must not share samples, as {shared[0]} does")
    return Data(x, y.astype(np.int64), train, test)


def as_float32(name: str, key: str, array: Array, first: int = 0) -> Array:
    """The array as float32; its first sample has the number `first` in the file.

    Raises:
        ModelError: a number is not finite, or too large for float32.
    """
    with np.errstate(over="ignore"):
        found = array.astype(np.float32, copy=False)
    bad = np.flatnonzero(~np.isfinite(found).all(axis=tuple(range(1, found.ndim))))
    if len(bad):
        raise ModelError(
            f"{name}: {key} must be finite, but sample {first + bad[0]} holds NaN or infinity; "
            "drop or mend that sample"
        )
    return found


def _indices(
    name: str, key: str, arrays: Mapping[str, Array], samples: int, default: int
) -> Array:
    if key not in arrays:
        other = arrays.get("train") if key == "test" else None
        rest = np.arange(default, dtype=np.int64)
        return rest if other is None else np.setdiff1d(rest, other)
    found = arrays[key]
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        raise ModelError(
            f"{name}: {key} must be a list of integer indices, "
            f"not {found.dtype} of shape {_shape(found.shape)}"
        )
    if np.any(found < 0) or np.any(found >= samples):
        raise ModelError(f"{name}: {key} must hold indices from 0 to {samples - 1}")
    if len(np.unique(found)) != len(found):
        raise ModelError(f"{name}: {key} must not hold an index twice")
    return found.astype(np.int64)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
