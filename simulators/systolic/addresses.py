"""The systolic data set-up: which byte of the unified buffer feeds which array row when."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.systolic.tables import Descriptor


@lru_cache(maxsize=32)
def outside_and_address(
    descriptor: Descriptor, row: int, count: int, tap: int, lanes: int, width: int = 1
) -> tuple[Array | None, Array]:
    """Where output rows and taps read.

    Args:
        descriptor: the window.
        row: the first output row.
        count: how many of them.
        tap: the first tap, channel fastest.
        lanes: how many of them.
        width: bytes of an element.

    Returns:
        The mask (count, lanes) of what lies in the padding, None where nothing does, and the
        addresses (count, lanes), 0 in the padding. The arrays are shared: do not write them.
    """
    d = descriptor
    m, k = np.arange(row, row + count), np.arange(tap, tap + lanes)
    ox, oy, image = m % d.out_w, m // d.out_w % d.out_h, m // (d.out_w * d.out_h)
    c, kx, ky = k % d.channels, k // d.channels % d.kernel_w, k // (d.channels * d.kernel_w)
    top, left = oy * d.stride_y - d.pad_top, ox * d.stride_x - d.pad_left
    down, right = ky * d.dilation_y, kx * d.dilation_x
    # one sum of a part by rows and a part by taps: this is the machine's inner loop
    rows = d.base + image * d.image_stride + top * d.row_stride + left * d.pixel_stride
    taps = c * width + down * d.row_stride + right * d.pixel_stride
    address = (rows[:, None] + taps).astype(np.intp, copy=False)
    if _inside(top, down, d.height) and _inside(left, right, d.width):
        return None, address
    if _even(down) and _even(right):  # taps of one pixel, as on a small array: one answer
        down, right = down[:1], right[:1]
    y, x = top[:, None] + down, left[:, None] + right
    outside = (y < 0) | (y >= d.height) | (x < 0) | (x >= d.width)
    if not outside.any():
        return None, address
    found = np.where(outside, 0, address).astype(np.intp, copy=False)
    return np.broadcast_to(outside, found.shape), found


def _even(steps: Array) -> bool:
    """Whether all are alike."""
    return bool((steps == steps[0]).all())


def _inside(starts: Array, steps: Array, size: int) -> bool:
    """Whether every start with every step lies in 0..size - 1."""
    return bool(starts.min() + steps.min() >= 0 and starts.max() + steps.max() < size)
