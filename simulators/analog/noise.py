"""Random numbers of the analog effects, addressed so that chunks and order do not matter.

Every effect has a purpose of its own, so switching one off leaves the numbers of the others.
What a cell draws once (programming, drift, faults, spread) is one full-precision normal or
uniform each. A read needs one normal per converted column, hundreds of millions per data set:
these come from half a Philox word each, through a table of 65,536 equally likely quantiles
(|z| <= 4.3, unit variance; the distribution is off a normal's by less than 2^-16). With the
extra `fast` they are compiled: the same numbers, some nine times as fast.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.random_ import Key, normal_of, normals, philox, uniforms

PROGRAMMING: Final = 1  # a cell's error
READ: Final = 2  # of one conversion
DRIFT: Final = 3  # a cell's way through time
FLICKER: Final = 4  # 1/f noise of a cell that stays for a run
STUCK: Final = 5  # which cells do not move
OPEN_ROW: Final = 6
OPEN_COLUMN: Final = 7
SHORT_ROW: Final = 8
SHORT_COLUMN: Final = 9
SPREAD: Final = 10  # of a cell, for as long as the chip lives
CONVERTER: Final = 11  # mismatch of an ADC
UNIT: Final = 12  # of an ADC's elements
COMPARATOR: Final = 13

_HALVES = 8  # 16-bit halves in a block of Philox
_WORTH_COMPILING: Final = 1 << 16  # normals, assumed: importing numba takes half a second


def programming(key: Key, layer: int, tile: int, shape: tuple[int, int]) -> Array:
    """Standard normals of one tile's cells, float64 [rows, columns]; the same at every read."""
    return of_cells(key.at(layer=layer, tile=tile), PROGRAMMING, shape)


def of_cells(key: Key, purpose: int, shape: tuple[int, ...]) -> Array:
    """Standard normals of a tile's cells or lines, float64; `key` has its layer and tile."""
    return normals(key.at(purpose=purpose, read=0), shape)


def chances(key: Key, purpose: int, shape: tuple[int, ...]) -> Array:
    """Uniforms in (0, 1) of a tile's cells or lines, float64; `key` has its layer and tile."""
    return uniforms(key.at(purpose=purpose, read=0), shape)


def reading(
    key: Key,
    layer: int,
    tile: int,
    invocations: range,
    start: int,
    count: int,
    *,
    fast: bool | None = None,
) -> Array:
    """Standard normals of conversions, float32 [invocations, count].

    Args:
        key: its `read` is the number of the run's first invocation.
        layer: number of the product.
        tile: number of the tile in it.
        invocations: counted from the first of the run.
        start: the first conversion of the invocation that is wanted.
        count: how many.
        fast: compiled; None where numba is there and there are enough of them.
    """
    address, read = addresses(key, layer, tile, invocations)
    if compiles(len(invocations) * count, fast):
        from tetrapla.simulators.analog import fast as compiled

        out = np.empty((len(read), count), np.float32)
        compiled.fill(address, read, start, quantiles(), out)
        return out
    return _plain(address, read, start, count)


def addresses(key: Key, layer: int, tile: int, invocations: range) -> tuple[Array, Array]:
    """Where reads of invocations draw from, u64.

    Returns:
        layer << 16 | tile, purpose, seed, chip; and the number of every read.
    """
    numbers = np.arange(invocations.start, invocations.stop, dtype=np.uint64)
    place = np.array([layer << 16 | tile, READ, key.seed, key.chip], np.uint64)
    return place, numbers + np.uint64(key.read)


def compiles(count: int, fast: bool | None) -> bool:
    """Whether so many normals are worth compiled code, where it is there and not decided."""
    if fast is not None:
        return fast
    return count >= _WORTH_COMPILING and _has_numba()


@cache
def _has_numba() -> bool:
    # the search takes longer than a thousand normals
    return find_spec("numba") is not None


def _plain(address: Array, read: Array, start: int, count: int) -> Array:
    place, purpose, seed, chip = (int(word) for word in address)
    first, last = start // _HALVES, -(-(start + count) // _HALVES)
    element = np.arange(first, last, dtype=np.uint64)[None, :]
    lanes = philox((element, read[:, None], place, purpose), (seed, chip))
    words = np.empty((len(read), last - first, 4), np.dtype("<u4"))
    for lane, word in enumerate(lanes):
        words[:, :, lane] = word
    # the lower half of a word comes first
    halves = words.view(np.dtype("<u2")).reshape(len(read), _HALVES * (last - first))
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
