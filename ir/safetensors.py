"""Arrays in a `.safetensors` file: eight bytes of length, a JSON header, and the numbers.

The format: docs of huggingface/safetensors, "Format". It is read as an `.npz` is, by headers
first and row by row, and nothing in it is believed: offsets lie inside the file, follow each
other without a gap and agree with shape and type.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, Final, cast

import ml_dtypes
import numpy as np

from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.ir.npz import MAX_ARRAYS, Header, Npz

SUFFIX: Final = ".safetensors"
_MOST_HEADER_BYTES: Final = 100_000_000  # the format's own limit
_TYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"U{n}": np.dtype(f"<u{n // 8}") for n in (8, 16, 32, 64)},
    **{f"I{n}": np.dtype(f"<i{n // 8}") for n in (8, 16, 32, 64)},
    **{f"F{n}": np.dtype(f"<f{n // 8}") for n in (16, 32, 64)},
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
}
_NAMES: Final = {dtype: name for name, dtype in _TYPES.items()}
# integers of four bits have no name in the format: their values fit eight
_WIDER: Final = {
    np.dtype(ml_dtypes.int4): np.dtype(np.int8),
    np.dtype(ml_dtypes.uint4): np.dtype(np.uint8),
}


class Safetensors(Npz):
    """The arrays of a file by name, each read when it is asked for.

    What NumPy has no type for (bfloat16, float8) comes as float32, which holds it exactly.

    Raises:
        ModelError: from the constructor, when the file is missing or broken.
    """

    def __init__(self, path: Path) -> None:  # no super: another file has another beginning
        self._path = path
        self.headers: dict[str, Header] = {}
        self._stored: dict[str, np.dtype[Any]] = {}
        self._counted: set[str] = set()
        if not path.is_file():
            raise ModelError(f"{path}: no such file; give the path of a .safetensors file")
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            held_bytes = path.stat().st_size
            if held_bytes < 10 or length > min(_MOST_HEADER_BYTES, held_bytes - 8):
                raise self._broken("its header's length is not that of a header")
            text = file.read(length)
        self._take(text, 8 + length, held_bytes)

    def __iter__(self) -> Iterator[str]:
        return iter(self.headers)

    def __len__(self) -> int:
        return len(self.headers)

    def __contains__(self, key: object) -> bool:
        return key in self.headers

    def __getitem__(self, key: str) -> Array:
        header = self.headers[key]
        self._counted.add(key)
        total = sum(self._stored_bytes(counted) for counted in self._counted)
        self._check_room("its arrays", total)
        return self._part(key, 0, header.shape)

    def rows(self, key: str, count: int) -> Iterator[Array]:
        header = self.headers[key]
        shape = (count, *header.shape[1:])
        self._check_room(f"{count} rows of '{key}'", prod(shape) * self._stored[key].itemsize)
        for i in range(header.shape[0] // count):
            yield self._part(key, i * prod(shape), shape)

    def _broken(self, reason: str = "cannot be read") -> ModelError:
        return ModelError(
            f"{self._path}: must be a .safetensors file of numeric arrays, but {reason}; write "
            "it with safetensors.numpy.save_file({'x': ...}, path)"
        )

    def _part(self, key: str, first: int, shape: tuple[int, ...]) -> Array:
        stored = self._stored[key]
        size_bytes = prod(shape) * stored.itemsize
        with self._path.open("rb") as file:
            file.seek(self.headers[key].offset_bytes + first * stored.itemsize)
            data = self._read(file, size_bytes)
        found: Array = np.frombuffer(data, stored).reshape(shape)
        if stored.kind == "b" and np.any(np.frombuffer(data, np.uint8) > 1):
            raise self._broken(f"'{key}' holds truth values that are neither 0 nor 1")
        return found.astype(self.headers[key].dtype, copy=False)

    def _stored_bytes(self, key: str) -> int:
        return prod(self.headers[key].shape) * self._stored[key].itemsize

    def _take(self, text: bytes, start: int, held_bytes: int) -> None:
        """The header, every entry of it judged."""
        entries = self._entries_of(text)
        end = start
        spans: list[tuple[int, int, str]] = []
        for name, entry in entries.items():
            dtype, shape, (first, last) = self._entry(name, entry)
            if last - first != prod(shape) * dtype.itemsize:
                raise self._broken(f"'{name[:64]}' has not the bytes of its shape and type")
            spans.append((first, last, name))
            # what NumPy's own types lack; a float of a byte has another kind in some of them
            odd = dtype.kind == "V" or (dtype.kind == "f" and dtype.itemsize == 1)
            shown = np.dtype(np.float32) if odd else dtype
            self._stored[name] = dtype
            self.headers[name] = Header(shape, shown, False, start + first)
        for first, last, name in sorted(spans):
            if start + first != end:
                raise self._broken(f"'{name[:64]}' does not begin where the one before ends")
            end = start + last
        if end != held_bytes:
            raise self._broken(
                f"it has {held_bytes - start} bytes of numbers, not {end - start}"
            )

    def _entries_of(self, text: bytes) -> dict[str, Any]:
        def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            found = dict(pairs)
            if len(found) < len(pairs):
                raise self._broken("its header names something twice")
            return found

        try:
            raw = json.loads(text, object_pairs_hook=once)
        except (ValueError, RecursionError) as error:
            if isinstance(error, ModelError):
                raise
            raise self._broken("its header is no JSON") from None
        if not isinstance(raw, dict):
            raise self._broken("its header is no JSON object")
        entries = cast("dict[str, Any]", raw)
        entries.pop("__metadata__", None)
        if len(entries) > MAX_ARRAYS:
            raise self._broken(f"holds more than {MAX_ARRAYS}")
        return entries

    def _entry(
        self, name: str, raw: Any
    ) -> tuple[np.dtype[Any], tuple[int, ...], tuple[int, int]]:
        fields = cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}
        dtype = _TYPES.get(str(fields.get("dtype")))
        if dtype is None:
            known = ", ".join(_TYPES)
            raise ModelError(
                f"{self._path}: array '{name[:64]}' must be of a type that is known ({known}), "
                f"not {str(fields.get('dtype'))[:32]}; convert it"
            )
        shape, span = _counts(fields.get("shape")), _counts(fields.get("data_offsets"))
        if shape is None or span is None or len(span) != 2 or span[0] > span[1]:
            raise self._broken(f"'{name[:64]}' has no shape and place")
        return dtype, shape, (span[0], span[1])


def packed(arrays: Mapping[str, Array]) -> bytes:
    """A file, in the order of the names; the same arrays give the same bytes.

    Raises:
        UnsupportedError: an array is of a type that the format has no name for.
    """
    header: dict[str, Any] = {}
    parts: list[bytes] = []
    end = 0
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        array = array.astype(_WIDER.get(array.dtype, array.dtype))
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        known = _NAMES.get(array.dtype)
        if known is None:
            raise UnsupportedError(
                f"array '{name}' of {array.dtype} must be of a type that .safetensors has, "
                "which it is not; write an .npz"
            )
        data = np.ascontiguousarray(array).tobytes()
        place = {"shape": list(array.shape), "data_offsets": [end, end + len(data)]}
        header[name] = {"dtype": known, **place}
        end += len(data)
        parts.append(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def _counts(raw: Any) -> tuple[int, ...] | None:
    """A list of counts; None for anything else."""
    if not isinstance(raw, list):
        return None
    items: list[Any] = raw
    if any(type(each) is not int or each < 0 or each >= 2**63 for each in items):
        return None
    return tuple(items)
