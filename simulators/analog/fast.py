"""Reads compiled (extra `fast`): the numbers of `noise.reading` and of `adc`, bit by bit.

Blocks of Philox go through the ten rounds side by side, a few hundred at a time, so that their
words stay in the first cache until the table is looked up. Every float operation is the one
that NumPy does, in its order and its precision; nothing is contracted or reassociated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np

from tetrapla.ir.graph import Array

_Function = TypeVar("_Function", bound=Callable[..., Any])

_BLOCKS: Final = 256  # at a time, assumed: 4 KiB of words
_HALVES: Final = 8  # 16-bit halves in a block
_HELD: Final = 2048  # normals at a time, assumed: they stay in the first cache
_SHIFT: Final = np.uint64(32)
_LOW: Final = np.uint64(0xFFFFFFFF)
_FIRST: Final = np.uint64(0xD2511F53)
_SECOND: Final = np.uint64(0xCD9E8D57)
_WEYL_0: Final = np.uint64(0x9E3779B9)
_WEYL_1: Final = np.uint64(0xBB67AE85)


def _compiled(function: _Function) -> _Function:
    return cast("_Function", numba.njit(nogil=True, cache=True, error_model="numpy")(function))


@_compiled
def _words(address: Array, read: Any, begin: int, blocks: int, words: Array) -> None:
    """Philox4x32-10 of `blocks` counters from `begin` on, four words each."""
    for block in range(blocks):
        c0, c1 = np.uint64(begin + block), read
        c2, c3 = address[0], address[1]
        k0, k1 = address[2], address[3]
        for _ in range(10):
            a, b = c0 * _FIRST, c2 * _SECOND
            c0, c2 = (b >> _SHIFT) ^ c1 ^ k0, (a >> _SHIFT) ^ c3 ^ k1
            c1, c3 = b & _LOW, a & _LOW
            k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
        at = 4 * block
        words[at] = c0
        words[at + 1] = c1
        words[at + 2] = c2
        words[at + 3] = c3


@_compiled
def _row(address: Array, read: Any, start: int, table: Array, words: Array, out: Array) -> None:
    """Normals of conversions from `start` on in one read; `words` is room for the blocks."""
    count = len(out)
    halves = words.view(np.uint16)
    last = (start + count + _HALVES - 1) // _HALVES
    for begin in range(start // _HALVES, last, _BLOCKS):
        blocks = min(_BLOCKS, last - begin)
        _words(address, read, begin, blocks, words)
        # the lower half of a word comes first
        base = begin * _HALVES - start
        for half in range(max(0, -base), min(blocks * _HALVES, count - base)):
            out[base + half] = table[halves[half]]


@_compiled
def fill(address: Array, reads: Array, start: int, table: Array, out: Array) -> None:
    """Normals of conversions.

    Args:
        address: layer << 16 | tile, purpose, seed, chip, u64.
        reads: number of every read, u64 [reads].
        start: the first conversion of each.
        table: 2^16 quantiles, f32.
        out: written, f32 [reads, conversions].
    """
    words = np.empty(4 * _BLOCKS, np.uint32)
    for read in range(len(reads)):
        _row(address, reads[read], start, table, words, out[read])


@_compiled
def add_codes(
    draws: Any, sums: Array, spread: Array, per_unit: Array, limits: Any, codes: Array
) -> None:
    """Add weight * clip(rint((sums + sqrt(spread) z) per_unit), lowest, highest) to `codes`.

    Args:
        draws: address, reads, start and table as of `fill`.
        sums: floats [reads * places, columns].
        spread: variances of the same shape, f32 or the type of the sums.
        per_unit: steps of a unit, by column, of that type: powers of two, so that this is
            the division by the step.
        limits: lowest and highest code and the weight, of that type.
        codes: floats of the shape, added to.
    """
    address, reads, start, table = draws
    lowest, highest, weight = limits
    columns = sums.shape[1]
    places = len(sums) // len(reads)
    group = min(places, max(1, _HELD // columns))
    words = np.empty(4 * _BLOCKS, np.uint32)
    z = np.empty(group * columns, np.float32)
    for read in range(len(reads)):
        for first in range(0, places, group):
            many = min(group, places - first)
            part = z[: many * columns]
            _row(address, reads[read], start + first * columns, table, words, part)
            for place in range(many):
                row = read * places + first + place
                at = place * columns
                for column in range(columns):
                    noise = np.sqrt(spread[row, column]) * part[at + column]
                    value = np.rint((sums[row, column] + noise) * per_unit[column])
                    value = min(max(value, lowest), highest)
                    codes[row, column] += value * weight


@_compiled
def squares(driven: Array, limit: Any, found: Array, unit: Array) -> None:
    """What `grids.squares` gives.

    Args:
        driven: whole numbers, f32 [vectors, rows].
        limit: of squares in their unit, a power of two that they are below before rounding.
        found: written, f32 [vectors, rows].
        unit: written, f32 [vectors, 1].
    """
    for vector in range(len(driven)):
        # of whole numbers a maximum is found several at a time
        top = np.int32(0)
        for row in range(driven.shape[1]):
            top = max(top, np.int32(driven[vector, row]))
        step = np.float32(1)
        while top * top >= step * limit:
            step *= np.float32(2)
        share = np.float32(1) / step
        unit[vector, 0] = step
        for row in range(driven.shape[1]):
            value = driven[vector, row]
            found[vector, row] = np.rint(value * value * share)
