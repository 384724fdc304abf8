"""The systolic data set-up: which byte of the unified buffer feeds which array row when."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.systolic.tables import Descriptor


@lru_cache(maxsize=32)
def outside_and_address(
    descriptor: Descriptor, row: int, count: int, tap: int, lanes: int
) -> tuple[Array | None, Array]:
    """Where output rows and taps read.

    Args:
        descriptor: the window.
        row: the first output row.
        count: how many of them.
        tap: the first tap, channel fastest.
        lanes: how many of them.

    Returns:
        The mask (count, lanes) of what lies in the padding, None where nothing does, and the
        addresses (count, lanes), 0 in the padding. The arrays are shared: do not write them.
    """
    d = descriptor
    m, k = np.arange(row, row + count), np.arange(tap, tap + lanes)
    ox, oy, image = m % d.out_w, m // d.out_w % d.out_h, m // (d.out_w * d.out_h)
    c, kx, ky = k % d.channels, k // d.channels % d.kernel_w, k // (d.channels * d.kernel_w)
    y = (oy * d.stride_y - d.pad_top)[:, None] + ky * d.dilation_y
    x = (ox * d.stride_x - d.pad_left)[:, None] + kx * d.dilation_x
    address = d.base + (image * d.image_stride)[:, None] + c
    address = address + y * d.row_stride + x * d.pixel_stride
    outside = (y < 0) | (y >= d.height) | (x < 0) | (x >= d.width)
    if not outside.any():
        return None, address.astype(np.intp)
    return outside, np.where(outside, 0, address).astype(np.intp)
