"""Random numbers of the analog effects, addressed so that chunks and order do not matter.

Programming draws one full-precision normal per cell. A read needs one normal per converted
column, hundreds of millions per data set: these come from half a Philox word each, through a
table of 65,536 equally likely quantiles (|z| <= 4.3, unit variance).
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.random_ import Key, normal_of, normals, philox

PROGRAMMING: Final = 1
READ: Final = 2

_HALVES = 8  # 16-bit halves in a block of Philox


def programming(key: Key, layer: int, tile: int, shape: tuple[int, int]) -> Array:
    """Standard normals of one tile's cells, float64 [rows, columns]; the same at every read."""
    return normals(key.at(layer=layer, tile=tile, purpose=PROGRAMMING, read=0), shape)


def reading(
    key: Key, layer: int, tile: int, invocations: range, start: int, count: int
) -> Array:
    """Standard normals of conversions, float32 [invocations, count].

    Args:
        key: its `read` is the number of the run's first invocation.
        layer: number of the product.
        tile: number of the tile in it.
        invocations: counted from the first of the run.
        start: the first conversion of the invocation that is wanted.
        count: how many.
    """
    first, last = start // _HALVES, -(-(start + count) // _HALVES)
    element = np.arange(first, last, dtype=np.uint64)[None, :]
    read = np.arange(invocations.start, invocations.stop, dtype=np.uint64)[:, None]
    lanes = philox(
        (element, read + np.uint64(key.read), layer << 16 | tile, READ), (key.seed, key.chip)
    )
    words = np.empty((len(invocations), last - first, 4), np.dtype("<u4"))
    for lane, word in enumerate(lanes):
        words[:, :, lane] = word
    # the lower half of a word comes first
    halves = words.view(np.dtype("<u2")).reshape(len(invocations), -1)
    skip = start - first * _HALVES
    drawn: Array = quantiles().take(halves[:, skip : skip + count])
    return drawn


@cache
def quantiles() -> Array:
    """The middles of 2^16 equal parts of a normal, scaled to unit variance; ascending."""
    middle = (np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)) + np.uint32(1 << 15)
    z = normal_of(middle)
    table = (z / np.sqrt(np.mean(z * z))).astype(np.float32)
    table.setflags(write=False)
    return np.asarray(table)
