"""A matrix product on crossbars: slices, DAC digits, column sums, ADC codes, shift and add.

Units: a conductance is given in levels above g_min, an input digit in steps, so a column sum
is an integer number of units where nothing is noisy. Weights are pairs: the positive part of a
weight on one column, the negative on another, each in slices of `cell_bits`.

Conductances are rounded to a binary grid so fine that float32 sums are exact in any order
(`_grid`): results do not depend on BLAS, chunks or threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log2

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import noise
from tetrapla.simulators.analog.program import Product, Tile
from tetrapla.simulators.analog.spec import AnalogSpec, lossless_bits
from tetrapla.simulators.random_ import Key

_HELD = 1 << 19  # column sums at once, float32: they stay in the cache
_MANTISSA_BITS = 24


@dataclass(frozen=True)
class Cells:
    """A programmed tile, float32 [rows, columns].

    Attributes:
        levels: conductance above g_min, in levels.
        read_variance: of one read, in levels squared; None where reads are silent.
    """

    levels: Array
    read_variance: Array | None


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
    variance = None
    if d.read_noise_frac:
        spread = d.read_noise_frac * (levels + d.g_min_siemens / unit)
        variance = _grid(spread * spread, spec, square=True)
    return Cells(_grid(levels, spec), variance)


def _grid(values: Array, spec: AnalogSpec, *, square: bool = False) -> Array:
    """Rounded so that any sum over the rows, times a digit, has at most 24 bits."""
    step = (1 << spec.dac.bits) - 1
    largest = max(float(np.abs(values).max(initial=0)), 1e-30)
    bound = spec.array.rows * largest * (step * step if square else step)
    scale = 2.0 ** (_MANTISSA_BITS - 1 - ceil(log2(bound)))
    return (np.rint(values * scale) / scale).astype(np.float32)


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
    shape = inputs.shape[:2]
    flat = inputs.reshape(-1, tile.rows)
    columns = cells.levels.shape[1]
    lsb = np.repeat(np.tile(2.0 ** np.array(tile.adc_shifts), 2), tile.outputs)
    lsb = lsb.astype(np.float32)
    codes = np.zeros((len(flat), columns))
    for digit in range(spec.digits):
        driven = digits_of(flat, digit, spec.dac.bits)
        sums = driven @ cells.levels
        if cells.read_variance is not None:
            # y ~ N(G x, (sigma o sigma)(x o x)) exactly: one normal per column, not per cell
            spread = (driven * driven) @ cells.read_variance
            np.sqrt(spread, out=spread)
            spread *= reads.normals(digit, columns)
            sums += spread
        codes += convert(sums, spec.adc.bits, lsb) * np.float64(1 << digit * spec.dac.bits)
    parts = codes.reshape(len(flat), 2, product.slices, tile.outputs)
    # shift and add, in whole numbers: steps and slices are powers of two
    weight = 2.0 ** (
        np.arange(product.slices) * spec.array.cell_bits + np.array(tile.adc_shifts)
    )
    total = np.einsum("mko,k->mo", parts[:, 0] - parts[:, 1], weight)
    return np.asarray(total.astype(np.int64).reshape(*shape, tile.outputs))


def _blocks(invocations: int, positions: int, columns: int) -> Iterator[tuple[range, range]]:
    """Invocations and positions to do at once; the result does not depend on the cut."""
    places = max(1, min(positions, _HELD // columns))
    many = max(1, _HELD // (columns * positions)) if places == positions else 1
    for first in range(0, invocations, many):
        block = range(first, min(first + many, invocations))
        for start in range(0, positions, places):
            yield block, range(start, min(start + places, positions))
