"""Arrays in a program's JSON: type, shape and bytes, the same bits on every machine."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from tetrapla.ir.graph import Array


def packed(array: Array) -> dict[str, Any]:
    """The array as plain data; its bytes are little-endian, in C order."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return {
        "dtype": little.dtype.str,
        "shape": list(little.shape),
        "base64": base64.b64encode(little.tobytes()).decode("ascii"),
    }


def unpacked(data: Mapping[str, Any]) -> Array:
    """The read-only array that `packed` wrote.

    Raises:
        ValueError: the bytes are not what type and shape say.
    """
    raw = np.frombuffer(base64.b64decode(data["base64"], validate=True), data["dtype"])
    return raw.reshape(data["shape"])


def is_packed(data: Mapping[str, Any]) -> bool:
    """Whether plain data is an array."""
    return set(data) == {"dtype", "shape", "base64"}
