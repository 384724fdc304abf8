"""A matrix product on crossbars: slices, DAC digits, column sums, ADC codes, shift and add.

Units: a conductance is given in levels above g_min, an input digit in steps, so a column sum
is an integer number of units where nothing is noisy. Weights are pairs: the positive part of a
weight on one column, the negative on another, each in slices of `cell_bits`. Every column is
converted on its own, for every digit; the ADC is unsigned, so a sum below zero reads as zero.

Conductances are rounded to a binary grid so fine that floating sums are exact in any order
(`_grid`): results do not depend on BLAS, chunks or threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log2
from typing import Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import noise
from tetrapla.simulators.analog.program import Product, Tile
from tetrapla.simulators.analog.spec import INPUT_BITS, AnalogSpec, lossless_bits
from tetrapla.simulators.random_ import Key

_HELD = 1 << 17  # column sums at once: they stay in the cache
_FRACTION_BITS: Final = 10  # of a level, that a cell's grid must have


@dataclass(frozen=True)
class Cells:
    """A programmed tile, floats [rows, columns].

    Attributes:
        levels: conductance above g_min, in levels.
        read_variance: of one read, in levels squared; None where reads are silent.
        grid: what `levels` are multiples of.
    """

    levels: Array
    read_variance: Array | None
    grid: float


def slices_of(weights: Array, slices: int, cell_bits: int) -> Array:
    """Target levels [rows, 2, slices, outputs] of integer weights [rows, outputs].

    Sign 0 holds max(w, 0), sign 1 max(-w, 0); slice k the bits k cell_bits and up.
    """
    parts = np.stack((np.maximum(weights, 0), np.maximum(-weights.astype(np.int64), 0)), axis=1)
    shifts = np.arange(slices) * cell_bits
    levels: Array = parts[:, :, None, :] >> shifts[None, None, :, None] & (1 << cell_bits) - 1
    return levels


def digits_of(inputs: Array, digit: int, dac_bits: int) -> Array:
    """One digit of unsigned inputs, the lowest is 0; the shape of `inputs`, float32."""
    return (inputs >> (digit * dac_bits) & (1 << dac_bits) - 1).astype(np.float32)


def convert(sums: Array, bits: int, lsb: Array | float) -> Array:
    """ADC codes of column sums: clip(round_half_even(sum / lsb), 0, 2^bits - 1)."""
    codes: Array = sums / np.asarray(lsb, sums.dtype)
    np.rint(codes, out=codes)
    return np.clip(codes, 0, (1 << bits) - 1, out=codes)


def targets(product: Product, tile: Tile, spec: AnalogSpec) -> Array:
    """Target levels of a tile, int64 [rows, columns in use]."""
    part = product.matrix[tile.row_start : tile.row_stop, tile.col_start : tile.col_stop]
    return slices_of(part, product.slices, spec.array.cell_bits).reshape(tile.rows, -1)


def programmed(product: Product, number: int, spec: AnalogSpec, key: Key | None) -> Cells:
    """The cells of tile `number` after programming; exactly the targets without a key."""
    levels = targets(product, product.tiles[number], spec).astype(np.float64)
    d = spec.device
    unit = (d.g_max_siemens - d.g_min_siemens) / spec.array.top_level
    if key is not None and d.noisy:
        goal = d.g_min_siemens + levels * unit
        z = noise.programming(key, product.number, number, levels.shape)
        placed = np.maximum(goal + d.device.sigma(goal, d.g_max_siemens) * z, 0.0)
        levels = (placed - d.g_min_siemens) / unit
    placed, grid = _grid(levels, spec)
    if not d.read_noise_frac:
        return Cells(placed, None, grid)
    spread = d.read_noise_frac * (levels + d.g_min_siemens / unit)
    return Cells(placed, _grid(spread * spread, spec, square=True)[0], grid)


def _grid(values: Array, spec: AnalogSpec, *, square: bool = False) -> tuple[Array, float]:
    """Values rounded so that sums over the rows, times a digit, are exact; and the step.

    float32 holds 24 bits; an array whose sums need so many of them that less than
    `_FRACTION_BITS` remain for the fraction of a level is computed in float64.
    """
    step = (1 << spec.dac.bits) - 1
    largest = max(float(np.abs(values).max(initial=0)), 1e-30)
    whole = ceil(log2(spec.array.rows * largest * (step * step if square else step)))
    dtype: type = np.float32
    scale = 2.0 ** (23 - whole)
    if lossless_bits(spec, spec.array.rows) > 23 - _FRACTION_BITS:
        dtype, scale = np.float64, 2.0 ** (52 - whole)
    return (np.rint(values * scale) / scale).astype(dtype), 1 / scale


def folds(product: Product, spec: AnalogSpec) -> bool:
    """Whether every ADC code is the exact sum, so that the slices add up to one product.

    Then y = sum +- 2^(k cell_bits + t dac_bits) code is the integer product itself.
    """
    return not spec.device.noisy and all(
        max(tile.adc_shifts) == 0 and spec.adc.bits >= lossless_bits(spec, tile.rows)
        for tile in product.tiles
    )


def folded(product: Product, inputs: Array) -> Array:
    """The exact product of unsigned inputs [..., rows] with the tiles' part of the matrix."""
    held = np.zeros(product.matrix.shape)
    for tile in product.tiles:
        area = slice(tile.row_start, tile.row_stop), slice(tile.col_start, tile.col_stop)
        held[area] = product.matrix[area]
    # float64 is exact: products below 2^16, sums below 2^53
    return np.asarray(inputs.astype(np.float64) @ held).astype(np.int64)


def sliced(product: Product, spec: AnalogSpec, inputs: Array, key: Key) -> Array:
    """The product as the arrays give it, int64 [invocations, positions, outputs].

    Args:
        product: the layer.
        spec: the chip.
        inputs: unsigned, [invocations, positions, rows].
        key: its `read` is the number of the first invocation.
    """
    invocations, positions, _ = inputs.shape
    result = np.zeros((invocations, positions, product.matrix.shape[1]), np.int64)
    for number, tile in enumerate(product.tiles):
        cells = programmed(product, number, spec, key)
        rows = inputs[:, :, tile.row_start : tile.row_stop]
        columns = cells.levels.shape[1]
        for block, places in _blocks(invocations, positions, columns):
            area = slice(block.start, block.stop), slice(places.start, places.stop)
            reads = _Reads(key, product.number, number, block, places, positions)
            totals = _tile(product, tile, spec, cells, rows[area], reads)
            result[(*area, slice(tile.col_start, tile.col_stop))] += totals
    return result


@dataclass(frozen=True)
class _Reads:
    """The address of a block's conversions; in an invocation: by digit, place, column."""

    key: Key
    layer: int
    tile: int
    invocations: range
    places: range
    positions: int

    def normals(self, digit: int, columns: int) -> Array:
        """Of one digit, [invocations x places, columns]."""
        start = (digit * self.positions + self.places.start) * columns
        count = len(self.places) * columns
        drawn: Array = noise.reading(
            self.key, self.layer, self.tile, self.invocations, start, count
        )
        return drawn.reshape(-1, columns)


def _tile(
    product: Product, tile: Tile, spec: AnalogSpec, cells: Cells, inputs: Array, reads: _Reads
) -> Array:
    flat = inputs.reshape(-1, tile.rows)
    columns = cells.levels.shape[1]
    lsb = np.repeat(np.tile(2.0 ** np.array(tile.adc_shifts), 2), tile.outputs)
    lsb = lsb.astype(cells.levels.dtype)
    # whole numbers below 2^24 are exact in float32
    narrow = spec.adc.bits + INPUT_BITS <= 24
    codes = np.zeros((len(flat), columns), np.float32 if narrow else np.float64)
    for digit in range(spec.digits):
        driven = digits_of(flat, digit, spec.dac.bits).astype(cells.levels.dtype, copy=False)
        sums = driven @ cells.levels
        if cells.read_variance is not None:
            # y ~ N(G x, (sigma o sigma)(x o x)) exactly: one normal per column, not per cell
            spread = (driven * driven) @ cells.read_variance
            np.sqrt(spread, out=spread)
            spread *= reads.normals(digit, columns)
            sums += spread
        found = convert(sums, spec.adc.bits, lsb)
        found *= 1 << digit * spec.dac.bits
        codes += found
    parts = codes.reshape(len(flat), 2, product.slices, tile.outputs)
    total = np.einsum(
        "mko,k->mo", parts[:, 0] - parts[:, 1], slice_weights(product, tile, spec)
    )
    return np.asarray(total.astype(np.int64).reshape(*inputs.shape[:2], tile.outputs))


def slice_weights(product: Product, tile: Tile, spec: AnalogSpec) -> Array:
    """What one ADC code of a slice counts in the product, by slice: a power of two."""
    shifts = np.arange(product.slices) * spec.array.cell_bits + np.array(tile.adc_shifts)
    weights: Array = 2.0**shifts
    return weights


def _blocks(invocations: int, positions: int, columns: int) -> Iterator[tuple[range, range]]:
    """Invocations and positions to do at once; the result does not depend on the cut."""
    places = max(1, min(positions, _HELD // columns))
    many = max(1, _HELD // (columns * positions)) if places == positions else 1
    for first in range(0, invocations, many):
        block = range(first, min(first + many, invocations))
        for start in range(0, positions, places):
            yield block, range(start, min(start + places, positions))
