"""The dialect itself, and the constraints and the rounding that its operators share."""

from typing import Any

import numpy as np

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.mlir import Dialect
from tetrapla.ir.op import Tensor, require
from tetrapla.ir.quant.small import FORMATS, to_small

# the integer types that hold quantised values, with their ranges
RANGES = {
    "i2": (-2, 1),
    "ui2": (0, 3),
    "i4": (-8, 7),
    "ui4": (0, 15),
    "i8": (-128, 127),
    "ui8": (0, 255),
    "i16": (-32768, 32767),
    "ui16": (0, 65535),
}
BYTES = ("i8", "ui8")  # the types of ONNX Runtime's integer kernels
NAMES = {held: name for name, held in DTYPES.items()}


class Quant(Dialect, name="qnn"):
    """Integer arithmetic as ONNX Runtime computes it: float32 scales, ties to even."""


def saturate(rounded: Array, dtype: str) -> Array:
    """Clip to an integer type. NaN becomes the type's minimum."""
    low, high = RANGES[dtype]
    known = np.where(np.isnan(rounded), low, rounded)
    return np.asarray(np.clip(known, low, high).astype(DTYPES[dtype]))


def stored(steps: Array, zero_point: Array | int, dtype: str) -> Array:
    """Float32 steps as a quantised type: rounded, then moved, then saturated.

    A small float rounds the steps to its own grid and has no zero point.
    """
    if dtype in FORMATS:
        return to_small(steps, dtype)
    return saturate(np.rint(steps).astype(np.float64) + zero_point, dtype)


def along(parameter: Array, rank: int, axis: int) -> Array:
    """A scale of one element, or one per index of `axis`, shaped to broadcast."""
    if parameter.size == 1:
        return parameter.reshape((1,) * rank)
    shape = [1] * rank
    shape[axis] = parameter.size
    return parameter.reshape(shape)


def check_per_axis(
    constraints: str, x: Tensor, parameter: Tensor, axis: int, what: str
) -> None:
    """A parameter of shape (1,) or one per index of the axis."""
    sizes = {(1,), (x.shape[axis],)} if x.rank else {(1,)}
    require(
        parameter.shape in sizes,
        f"{constraints}: the {what} must be of shape (1,) or one per index of axis {axis} "
        f"of {x}, not {parameter}",
    )


def check_axis(constraint: str, x: Tensor, axis: int) -> None:
    """The axis exists; a scalar has axis 0 and -1."""
    require(-max(x.rank, 1) <= axis < max(x.rank, 1), f"{constraint}: {x} has no axis {axis}")


def check_scale(kind: str, x: Tensor, scale: Tensor, axis: int) -> None:
    """A float32 scale of shape (1,) or one per index of the axis."""
    check_axis(f"{kind} C1", x, axis)
    sizes = {(1,), (x.shape[axis],)} if x.rank else {(1,)}
    require(
        scale.shape in sizes and scale.dtype == "f32",
        f"{kind} C2: the scale must be float32 of shape (1,) or one per index of axis {axis} "
        f"of {x}, not {scale}",
    )


def check_types(constraint: str, accepted: tuple[str, ...], *values: Tensor) -> None:
    """Every value has one of the accepted element types."""
    for value in values:
        require(
            value.dtype in accepted,
            f"{constraint}: values must be {_either(accepted)}, not {value}",
        )


def check_zero_point(kind: str, zero_point: int, dtype: str) -> None:
    """The zero point is a value of the integer type."""
    check_target(f"{kind} C3", tuple(RANGES), dtype)
    low, high = RANGES[dtype]
    require(
        low <= zero_point <= high,
        f"{kind} C4: the zero point must lie in {low}..{high}, not {zero_point}",
    )


def check_target(constraint: str, accepted: tuple[str, ...], dtype: str) -> None:
    """The type that an attribute names is one of the accepted ones."""
    require(
        dtype in accepted,
        f"{constraint}: the type must be {_either(accepted)}, not {dtype!r}",
    )


def check_scales(constraint: str, **scales: float) -> None:
    """Scales that are attributes are positive and finite once they are float32."""
    for name, scale in scales.items():
        held = f32(scale)
        require(
            bool(0 < held < np.inf),
            f"{constraint}: {name} must be positive and finite in float32, not {scale}",
        )


def f32(value: Any) -> Any:
    """Round to binary32; too large a number is an infinity."""
    with np.errstate(over="ignore"):
        return np.float32(value)


def _either(names: tuple[str, ...]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
