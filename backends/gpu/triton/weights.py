"""Weights as a safetensors file: a header in JSON, then the tensors' bytes.

Format: github.com/huggingface/safetensors, README.md. It is written here because the library
takes the types that NumPy has not (bfloat16, float8) in another way in every release.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.gpu.program import Buffer, Program

_TYPES = {
    "f64": "F64",
    "f32": "F32",
    "f16": "F16",
    "bf16": "BF16",
    "f8E4M3FN": "F8_E4M3",
    "f8E5M2": "F8_E5M2",
    "i64": "I64",
    "i32": "I32",
    "i16": "I16",
    "i8": "I8",
    "ui64": "U64",
    "ui32": "U32",
    "ui16": "U16",
    "ui8": "U8",
    "i1": "BOOL",
}
_METADATA = "__metadata__"  # no tensor may be called so


def tensor(buffer: Buffer) -> str:
    """The name of a weight's tensor in the file."""
    return buffer.name if buffer.name != _METADATA else f"{_METADATA}."


def safetensors(program: Program) -> bytes:
    """Every weight in its buffer's type, in the order of the buffers; 8-byte alignment.

    The same program gives the same bytes.
    """
    header: dict[str, Mapping[str, object]] = {}
    parts: list[bytes] = []
    place = 0
    for buffer in sorted(_weights(program), key=_width, reverse=True):
        data = rounded(program.weights[buffer.name], buffer.dtype).tobytes()
        span = [place, place + len(data)]
        header[tensor(buffer)] = {
            "dtype": _TYPES[buffer.dtype],
            "shape": list(buffer.shape),
            "data_offsets": span,
        }
        parts.append(data)
        place += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def rounded(array: Array, dtype: str) -> Array:
    """An array in a buffer's type, half to even; what is too large becomes an infinity."""
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(np.asarray(array).astype(DTYPES[dtype]))


def _weights(program: Program) -> list[Buffer]:
    return [buffer for buffer in program.buffers if buffer.role == "weight"]


def _width(buffer: Buffer) -> int:
    """Wide types first, so that every tensor begins at a multiple of its element."""
    return DTYPES[buffer.dtype].itemsize
