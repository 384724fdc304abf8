"""Data to run a model on: the bundled digits, or a user's `.npz`.

An `.npz` has `x` (numbers, first axis = samples) and `y` (integer labels, one per sample), and
may have `train` and `test` (indices into both). Without them every sample is a test sample.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tetrapla.ir.errors import ModelError, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]

BUNDLED: Mapping[str, float] = {"digits": 16.0}  # name -> largest pixel value, divided out
DATA_DIR = Path(__file__).parent / "data"
# RuntimeError: an encrypted archive, or a compression that this Python lacks
_BROKEN = (
    ValueError,
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    KeyError,
    RuntimeError,
)
_LIMIT_BYTES = 2 << 30  # per array, assumed: larger than any data that a simulator runs


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


def load_inputs(source: str | Path) -> dict[str, Array]:
    """Read every array of an `.npz` file, by name: a model's inputs.

    Raises:
        ModelError: the file is missing, broken, or holds something other than numbers.
    """
    return _arrays(Path(source))


def _arrays(path: Path) -> dict[str, Array]:
    """All arrays of a file; pickles are refused."""
    if not path.is_file():
        raise ModelError(f"{path}: no such file; give the path of an .npz file")
    try:
        # opened here, because NumPy leaves a broken file open
        with path.open("rb") as file, zipfile.ZipFile(file) as entries:
            _check_sizes(path, entries)
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            return {key: _numbers(path, key, archive[key]) for key in archive.files}
    except ModelError:
        raise
    except _BROKEN as error:
        reason = "holds Python objects" if "allow_pickle" in str(error) else "cannot be read"
        raise ModelError(
            f"{path}: must be an .npz archive of numeric arrays, but {reason}; "
            f"write it with numpy.savez(path, x=..., y=...)"
        ) from error


def _check_sizes(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse a compressed bomb before it is unpacked."""
    for entry in archive.infolist():
        if entry.file_size > _LIMIT_BYTES:
            raise ModelError(
                f"{path}: array '{entry.filename}' must be at most {_LIMIT_BYTES} bytes, "
                f"not {entry.file_size}; split the data"
            )


def _numbers(path: Path, key: str, array: Array | bytes) -> Array:
    if isinstance(array, bytes):  # NumPy hands out what is no .npy entry as it is
        raise ModelError(f"{path}: entry '{key}' must be an array, not another file; drop it")
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_):
        raise ModelError(f"{path}: array '{key}' must hold numbers, not {array.dtype}")
    if np.issubdtype(array.dtype, np.complexfloating):
        raise ModelError(f"{path}: array '{key}' must be real, not {array.dtype}")
    return array


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


def as_float32(name: str, key: str, array: Array) -> Array:
    """The array as float32.

    Raises:
        ModelError: a number is not finite, or too large for float32.
    """
    with np.errstate(over="ignore"):
        found = array.astype(np.float32, copy=False)
    bad = np.flatnonzero(~np.isfinite(found).all(axis=tuple(range(1, found.ndim))))
    if len(bad):
        raise ModelError(
            f"{name}: {key} must be finite, but sample {bad[0]} holds NaN or infinity; "
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
