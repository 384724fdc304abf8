"""The dialect itself, and the rounding that all of its operators share."""

from typing import Any

import numpy as np

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.mlir import Dialect
from tetrapla.ir.op import Tensor, require

# the element types that hold quantised values, with their ranges
RANGES = {"i8": (-128, 127), "ui8": (0, 255)}


class Quant(Dialect, name="qnn"):
    """Integer arithmetic as ONNX Runtime computes it: float32 scales, ties to even."""


def saturate(rounded: Array, dtype: str) -> Array:
    """Clip to a quantised type. NaN becomes the type's minimum."""
    low, high = RANGES[dtype]
    known = np.where(np.isnan(rounded), low, rounded)
    return np.clip(known, low, high).astype(DTYPES[dtype])


def along(parameter: Array, rank: int, axis: int) -> Array:
    """A scale of one element, or one per index of `axis`, shaped to broadcast."""
    if parameter.size == 1:
        return parameter.reshape((1,) * rank)
    shape = [1] * rank
    shape[axis] = parameter.size
    return parameter.reshape(shape)


def check_scale(kind: str, x: Tensor, scale: Tensor, axis: int) -> None:
    """A float32 scale of shape (1,) or one per index of the axis."""
    require(-x.rank <= axis < max(x.rank, 1), f"{kind} C1: {x} has no axis {axis}")
    sizes = {(1,), (x.shape[axis],)} if x.rank else {(1,)}
    require(
        scale.shape in sizes and scale.dtype == "f32",
        f"{kind} C2: the scale must be float32 of shape (1,) or one per index of axis {axis} "
        f"of {x}, not {scale}",
    )


def check_quantised(kind: str, *values: Tensor) -> None:
    """Every value has a quantised element type."""
    for value in values:
        require(value.dtype in RANGES, f"{kind} C3: values must be i8 or ui8, not {value}")


def check_zero_point(kind: str, zero_point: int, dtype: str) -> None:
    """The zero point is a value of the type."""
    require(dtype in RANGES, f"{kind} C3: the type must be i8 or ui8, not {dtype!r}")
    low, high = RANGES[dtype]
    require(
        low <= zero_point <= high,
        f"{kind} C4: the zero point must lie in {low}..{high}, not {zero_point}",
    )


def f32(value: Any) -> Any:
    """Round to binary32."""
    return np.float32(value)
