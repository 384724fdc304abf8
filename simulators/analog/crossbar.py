"""A matrix product on crossbars: slices, DAC digits, column sums, ADC codes, shift and add.

Weights lie in columns as `mapping` says; `cells` has what becomes of them, `reads` one read and
`adc` the codes. Every column (or pair, with signed converters) is converted on its own, for
every digit. Unsigned codes read a sum below zero as zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import cells, noise
from tetrapla.simulators.analog.adc import convert, mismatched
from tetrapla.simulators.analog.cells import Cells
from tetrapla.simulators.analog.fused import add_read
from tetrapla.simulators.analog.mapping import columns
from tetrapla.simulators.analog.program import Product, Tile
from tetrapla.simulators.analog.reads import Reads, linear, read
from tetrapla.simulators.analog.spec import INPUT_BITS, AnalogSpec, lossless_bits
from tetrapla.simulators.random_ import Key

HELD: Final = 1 << 16  # column sums at once: arrays that stay in the cache, and in the process
_FEWEST: Final = 256  # vectors at once: fewer, and reading the matrix takes too long


def digits_of(inputs: Array, digit: int, dac_bits: int) -> Array:
    """One digit of unsigned inputs, the lowest is 0; the shape of `inputs`, float32."""
    return (inputs >> (digit * dac_bits) & (1 << dac_bits) - 1).astype(np.float32)


def folds(product: Product, spec: AnalogSpec) -> bool:
    """Whether every ADC code is the exact sum, so that the slices add up to one product.

    Then y = sum +- 2^(k cell_bits + t dac_bits) code is the integer product itself.
    """
    return spec.sums_are_exact and all(
        max(tile.adc_shifts) == 0 and spec.adc.bits >= lossless_bits(spec, tile.rows)
        for tile in product.tiles
    )


def folded(product: Product, inputs: Array) -> Array:
    """The exact product of unsigned inputs [..., rows] with the tiles' part of the matrix."""
    # float64 is exact: products below 2^16, sums below 2^53
    x = inputs.astype(np.float64)
    if product.groups > 1:
        sums = np.zeros((*x.shape[:-1], product.matrix.shape[1]))
        for tile in product.tiles:
            rows = x[..., tile.row_start : tile.row_stop]
            sums[..., tile.col_start : tile.col_stop] += rows @ product.part(tile)
        return sums.astype(np.int64)
    held = np.zeros(product.matrix.shape)
    for tile in product.tiles:
        area = slice(tile.row_start, tile.row_stop), slice(tile.col_start, tile.col_stop)
        held[area] = product.matrix[area]
    return np.asarray(x @ held).astype(np.int64)


def sliced(
    product: Product,
    spec: AnalogSpec,
    inputs: Array,
    key: Key,
    chunk: int | None = None,
    kept: Sequence[Cells] | None = None,
) -> Array:
    """The product as the arrays give it, int64 [invocations, positions, outputs].

    Args:
        product: the layer.
        spec: the chip.
        inputs: unsigned, [invocations, positions, rows].
        key: its `read` is the number of the first invocation.
        chunk: column sums held at once; the result does not depend on it.
        kept: the cells of its tiles, where they are programmed already.
    """
    invocations, positions, _ = inputs.shape
    result = np.zeros((invocations, positions, product.matrix.shape[1]), np.int64)
    # decided once, by what all blocks read
    fast = noise.compiles(result.size * spec.digits, None)
    for number, tile in enumerate(product.tiles):
        held = cells.programmed(product, number, spec, key) if kept is None else kept[number]
        rows = held.routed(inputs[:, :, tile.row_start : tile.row_stop])
        # every cell has a normal of its own where reads are sampled
        sampled = spec.device.reads == "sampled"
        each = held.placed.size if sampled else held.levels.shape[1]
        room = HELD if sampled else max(HELD, _FEWEST * each)
        for block, places in _blocks(invocations, positions, each, chunk or room):
            area = slice(block.start, block.stop), slice(places.start, places.stop)
            address = key, product.number, product.first_tile + number
            before = product.first_read * spec.digits
            reads = Reads(*address, block, places, positions, before)
            totals = _tile(product, tile, spec, held, rows[area], reads, fast)
            result[(*area, slice(tile.col_start, tile.col_stop))] += totals
    return result


def _tile(
    product: Product,
    tile: Tile,
    spec: AnalogSpec,
    held: Cells,
    inputs: Array,
    reads: Reads,
    fast: bool,
) -> Array:
    flat = inputs.reshape(-1, tile.rows)
    made = columns(product, tile, spec)
    lsb = made.lsb().astype(held.levels.dtype)
    # whole numbers below 2^24 are exact in float32
    narrow = spec.adc.bits + INPUT_BITS <= 24
    codes = np.zeros((len(flat), made.conversions), np.float32 if narrow else np.float64)
    # the usual read, in one pass from sums to codes
    in_one = linear(spec) and spec.device.reads == "closed_form" and not spec.adc.tabled
    for digit in range(spec.digits):
        driven = digits_of(flat, digit, spec.dac.bits)
        weight = 1 << digit * spec.dac.bits
        if in_one and held.read_variance is not None:
            add_read(codes, driven, held, lsb, spec, weight, reads, digit, fast=fast)
            continue
        sums = read(held, made, spec, driven, digit, reads)
        if held.converters is not None:
            sums = mismatched(sums, lsb, held.converters)
        found = convert(sums, spec.adc, lsb)
        found *= weight
        codes += found
    total = made.totals(codes)
    if made.digital_offset:
        total = total - made.digital_offset * flat.sum(axis=1, dtype=np.int64)[:, None]
    return np.asarray(total.astype(np.int64).reshape(*inputs.shape[:2], tile.outputs))


def _blocks(
    invocations: int, positions: int, each: int, held: int
) -> Iterator[tuple[range, range]]:
    """Invocations and positions to do at once; the result does not depend on the cut."""
    places = max(1, min(positions, held // each))
    many = max(1, held // (each * positions)) if places == positions else 1
    for first in range(0, invocations, many):
        block = range(first, min(first + many, invocations))
        for start in range(0, positions, places):
            yield block, range(start, min(start + places, positions))
