"""Where a place of a resized axis lies on the operand, and which values it mixes.

The formulas are those of ONNX's Resize (docs/Operators.md) and R. Keys, "Cubic convolution
interpolation for digital image processing", IEEE Trans. ASSP, 1981, equation 15, for cubics.
"""

from typing import Any, NamedTuple

import numpy as np

from tetrapla.ir.graph import Array

CROP = "tf_crop_and_resize"
COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    CROP,
)
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


class Axis(NamedTuple):
    """An axis of `old` values that becomes `new` long; `window` is the region of interest."""

    old: int
    new: int
    scale: Any  # float32
    window: tuple[float, float]

    @property
    def whole(self) -> bool:
        """Whether the axis stays as it is."""
        same = self.old == self.new and float(self.scale) == 1
        return same and self.window == (0, 1)


def coordinates(axis: Axis, mode: str) -> Array:
    """The coordinate of each place on the operand, [new], float32."""
    one, half = np.float32(1), np.float32(0.5)
    scale, length = axis.scale, axis.scale * np.float32(axis.old)  # before rounding to `new`
    last = np.float32(axis.old - 1)
    x = np.arange(axis.new, dtype=np.float32)
    match mode:
        case "align_corners":
            return x * last / (length - one) if length != one else np.zeros_like(x)
        case "asymmetric":
            return np.asarray(x / scale)
        case "tf_crop_and_resize":
            start, end = np.float32(axis.window[0]), np.float32(axis.window[1])
            if length == one:
                middle = (end - start) * last * half
                return np.full_like(x, start * last + middle)
            return np.asarray(start * last + x * ((end - start) * last / (length - one)))
        case "half_pixel_symmetric":
            shift = np.float32(axis.old) * half * (one - np.float32(axis.new) / length)
            return np.asarray(shift + (x + half) / scale - half)
        case "pytorch_half_pixel" if length == one:
            return np.full_like(x, -half)
        case _:
            return np.asarray((x + half) / scale - half)


def nearest(x: Array, mode: str) -> Array:
    """The place nearest to each coordinate, int64; it may lie outside."""
    half = np.float32(0.5)
    match mode:
        case "floor":
            found = np.floor(x)
        case "ceil":
            found = np.ceil(x)
        case "round_prefer_ceil":
            found = np.floor(x + half)
        case _:
            found = np.ceil(x - half)
    return np.asarray(found).astype(np.int64)


def taps(x: Array, mode: str, shrink: float, cubic_coeff_a: float) -> tuple[Array, Array]:
    """Which places each coordinate mixes and their weights, both [taps, new].

    A `shrink` below 1 widens the filter so that every value counts (antialias).
    """
    reach = 1 if mode == "linear" else 2
    half = -int(np.floor(-reach / shrink))  # taps on either side
    left = np.ceil(x.astype(np.float64)) - 1  # so the distance to it lies in (0, 1]
    offsets = np.arange(1 - half, half + 1)[:, None]
    distance = np.abs((offsets - (x - left)) * shrink)
    if mode == "linear":
        weights = np.clip(1 - distance, 0, 1)
    else:
        weights = cubic(distance, float(np.float32(cubic_coeff_a)))
    if shrink < 1:
        weights = weights / weights.sum(axis=0)
    return (left + offsets).astype(np.int64), weights


def cubic(distance: Array, a: float) -> Array:
    """Keys's kernel at each distance."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
