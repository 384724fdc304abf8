"""Number formats: how weights are stored, what the array multiplies, what RQ writes.

| MM fmt | activations | weights in their slot | sums |
|---|---|---|---|
| 0 int8 | int8 or uint8 | int8 (int4 in DRAM is int8 here) | int32, wrap |
| 1 int16x8 | int16 | int8 (int4 in DRAM is int8 here) | int64 |
| 2 int16 | int16 | int16 | int64 |
| 3 bf16 | bfloat16 | bfloat16 | float32 |
| 4 fp16 | float16 | float16 | float32 |

Sums of int16 need 30 + 18 bits for 2^18 taps and are kept in 64. A float product is rounded to
float32, and so is each addition, in the order of the taps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tetrapla.ir.graph import DTYPES

FORMATS: tuple[str, ...] = ("int8", "int16x8", "int16", "bf16", "fp16", "int4")
"""Of `array.formats`: the first five in the order of MM's `fmt`; int4 is stored only."""

PRODUCTS: tuple[str, ...] = FORMATS[:5]
"""By MM's `fmt`."""

STORED: tuple[str, ...] = ("int8", "int16", "int4", "bf16", "fp16")
"""By LDW's `fmt`."""

ELEMENT_BYTES: Mapping[str, int] = {
    "int8": 1,
    "int16x8": 2,
    "int16": 2,
    "bf16": 2,
    "fp16": 2,
    "int4": 1,
}
"""Of the widest operand of a format."""

DTYPE: Mapping[str, np.dtype[Any]] = {
    "int8": DTYPES["i8"],
    "int16": DTYPES["i16"],
    "int4": DTYPES["i8"],
    "bf16": DTYPES["bf16"],
    "fp16": DTYPES["f16"],
}
"""Of a stored weight once it lies in its slot."""

ACTIVATION: tuple[str, ...] = ("int8", "int16", "int16", "bf16", "fp16")
"""By MM's `fmt`."""

SUMS: tuple[str, ...] = ("i32", "i64", "i64", "f32", "f32")
"""By MM's `fmt`."""

RESULT_BYTES: Mapping[int, int] = {0: 1, 1: 2, 3: 2, 4: 2, 5: 4}
"""By RQ's `fmt`."""

RESULT_FLOAT: Mapping[int, np.dtype[Any]] = {
    3: DTYPES["bf16"],
    4: DTYPES["f16"],
    5: DTYPES["f32"],
}
"""By RQ's `fmt`."""


def slot_format(fmt: int) -> str:
    """What MM's `fmt` multiplies with, as it lies in a slot."""
    return ("int8", "int8", "int16", "bf16", "fp16")[fmt]


def stored_format(fmt: int) -> str:
    """What LDW's `fmt` leaves in a slot."""
    return "int8" if STORED[fmt] == "int4" else STORED[fmt]


def tile_bytes(rows: int, cols: int, fmt: int = 0, sparse: bool = False) -> int:
    """What a tile of weights takes in DRAM.

    Args:
        rows: stored rows; of a sparse tile the compressed ones.
        cols: its columns.
        fmt: as in LDW.
        sparse: the values are followed by their 2-bit positions, four a byte.
    """
    row = -(-cols // 2) if STORED[fmt] == "int4" else cols * ELEMENT_BYTES[STORED[fmt]]
    return rows * row + (-(-rows * cols // 4) if sparse else 0)
