"""A layer's weights in fewer bits, and what that does to the layer's mean result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrapla.ir.graph import DTYPES, Array, Attribute, Node
from tetrapla.ir.op import OPS
from tetrapla.ir.quant.dialect import along, stored
from tetrapla.ir.quant.micro import MxQuantize
from tetrapla.ir.quant.small import FORMATS as SMALL_FLOATS
from tetrapla.passes.moments_ import Moments
from tetrapla.passes.rounding_ import Floats, as_weights, best_scales, repaired, rows_of, steps
from tetrapla.passes.scales_ import SMALLEST_SCALE, Scales, integer_weights, weight_scales
from tetrapla.passes.scheme_ import Format


@dataclass(frozen=True)
class Stored:
    """Weights in fewer bits and how they are read.

    Attributes:
        array: of the weights' shape and a narrow type.
        scales: as the operator `kind` takes them.
        kind: qnn.dequantize or qnn.dequantize_blocks.
        attributes: of that operator.
    """

    array: Array
    scales: Array
    kind: str
    attributes: Mapping[str, Attribute]

    @property
    def real(self) -> Array:
        """The numbers that stand for the weights, float32."""
        return np.asarray(OPS[self.kind].evaluate(self.array, self.scales, **self.attributes))


def channel_axis(node: Node) -> int | None:
    """Of the weights: filters of a convolution, columns of a plain matrix; None else."""
    if node.kind == "nn.conv2d":
        return 0
    return 1 if len(node.operands[1].shape) == 2 else None


def integers(
    node: Node,
    array: Array,
    bits: int,
    rounding: str,
    per_channel: bool,
    least: NDArray[Any],
    moments: Moments | None,
) -> Stored:
    """The weights of a layer in ``1 - 2^(bits-1) .. 2^(bits-1) - 1`` times a scale.

    Args:
        node: nn.conv2d or nn.matmul.
        array: its second operand, finite.
        bits: 8 or 4.
        rounding: see `rounding_`; "gptq" without moments rounds as "mse" does.
        per_channel: one scale per output channel, else one alone.
        least: the smallest scales of use (`scales_.least_scales`).
        moments: of the layer's inputs.
    """
    top = (1 << bits - 1) - 1
    held = DTYPES[f"i{bits}"]
    axis = channel_axis(node) if per_channel else None
    least = least if axis is not None else np.asarray(least.max(initial=0))
    if rounding == "nearest" or channel_axis(node) is None:
        scales = weight_scales(array, axis, least, top)
        return _by_axis(
            integer_weights(array, scales, axis, top).astype(held, copy=False), scales, axis
        )
    rows = rows_of(array, node.kind, groups_of(node))
    second = None if moments is None or rounding != "gptq" else moments.second
    if axis is None:
        found = best_scales(rows.reshape(1, 1, -1), top, None).reshape(-1)
    else:
        found = best_scales(rows, top, second).reshape(-1)
    scales = np.maximum(found, least).astype(np.float32)
    wide = np.broadcast_to(scales.astype(np.float64), rows.shape[0] * rows.shape[1])
    made = _rounded(rows, wide.reshape(*rows.shape[:2], 1), top, second)
    return _by_axis(as_weights(made, node.kind, array.shape).astype(held), scales, axis)


def grouped(
    node: Node,
    array: Array,
    bits: int,
    rounding: str,
    group: int,
    moments: Moments | None,
) -> Stored:
    """Integers with one scale per channel and `group` indices of the summed axis.

    Args:
        node: nn.conv2d, or nn.matmul of a plain matrix.
        array: its second operand, finite.
        bits: 8 or 4.
        rounding: see `rounding_`.
        group: channels of a convolution, rows of a matrix; the last group may be shorter.
        moments: of the layer's inputs.
    """
    top = (1 << bits - 1) - 1
    rows = rows_of(array, node.kind, groups_of(node))
    taps = rows.shape[-1]
    size = group * (prod(array.shape[2:]) if node.kind == "nn.conv2d" else 1)
    second = None if moments is None or rounding != "gptq" else moments.second
    scales = _group_scales(rows, size, top, rounding, second)
    wide = np.repeat(scales.astype(np.float64), size, axis=-1)[..., :taps]
    made = as_weights(_rounded(rows, wide, top, second), node.kind, array.shape)
    if node.kind == "nn.matmul":
        blocks, shape = (group, 1), scales[0].T
    else:
        blocks = (1, group, *array.shape[2:])
        shape = scales.reshape(array.shape[0], -1, 1, 1)
    kind = "qnn.dequantize_blocks"
    held = made.astype(DTYPES[f"i{bits}"])
    return Stored(held, np.ascontiguousarray(shape), kind, {"blocks": blocks})


def small_floats(node: Node, array: Array, form: Format, per_channel: bool) -> Stored:
    """The weights over their largest, times the format's largest, as that format.

    Args:
        node: nn.conv2d or nn.matmul.
        array: its second operand, finite.
        form: a small float without blocks.
        per_channel: one scale per output channel, else one alone.
    """
    axis = channel_axis(node) if per_channel else None
    others = tuple(i for i in range(array.ndim) if i != axis)
    largest = np.abs(array).max(axis=others, initial=0).reshape(-1)
    scales = np.array([small_scale(float(top), form.dtype) for top in largest], np.float32)
    steps_ = array / along(scales, array.ndim, axis or 0)
    return _by_axis(stored(steps_, 0, form.dtype), scales, axis)


def microscaled(node: Node, array: Array, form: Format) -> Stored:
    """The weights in an MX format, in blocks along the summed axis."""
    axis = 1 if node.kind == "nn.conv2d" else array.ndim - 2
    made, scales = MxQuantize.evaluate(
        array, axis=axis, block_size=form.block, dtype=form.dtype
    )
    blocks = tuple(form.block if i == axis else 1 for i in range(array.ndim))
    return Stored(made, scales, "qnn.dequantize_blocks", {"blocks": blocks})


def small_scale(largest: float, dtype: str) -> float:
    """What maps a magnitude to the small float's largest number; 1 for zero."""
    scale = float(np.float32(largest / SMALL_FLOATS[dtype].largest))
    return scale if scale >= SMALLEST_SCALE else 1.0


def mean_loss(node: Node, array: Array, real: Array, moments: Moments) -> NDArray[np.float64]:
    """What rounding takes from each channel's result on average, shape (channels,).

    Added to the bias it makes good what the rounding shifts (Nagel et al., "Data-free
    quantization through weight equalization and bias correction", ICCV 2019, section 4.2, with
    the means measured).

    Args:
        node: the layer.
        array: its weights.
        real: what stands for them.
        moments: of its inputs.
    """
    rows = rows_of(array, node.kind, groups_of(node)) - rows_of(
        real, node.kind, groups_of(node)
    )
    return np.asarray(np.einsum("gck,gk->gc", rows, moments.mean)).reshape(-1)


def groups_of(node: Node) -> int:
    """Of a convolution; a product has one."""
    return node.int("groups") if node.kind == "nn.conv2d" else 1


def _by_axis(array: Array, scales: Scales, axis: int | None) -> Stored:
    return Stored(array, scales, "qnn.dequantize", {"zero_point": 0, "axis": axis or 0})


def _rounded(rows: Floats, scales: Floats, top: int, second: Floats | None) -> Array:
    spread = np.broadcast_to(scales, rows.shape)
    made = steps(rows, spread, top) if second is None else repaired(rows, spread, top, second)
    return made.astype(np.int8)


def _group_scales(
    rows: Floats, size: int, top: int, rounding: str, second: Floats | None
) -> Scales:
    """Of each `size` taps, shape [groups, channels, ceil(taps / size)]."""
    starts = range(0, rows.shape[-1], size)
    found = np.empty((*rows.shape[:2], len(starts)))
    for i, start in enumerate(starts):
        part = slice(start, start + size)
        inner = None if second is None else second[:, part, part]
        if rounding == "nearest":
            largest = np.abs(rows[..., part]).max(axis=-1, initial=0)
            found[..., i] = np.where(largest == 0, 1.0, largest / top)
        else:
            found[..., i] = best_scales(rows[..., part], top, inner)
    return found.astype(np.float32)
