"""Arrays from an `.npz` archive that nobody vouches for.

Only headers are read when it is opened; an array is unpacked when it is asked for, and the
arrays together are bounded, so that a small file cannot fill the memory.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array

MAX_BYTES = 2 << 30  # all arrays read, assumed: larger than what a simulator runs
# NotImplementedError (a RuntimeError): a compression that this Python lacks; RuntimeError: an
# encrypted archive; OverflowError: sizes beyond 64 bits; SyntaxError: a broken header
_BROKEN = (
    *(ValueError, TypeError, OSError, EOFError, KeyError, AttributeError, RuntimeError),
    *(OverflowError, SyntaxError, MemoryError, zipfile.BadZipFile, zlib.error),
)
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Npz(Mapping[str, Array]):
    """The arrays of a file by name, each read when it is asked for.

    Raises:
        ModelError: from the constructor, when the file is missing, broken, or holds anything
            but arrays of real numbers; from `[]`, when the data are broken or too large.
    """

    def __init__(self, path: Path, content: str, way_out: str) -> None:
        """Open a file; `content` and `way_out` complete the message about a broken one."""
        self._path = path
        self._rule = f"{path}: must be an .npz archive of {content}, but {{}}; {way_out}"
        self._sizes_bytes: dict[str, int] = {}
        self._entries: dict[str, str] = {}
        self._counted: set[str] = set()
        if not path.is_file():
            raise ModelError(f"{path}: no such file; give the path of an .npz file")
        try:
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    key = entry.filename.removesuffix(".npy")
                    with archive.open(entry) as stream:
                        self._sizes_bytes[key] = self._checked(key, stream, entry.file_size)
                    self._entries[key] = entry.filename
        except ModelError:
            raise
        except _BROKEN as error:
            raise self._broken() from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries  # without reading, unlike Mapping's own

    def __getitem__(self, key: str) -> Array:
        name = self._entries[key]
        self._counted.add(key)
        total_bytes = sum(self._sizes_bytes[counted] for counted in self._counted)
        if total_bytes > MAX_BYTES:
            raise ModelError(
                f"{self._path}: its arrays must be at most {MAX_BYTES} bytes together, "
                f"not {total_bytes}; split the data"
            )
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(name) as stream:
                array: Array = np.lib.format.read_array(stream, allow_pickle=False)
                return array
        except _BROKEN as error:
            raise self._broken() from error

    def _broken(self, reason: str = "cannot be read") -> ModelError:
        return ModelError(self._rule.format(reason))

    def _checked(self, key: str, stream: IO[bytes], file_size: int) -> int:
        """The bytes of an array, from a header that agrees with the entry's size."""
        if stream.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
            raise ModelError(
                f"{self._path}: entry '{key}' must be an array, not another file; drop it"
            )
        version = stream.read(2)
        read = _HEADERS.get((version[0], version[1]))
        if read is None:
            raise self._broken()
        shape, _, dtype = read(stream)
        if dtype.hasobject:
            raise self._broken("holds Python objects")
        self._check_numbers(key, dtype)
        size_bytes = prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or size_bytes != file_size - stream.tell():
            raise self._broken()
        return size_bytes

    def _check_numbers(self, key: str, dtype: np.dtype[Any]) -> None:
        if dtype.kind not in "biufc":
            raise ModelError(f"{self._path}: array '{key}' must hold numbers, not {dtype}")
        if dtype.kind == "c":
            raise ModelError(f"{self._path}: array '{key}' must be real, not {dtype}")
