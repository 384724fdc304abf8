"""Arrays as an .npz or .safetensors whose bytes depend on nothing but the arrays."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tetrapla.files import STDOUT
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import bits_of
from tetrapla.ir.safetensors import SUFFIX as SAFETENSORS
from tetrapla.ir.safetensors import packed

SUFFIX = ".npz"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold


def check_name(option: str, path: Path) -> None:
    """Refuse a file of another kind by its name; a stream has none.

    Raises:
        ModelError: the name ends in neither .npz nor .safetensors.
    """
    stream = path == STDOUT or (path.exists() and not path.is_file())
    if path.suffix not in (SUFFIX, SAFETENSORS) and not stream:
        raise ModelError(
            f"{option} must be a file in {SUFFIX} or {SAFETENSORS}, not '{path}'; rename it"
        )


def written(path: Path, arrays: Mapping[str, Array]) -> bytes:
    """The file that its name asks for; a stream is an .npz.

    Raises:
        UnsupportedError: .safetensors has no type for an array.
    """
    return packed(arrays) if path.suffix == SAFETENSORS else npz(arrays)


def npz(arrays: Mapping[str, Array]) -> bytes:
    """The archive, in the order of the names; `numpy.load` reads it.

    An array of a type that NumPy's files cannot hold goes in as its bits (`bits_of`).
    """
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as stream:
                array = np.asarray(arrays[name])
                array = array.view(bits_of(array.dtype))
                np.lib.format.write_array(stream, array, allow_pickle=False)
    return held.getvalue()
