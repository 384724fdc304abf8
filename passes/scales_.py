"""The numbers of integer quantisation: scales, zero points, integer weights and biases.

Of eight bits, weights are symmetric in -127..127 per output channel, activations asymmetric in
-128..127 per tensor over a range that includes zero, biases int32 at the scale of the products;
other widths alike. All scales are binary32, because that is what the kernels multiply by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array

HIGH = 127  # the largest integer of int8 weights
# the smallest normal binary32: hardware multipliers have no subnormals
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)

# of a large array, how many are worked on at a time, assumed: 4 MiB of float32
PART_ELEMENTS = 2**20

Scales = NDArray[np.float32]


@dataclass(frozen=True)
class Affine:
    """How an integer tensor is read: ``real = (q - zero_point) * scale``.

    Attributes:
        scale: a binary32.
        zero_point: an integer of the type.
        bits: of the signed type.
    """

    scale: float
    zero_point: int
    bits: int = 8

    @property
    def low(self) -> int:
        """The lowest integer."""
        return -1 << self.bits - 1

    @property
    def high(self) -> int:
        """The highest integer."""
        return (1 << self.bits - 1) - 1

    def integer(self, value: float) -> int:
        """The integer that stands for a number: ``clip(rint(value / scale) + zero_point)``."""
        step = np.clip(np.rint(np.float32(value) / np.float32(self.scale)), -(2.0**17), 2.0**17)
        return int(np.clip(step + self.zero_point, self.low, self.high))


def affine(low: float, high: float, bits: int = 8) -> Affine:
    """The reading of a tensor whose values lie in ``low..high``.

    The range is widened to include zero, which so has an exact integer (padding and ReLU need
    it). Of eight bits: scale = f32((high - low) / 255), zero point = clip(rint(-128 - low /
    scale)). A tensor of zeros has scale 1.
    """
    unit = Affine(1.0, 0, bits)
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = float(np.float32((high - low) / (unit.high - unit.low)))
    if scale < SMALLEST_SCALE:
        scale = 1.0
    zero_point = int(np.clip(np.rint(unit.low - low / scale), unit.low, unit.high))
    return Affine(scale, zero_point, bits)


def weight_scales(
    weights: Array, axis: int | None, least: NDArray[Any] | float = 0.0, top: int = HIGH
) -> Scales:
    """``max|w| / top`` per index of `axis` (or one for the whole tensor); 1 where all are zero.

    Args:
        weights: finite floats.
        axis: of the output channels.
        least: where the quotient is smaller, this takes its place (see `least_scales`).
        top: the largest integer.
    """
    others = tuple(i for i in range(weights.ndim) if i != axis)
    # the largest and the smallest, because magnitudes would be a second array of that size
    held = np.asarray(weights, np.float32)
    high, low = held.max(axis=others, initial=0), held.min(axis=others, initial=0)
    tops = np.maximum(high, -low).reshape(-1)
    scales = tops / np.float32(top)
    raised = np.maximum(scales, np.asarray(least, np.float64).astype(np.float32))
    return np.where(tops == 0, np.float32(1), raised).astype(np.float32)


def on_one_grid(weights: Array) -> bool:
    """Whether all weights are whole multiples of the largest magnitude over 127.

    So are those that were int8 under one scale before: another one would round them again.
    The scale, found again from a product of it, is off by two roundings, and so is each weight.
    """
    flat = np.asarray(weights, np.float32).reshape(-1)
    scale = float(max(flat.max(initial=0), -flat.min(initial=0))) / HIGH
    if scale < SMALLEST_SCALE:
        return False
    for part in range(0, flat.size, PART_ELEMENTS):
        held = flat[part : part + PART_ELEMENTS].astype(np.float64)
        if (np.abs(np.rint(held / scale) * scale - held) > 2.0**-23 * np.abs(held)).any():
            return False
    return True


def least_scales(bias: Array | None, x_scale: float, y_scale: float) -> NDArray[np.float64]:
    """Below which weight scales are of no use.

    A channel whose weights are almost zero would have a bias beyond int32: its scale is raised
    until the bias is at most 2^30, as ONNX Runtime's quantiser does. And a channel that moves
    the result by less than 2^-29 of a step (2^31 products of 2^-60) keeps a normal multiplier.
    """
    held = np.zeros(1) if bias is None else np.abs(bias.astype(np.float64))
    return np.maximum(held / (x_scale * 2.0**30), y_scale / x_scale * 2.0**-60)


def integer_weights(
    weights: Array, scales: Scales, axis: int | None, top: int = HIGH
) -> NDArray[np.int8]:
    """``clip(rint(w / scale), -top, top)``."""
    shape = [1] * weights.ndim
    if axis is not None:
        shape[axis] = -1
    wide = np.broadcast_to(scales.reshape(shape), weights.shape)
    integers = np.empty(weights.shape, np.int8)
    for part in parts(weights):
        steps = np.rint(weights[part].astype(np.float32) / wide[part])
        integers[part] = np.clip(steps, -top, top)
    return integers


def parts(array: Array) -> Iterator[slice]:
    """Slices of the first axis, of a few megabytes: what is computed of a part is small."""
    rows = max(1, PART_ELEMENTS * len(array) // max(1, array.size))
    yield from (slice(first, first + rows) for first in range(0, len(array), rows))


def integer_bias(layer: str, bias: Array, products: Scales) -> NDArray[np.int32]:
    """``rint(b / (x_scale * w_scale))``.

    Args:
        layer: for the message.
        bias: floats, one per channel.
        products: the scale of the accumulators, one or one per channel.

    Raises:
        ModelError: a value does not fit int32 (or is not finite).
    """
    with np.errstate(all="ignore"):
        steps = np.rint(bias.astype(np.float64) / products.astype(np.float64))
    fits = np.abs(steps) < 2**31
    if not fits.all():
        value = bias[~fits][0]
        raise ModelError(
            f"{layer}: a bias must fit int32 in steps of its accumulator's scale, not {value}; "
            "calibrate on data that the layer's input really sees"
        )
    return steps.astype(np.int32)


def multipliers(layer: str, products: Scales, y_scale: float) -> Scales:
    """``f32(f32(x_scale * w_scale) / y_scale)``, from accumulator to result.

    Raises:
        ModelError: one is not a normal positive binary32.
    """
    with np.errstate(all="ignore"):
        found = products / np.float32(y_scale)
    usable = np.isfinite(found) & (found >= SMALLEST_SCALE)
    if not usable.all():
        raise ModelError(
            f"{layer}: a requantisation multiplier must be a normal binary32, "
            f"not {found[~usable][0]}; rescale the layer's weights"
        )
    return found
