"""ONNX tensors as arrays: sizes checked before anything is allocated, external data contained.

External data is read only from a regular file inside the model's own folder: no absolute path,
no ``..``, no symbolic or hard link, no pipe or device, and only bytes that the file has.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from onnx import TensorProto

from tetrapla.frontend.names import shown
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import DTYPES, Array

# 2 GiB, protobuf's own limit for a message; dimensions are multiplied as Python integers
MAX_TENSOR_BYTES = 2**31

# element type -> (dtype name of the IR, the field that holds typed data)
_TYPES: Mapping[int, tuple[str, str]] = {
    TensorProto.FLOAT: ("f32", "float_data"),
    TensorProto.DOUBLE: ("f64", "double_data"),
    TensorProto.FLOAT16: ("f16", "int32_data"),
    TensorProto.BFLOAT16: ("bf16", "int32_data"),
    TensorProto.FLOAT8E4M3FN: ("f8E4M3FN", "int32_data"),
    TensorProto.FLOAT8E5M2: ("f8E5M2", "int32_data"),
    TensorProto.FLOAT8E8M0: ("f8E8M0FNU", "int32_data"),
    TensorProto.FLOAT4E2M1: ("f4E2M1FN", "int32_data"),
    TensorProto.INT2: ("i2", "int32_data"),
    TensorProto.INT4: ("i4", "int32_data"),
    TensorProto.INT8: ("i8", "int32_data"),
    TensorProto.INT16: ("i16", "int32_data"),
    TensorProto.INT32: ("i32", "int32_data"),
    TensorProto.INT64: ("i64", "int64_data"),
    TensorProto.UINT2: ("ui2", "int32_data"),
    TensorProto.UINT4: ("ui4", "int32_data"),
    TensorProto.UINT8: ("ui8", "int32_data"),
    TensorProto.UINT16: ("ui16", "int32_data"),
    TensorProto.UINT32: ("ui32", "uint64_data"),
    TensorProto.UINT64: ("ui64", "uint64_data"),
    TensorProto.BOOL: ("i1", "int32_data"),
}
# several elements of these share a byte, the first one in the lowest bits
_PACKED: Mapping[str, int] = {"f4E2M1FN": 4, "i4": 4, "ui4": 4, "i2": 2, "ui2": 2}
_FIELDS = (
    "float_data",
    "int32_data",
    "string_data",
    "int64_data",
    "double_data",
    "uint64_data",
)
_FIELD_TYPES: Mapping[str, Any] = {
    "float_data": np.float32,
    "double_data": np.float64,
    "uint64_data": np.uint64,
}
_EXTERNAL_KEYS = ("location", "offset", "length", "checksum")


def dtype_name(element_type: int, what: str) -> str:
    """The IR's name of an ONNX element type.

    Raises:
        ModelError: the type is unknown, or one that the IR does not have.
    """
    if element_type not in _TYPES:
        known = TensorProto.DataType.values()
        name = (
            TensorProto.DataType.Name(element_type) if element_type in known else element_type
        )
        have = ", ".join(TensorProto.DataType.Name(key) for key in _TYPES)
        raise ModelError(f"{what} must have an element type of {have}, not {name}")
    return _TYPES[element_type][0]


def array(tensor: TensorProto, folder: Path | None, what: str, *, values: bool = True) -> Array:
    """The tensor's values, read-only; all zero and without memory when `values` is false.

    Args:
        tensor: an initializer or a constant attribute.
        folder: where external data may lie; None refuses it.
        what: how messages name the tensor.
        values: whether to read the numbers, or only check shape and type.

    Raises:
        ModelError: a size, type or location breaks a rule.
    """
    name = dtype_name(tensor.data_type, what)
    _, typed = _TYPES[tensor.data_type]
    dtype = DTYPES[name]
    shape = _shape(tensor, dtype, what)
    if not values:
        return np.broadcast_to(np.zeros((), dtype), shape)
    _check_one_source(tensor, typed, what)
    bits = _PACKED.get(name, 8 * dtype.itemsize)
    size = -(-prod(shape) * bits // 8)
    if tensor.data_location == TensorProto.EXTERNAL:
        raw: bytes | None = _external(tensor, folder, size, what)
    else:
        raw = tensor.raw_data if tensor.HasField("raw_data") else None
    if raw is None:
        return _typed(tensor, shape, name, typed, what)
    if len(raw) != size:
        raise ModelError(
            f"{what} needs {size} bytes for its shape {list(shape)}, not {len(raw)}"
        )
    if name in _PACKED:
        return _unpacked(np.frombuffer(raw, np.uint8), bits, dtype, shape)
    if sys.byteorder == "big":
        raw = np.frombuffer(raw, f"<u{dtype.itemsize}").byteswap().tobytes()
    return np.frombuffer(raw, dtype).reshape(shape)


def _unpacked(data: Array, bits: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """Elements of a few bits, which share bytes."""
    parts: Array = np.arange(8 // bits, dtype=np.uint8) * np.uint8(bits)
    codes: Array = (data[:, None] >> parts & np.uint8(2**bits - 1)).reshape(-1)[: prod(shape)]
    if dtype.name.startswith("int"):  # the highest bit is the sign
        wide = codes.astype(np.int8)
        codes = np.where(wide >= 2 ** (bits - 1), wide - np.int8(2 ** (bits - 1)) * 2, wide)
        return codes.astype(np.int8).astype(dtype).reshape(shape)
    if dtype.name.startswith("uint"):
        return codes.astype(dtype).reshape(shape)
    return codes.view(dtype).reshape(shape)


def _shape(tensor: TensorProto, dtype: np.dtype[Any], what: str) -> tuple[int, ...]:
    shape = tuple(tensor.dims)
    if len(shape) > 32:
        raise ModelError(f"{what} must have at most 32 axes, not {len(shape)}")
    if any(size < 0 for size in shape):
        raise ModelError(f"{what} must have dimensions of 0 or more, not {list(shape)}")
    # NumPy refuses a product over 2^63 even beside a zero, so zeros are left out here
    if prod(size for size in shape if size) * dtype.itemsize > MAX_TENSOR_BYTES:
        raise ModelError(
            f"{what} must be at most {MAX_TENSOR_BYTES} bytes, "
            f"not shape {list(shape)} of {dtype}"
        )
    return shape


def _check_one_source(tensor: TensorProto, typed: str, what: str) -> None:
    """Values come from raw data, from the field of the type, or from a file: never from two."""
    external = tensor.data_location == TensorProto.EXTERNAL
    sources = [name for name in _FIELDS if len(getattr(tensor, name))]
    sources += ["raw_data"] if tensor.HasField("raw_data") and not external else []
    sources += ["external_data"] if external or len(tensor.external_data) else []
    if len(sources) > 1 or tensor.HasField("segment"):
        raise ModelError(f"{what} must hold its values in one place, not in {sources}")
    if len(tensor.external_data) and not external:
        raise ModelError(f"{what} names external data but is not marked as external")
    wrong = [name for name in sources if name in _FIELDS and name != typed]
    if wrong:
        raise ModelError(f"{what} must hold its values in {typed}, not in {wrong[0]}")


def _typed(
    tensor: TensorProto, shape: tuple[int, ...], name: str, field: str, what: str
) -> Array:
    values: Any = getattr(tensor, field)
    dtype, bits = DTYPES[name], _PACKED.get(name, 8)
    count = -(-prod(shape) * bits // 8) if name in _PACKED else prod(shape)
    if len(values) != count:
        raise ModelError(
            f"{what} needs {count} values for its shape {list(shape)}, not {len(values)}"
        )
    wide = np.array(values, _FIELD_TYPES.get(field, np.int64))
    if name in _PACKED:
        codes = wide.astype(np.uint8)
        if not np.array_equal(codes, wide & 255):
            raise ModelError(f"{what} must hold bytes, but one is out of range")
        return _unpacked(codes, bits, dtype, shape)
    if field == "int32_data" and dtype.kind not in "iub":  # the bits of a small float
        code = np.dtype(f"u{dtype.itemsize}")
        return wide.astype(code).view(dtype).reshape(shape)
    narrow = wide.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(narrow, wide):
        raise ModelError(f"{what} must hold values of {dtype}, but one is out of range")
    return narrow.reshape(shape)


def _external(tensor: TensorProto, folder: Path | None, size: int, what: str) -> bytes:
    """The bytes of a tensor kept in a file beside the model."""
    location, offset, length = _external_entry(tensor, what)
    if folder is None:
        raise ModelError(f"{what} lies in an external file, but the model is not a file")
    path = _contained(location, folder, what)
    if length is not None and length != size:
        raise ModelError(f"{what} needs {size} bytes of external data, not {length}")
    with _open_plain(path, what) as file:
        available = os.fstat(file.fileno()).st_size
        if offset + size > available:
            raise ModelError(
                f"{what} needs bytes {offset} to {offset + size} of {shown(location)}, "
                f"which has {available}"
            )
        file.seek(offset)
        return bytes(file.read(size))


def _external_entry(tensor: TensorProto, what: str) -> tuple[str, int, int | None]:
    """Location, offset and length; every other key is refused."""
    entries: dict[str, str] = {}
    for entry in tensor.external_data:
        if entry.key not in _EXTERNAL_KEYS or entry.key in entries:
            rule = (
                "be given once"
                if entry.key in entries
                else f"be one of {', '.join(_EXTERNAL_KEYS)}"
            )
            raise ModelError(
                f"{what}: a key of external data must {rule}, not {shown(entry.key)}"
            )
        entries[entry.key] = entry.value
    numbers: dict[str, int] = {}
    for key in ("offset", "length"):
        text = entries.get(key, "0")
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise ModelError(f"{what}: {key} must be a number of 0 or more, not {shown(text)}")
        numbers[key] = int(text)
    length = numbers["length"] if "length" in entries else None
    return entries.get("location", ""), numbers["offset"], length


def _contained(location: str, folder: Path, what: str) -> Path:
    """The file's path, after refusing whatever could leave the folder."""
    pure = PurePosixPath(location)
    if (
        not location
        or "\0" in location
        or "\\" in location
        or ":" in location
        or pure.is_absolute()
        or ".." in pure.parts
    ):
        raise ModelError(
            f"{what}: external data must lie in the model's own folder, not at "
            f"{shown(location)}; move the file there"
        )
    root = folder.resolve()
    path = root
    for part in pure.parts:
        path = path / part
        if path.is_symlink():
            raise ModelError(
                f"{what}: external data must not be a symbolic link, as {shown(part)} is"
            )
    if not path.resolve().is_relative_to(root):
        raise ModelError(f"{what}: external data must lie in the model's own folder")
    return path


def _open_plain(path: Path, what: str) -> Any:
    """Open a regular file with one name, never following a link or waiting for a pipe."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    name = shown(path.name)
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):  # before open: a device may act on it
            raise ModelError(f"{what}: external data must be a regular file, not {name}")
        descriptor = os.open(path, flags)
    except OSError as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise ModelError(
            f"{what}: external data {name} {reason}; put it beside the model"
        ) from error
    file = os.fdopen(descriptor, "rb")
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        file.close()
        raise ModelError(
            f"{what}: external data must be a regular file with one name (no hard link), "
            f"not {name}"
        )
    return file
