"""How numbers enter the multipliers of a matrix product, by the name of the operands' format.

| operand | multiplied as | sums |
|-|-|-|
| f32 | float32 | float32 |
| tf32 | float32 of 10 fraction bits, the nearest, ties away from zero | float32 |
| f16, bf16, f8E4M3FN | the type itself | float32 |
| i8 | integers of 8 bits less their zero points | int32 |

PTX's ``cvt.rna.tf32.f32`` rounds so (PTX ISA, cvt); a tensor core that is given more bits cuts
them off, so the emitted kernels round first and both agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from tetrapla.ir.graph import DTYPES, Array

# what a chip calls the format of an operand
FORMAT_OF_OPERAND: Mapping[str, str] = MappingProxyType(
    {
        "f32": "fp32",
        "tf32": "tf32",
        "f16": "fp16",
        "bf16": "bf16",
        "i8": "int8",
        "f8E4M3FN": "fp8",
    }
)
_CUT = 13  # fraction bits of float32 that tf32 lacks


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether a type is a float; NumPy calls those that it does not know itself void."""
    return dtype.kind in "fV"


def multiplied(x: Array, operand: str) -> Array:
    """Floats as the multipliers take them, in float32, which holds them exactly."""
    if operand == "tf32":
        return to_tf32(x.astype(np.float32, copy=False))
    return x.astype(DTYPES[operand], copy=False).astype(np.float32, copy=False)


def to_tf32(x: Array) -> Array:
    """Float32 rounded to 10 fraction bits, ties away from zero; infinities and NaN stay."""
    bits = np.ascontiguousarray(x).view(np.int32)
    half, kept = np.int32(1 << (_CUT - 1)), np.int32(-(1 << _CUT))
    with np.errstate(over="ignore"):  # of a NaN, which is not taken
        near = ((bits + half) & kept).view(np.float32)
    return np.where(np.isfinite(x), near, x)
