"""Arrays as an .npz whose bytes depend on nothing but the arrays."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.module import bits_of

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold


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
