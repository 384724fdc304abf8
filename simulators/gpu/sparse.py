"""Constant matrices of which two in each four along the summed axis are kept, packed.

A matrix b[k, n] of the pattern is two buffers: `kept[n, k / 2]`, the two numbers of each group
of four, and `places[n, k / 8]`, bytes with two groups each. Of a group the lower two bits are
the place of its first number, the next two that of its second, which is behind the first.
"""

from __future__ import annotations

import numpy as np

from tetrapla.ir.graph import Array

GROUP, KEPT, PACKED = 4, 2, 8  # of k: in a group, kept of it, in a byte


def fits(b: Array) -> bool:
    """Whether a matrix [k, n] has the pattern, in whole bytes."""
    k, n = b.shape
    if k % PACKED:
        return False
    groups = (b != 0).reshape(k // GROUP, GROUP, n).sum(axis=1)
    return bool((groups <= KEPT).all())


def packed(b: Array) -> tuple[Array, Array]:
    """(kept, places) of a matrix [k, n] that fits; a missing number is a zero of its group."""
    k, n = b.shape
    groups = np.ascontiguousarray(b.T).reshape(n, k // GROUP, GROUP)
    # numbers before zeros, each in their order
    order = np.argsort(groups == 0, axis=2, kind="stable")[:, :, :KEPT]
    chosen = np.sort(order, axis=2)
    kept = np.take_along_axis(groups, chosen, axis=2).reshape(n, k // GROUP * KEPT)
    nibbles = (chosen[:, :, 0] | chosen[:, :, 1] << 2).astype(np.uint8)
    return kept, nibbles[:, ::2] | nibbles[:, 1::2] << 4


def looked_up(kept: Array, places: Array, k: int, step: Array, column: Array) -> Array:
    """Elements b[step, column] of the buffers, (invocations, steps, columns).

    Args:
        kept: (invocations, n * k / 2).
        places: (n * k / 8,).
        k: extent of the whole matrix.
        step: numbers of its rows.
        column: numbers of its columns.
    """
    rows = step[:, None]
    byte = places[column * (k // PACKED) + rows // PACKED].astype(np.int64)
    nibble = byte >> rows // GROUP % 2 * 4
    first, second = nibble & 3 == rows % GROUP, nibble >> 2 & 3 == rows % GROUP
    pair = column * (k // KEPT) + rows // GROUP * KEPT
    found = kept[:, pair + np.where(first, 0, 1)]
    return np.where(first | second, found, np.zeros((), kept.dtype))
