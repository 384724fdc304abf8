"""Zeros among the weights: tiles that need no pass, and tiles that keep two of each four taps.

Both look at the actual numbers, so weights that are not known (shape-only modules) count as
dense, and so do the zeros beside the diagonal blocks of packed groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress as selected
from typing import NamedTuple

import numpy as np

from tetrapla.ir.graph import Array

FOUR, KEPT = 4, 2


class Span(NamedTuple):
    """Taps of one pass; `sparse` where two of each four of them are kept."""

    tap: int
    taps: int
    sparse: bool


def spans(weights: Array, height: int, compressed: bool) -> list[Span]:
    """How the taps of some columns are cut into passes, those without effect left out.

    Args:
        weights: (taps, columns), known and not packed.
        height: rows of the array.
        compressed: whether the array takes compressed tiles.

    Returns:
        At least one: a result of zeros must be written, too.
    """
    there = weights != 0
    found = list(_cut(there, height)) if compressed else dense(len(there), height)
    if not found:
        return found
    used = np.logical_or.reduceat(there.any(axis=1), [span.tap for span in found])
    return found if used.all() else [*selected(found, used)] or found[:1]


def dense(taps: int, height: int) -> list[Span]:
    """The passes where nothing is known of the weights."""
    return [Span(tap, min(height, taps - tap), False) for tap in range(0, taps, height)]


def two_of_four(weights: Array) -> bool:
    """Whether each four taps in a row of each column hold two non-zeros at most."""
    return bool((_quads(weights != 0).sum(axis=1) <= KEPT).all())


def compress(weights: Array) -> tuple[Array, Array]:
    """Values and positions of a tile that is `two_of_four`.

    Args:
        weights: (taps, columns).

    Returns:
        The values, two rows for each four taps, in the order of the taps; and for each where
        among the four it stands, 0..3, uint8. Where fewer than two are not zero, zeros stay.
    """
    quads = _quads(weights)
    # the two smallest: non-zeros first, then zeros, each in the order of the taps
    rank = np.arange(FOUR, dtype=np.uint8)[:, None] + FOUR * (quads == 0).astype(np.uint8)
    first = rank.min(axis=1)
    second = np.where(rank == first[:, None], np.uint8(2 * FOUR), rank).min(axis=1)
    first, second = first % FOUR, second % FOUR
    order = np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1)
    values = np.take_along_axis(quads, order, axis=1)
    shape = (-1, weights.shape[1])
    return values.reshape(shape), order.reshape(shape).astype(np.uint8)


def stored(weights: Array, name: str, sparse: bool) -> tuple[bytes, int]:
    """A tile as it lies in DRAM, and its rows there.

    Args:
        weights: (taps, columns).
        name: of `STORED`; an int4 row is padded to a byte, low nibble first.
        sparse: the kept values, then their 2-bit positions, four a byte, low bits first.
    """
    if not sparse:
        return _packed(weights, name), len(weights)
    values, positions = compress(weights)
    flat = np.zeros(positions.size + -positions.size % FOUR, np.uint8)
    flat[: positions.size] = positions.ravel()
    shifted = flat.reshape(-1, FOUR) << np.arange(0, 8, 2, dtype=np.uint8)
    packed = np.bitwise_or.reduce(shifted, axis=1).astype(np.uint8)
    return _packed(values, name) + packed.tobytes(), len(values)


def _packed(values: Array, name: str) -> bytes:
    """Row by row."""
    if name != "int4":
        return np.ascontiguousarray(values).tobytes()
    rows, columns = values.shape
    nibbles = np.zeros((rows, columns + columns % 2), np.uint8)
    nibbles[:, :columns] = values.astype(np.int8).view(np.uint8) & 15
    pairs = nibbles[:, ::2] | nibbles[:, 1::2] << 4
    return bytes(pairs.tobytes())


def _cut(there: Array, height: int) -> Iterator[Span]:
    """For compressed tiles, by where weights are not zero, (taps, columns)."""
    wide = FOUR * (height // KEPT)  # taps that a compressed tile serves
    fits = (_quads(there).sum(axis=1) <= KEPT).all(axis=1)
    tap = 0
    while tap < len(there):
        sparse = wide > 0
        if sparse and tap % FOUR:
            sparse = two_of_four(there[tap : tap + wide])
        elif sparse:
            sparse = bool(fits[tap // FOUR : (tap + wide) // FOUR].all())
        taps = min(wide if sparse else height, len(there) - tap)
        yield Span(tap, taps, sparse)
        tap += taps


def _quads(weights: Array) -> Array:
    """(groups of four, 4, columns), the last one filled up with zeros."""
    taps, columns = weights.shape
    full = np.zeros((taps + -taps % FOUR, columns), weights.dtype)
    full[:taps] = weights
    return full.reshape(-1, FOUR, columns)
