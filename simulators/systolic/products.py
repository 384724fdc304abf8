"""What passes through the PEs: exact integer products by BLAS, float sums in the PEs' order.

An integer product goes through float32 where every partial sum is at most 2^24, so that each
is an integer that float32 holds and the order of addition does not matter: int8 in parts of
512 taps. int16 goes through float64, whose 53 bits hold 2^22 taps of products of 30 bits.
"""

from __future__ import annotations

import numpy as np

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.simulators.systolic.addresses import outside_and_address
from tetrapla.simulators.systolic.formats import ACTIVATION, SUMS
from tetrapla.simulators.systolic.sparse import Tile
from tetrapla.simulators.systolic.tables import Descriptor

_EXACT_TAPS = 2**24 // 2**15  # 255 * 128 < 2^15


def activations(
    buffer: Array, d: Descriptor, row: int, count: int, tap: int, lanes: int, fmt: int
) -> Array:
    """What MM feeds, (invocations, count, lanes), with the padding's value.

    float32 for int8 and the floats, float64 for int16: what the product takes.
    """
    kind = ACTIVATION[fmt]
    width = 1 if kind == "int8" else 2
    outside, address = outside_and_address(d, row, count, tap, lanes, width)
    values = np.take(buffer, address, axis=1)
    if kind == "int8":
        real = (values.view(np.uint8) if d.unsigned else values).astype(np.float32)
    else:
        high = np.take(buffer, address + 1, axis=1)
        halves = values.view(np.uint8) | high.view(np.uint8).astype(np.uint16) << 8
        if kind == "int16":
            real = halves.view(np.int16).astype(np.float64)
        else:
            dtype = DTYPES["bf16" if kind == "bf16" else "f16"]
            real = halves.view(dtype).astype(np.float32)
    if outside is not None:
        real[:, outside] = d.pad_value
    return real


def sums(real: Array, tile: Tile, fmt: int, start: Array | None = None) -> Array:
    """The sums that one MM makes of `real` (invocations, rows, lanes): (.., rows, columns).

    Args:
        real: what `activations` gave.
        tile: the weights; taps beyond them are zero.
        fmt: as in MM.
        start: what the sums begin with; zero without.
    """
    if SUMS[fmt] == "f32":
        return _in_order(real, tile, start)
    weights = tile.real(np.float32 if fmt == 0 else np.float64)
    used = min(real.shape[2], weights.shape[-2])
    dtype = DTYPES[SUMS[fmt]]
    step = _EXACT_TAPS if fmt == 0 else used
    total: Array | None = start
    for first in range(0, used, step):
        part = slice(first, min(first + step, used))
        made = _product(real[..., part], weights[..., part, :]).astype(dtype)
        total = made if total is None else total + made
    assert total is not None, "a tile has at least one row"
    return total


def _product(real: Array, weights: Array) -> Array:
    """One product for all invocations, or one for each where the weights are their own."""
    if weights.ndim == 3:
        return np.asarray(real @ weights)
    flat = real.reshape(-1, real.shape[2]) @ weights
    return flat.reshape(*real.shape[:2], -1)


def _in_order(real: Array, tile: Tile, start: Array | None) -> Array:
    weights, lanes = tile.real(np.float32), real.shape[2]
    shape = (*real.shape[:2], weights.shape[-1])
    total = np.zeros(shape, np.float32) if start is None else start.copy()
    taps = np.ascontiguousarray(np.moveaxis(real, 2, 0))[..., None]
    product = np.empty(shape, np.float32)
    with np.errstate(all="ignore"):  # overflow is the format's, not an error
        for k in range(lanes):
            held = weights[..., k, None, :] if k < weights.shape[-2] else np.float32(0)
            np.multiply(taps[k], held, out=product)
            total += product
    return total
