"""Element types at the border of linalg, whose integers have no sign.

`held_as` is the type in memory: what MLIR cannot compute with (bf16, eight bits and fewer of
float) crosses as integers of its size, and so does what has a sign or less than a byte.
`inside` is the type in a loop's body: integers there have their own width and wrap by it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tetrapla.ir.graph import DTYPES

NATIVE = ("f64", "f32", "f16")
COMPUTED = ("f64", "f32")  # what math and arith compute with, without help


def is_float(dtype: str) -> bool:
    """Whether numbers of the type have an exponent."""
    return dtype.startswith(("f", "bf"))


def is_unsigned(dtype: str) -> bool:
    """Whether the type's integers start at zero (a truth is 0 or 1)."""
    return dtype.startswith("ui") or dtype == "i1"


def bits_of(dtype: str) -> int:
    """The width of an integer type."""
    return int(dtype.removeprefix("u").removeprefix("i"))


def held_as(dtype: str) -> str:
    """The MLIR type of an element in memory."""
    if dtype in NATIVE or dtype in ("i1", "index"):
        return dtype
    return f"i{8 * DTYPES[dtype].itemsize}"


def inside(dtype: str) -> str:
    """The MLIR type of an element in a loop's body."""
    if is_float(dtype) or dtype in ("i1", "index"):
        return held_as(dtype)
    return f"i{bits_of(dtype)}"


def literal(value: float, dtype: str) -> str:
    """A number as MLIR reads it back: floats by their bits, which a decimal would not show."""
    kind = inside(dtype)
    if is_float(dtype):
        bits: Any = np.asarray(value).astype(DTYPES[dtype])
        unsigned = int(bits.view(f"u{bits.itemsize}"))
        return f"0x{unsigned:0{2 * bits.itemsize}X} : {kind}"
    number = int(value)
    if dtype == "i1":
        return "true" if number else "false"
    if dtype != "index" and number >= 1 << (bits_of(dtype) - 1):
        number -= 1 << bits_of(dtype)  # the same bits, read with a sign
    return f"{number} : {kind}"


def lowest(dtype: str) -> float:
    """The number that never wins a maximum."""
    if is_float(dtype):
        return -np.inf
    return 0 if is_unsigned(dtype) else -(1 << (bits_of(dtype) - 1))


def highest(dtype: str) -> float:
    """The number that never wins a minimum."""
    if is_float(dtype):
        return np.inf
    return (1 << (bits_of(dtype) - (0 if is_unsigned(dtype) else 1))) - 1
