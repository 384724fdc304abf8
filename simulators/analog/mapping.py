"""Where signed weights lie in the columns of an array, and what the codes of its columns count.

Which levels hold a weight is `ir.crossbar.mapping`'s. Here its parts (slices of its bits, for
each of the pairs of n_pair) stand side by side in columns [sign, pair, slice, output]:

    differential, n_pair   sign 0 holds max(w, 0), sign 1 max(-w, 0)
    offset_column          one sign, w + offset; behind the outputs of every slice one column
                           more, which holds the offset
    digital_offset         one sign, w + offset

The currents of the columns that share a slice add up, then every sum is converted; with signed
converters, every difference of a pair. A code of slice k counts 2^(shift of k + its ADC shift)
of the product; those of sign 1 and of the offset's column are subtracted. All schemes give the
same integers where codes are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from tetrapla.ir.crossbar.mapping import Layout, slices_for
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.program import Product, Tile
from tetrapla.simulators.analog.spec import AnalogSpec


@dataclass(frozen=True)
class Columns:
    """The columns of one tile.

    Attributes:
        layout: which levels hold a weight.
        outputs: of the matrix on the tile.
        signed: whether a converter takes the difference of a pair.
        scales: what a code counts, by slice.
        steps: of the converters in units, by slice.
    """

    layout: Layout
    outputs: int
    signed: bool
    scales: Array
    steps: Array

    @property
    def paired(self) -> bool:
        """Whether negative parts of weights have columns of their own."""
        return self.layout.offset == 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the columns of cells: signs, pairs x slices, outputs and an offset's column."""
        parts = self.layout.pairs * self.layout.slices
        if self.paired:
            return 2, parts, self.outputs
        return 1, parts, self.layout.columns(self.outputs)

    @property
    def converted(self) -> tuple[int, int, int]:
        """Of the codes of one read: signs, slices, outputs and an offset's column."""
        signs, _, each = self.shape
        return 1 if self.signed else signs, self.layout.slices, each

    @property
    def count(self) -> int:
        """Columns of cells; an interleaved array has two on each bit line."""
        return prod(self.shape)

    @property
    def conversions(self) -> int:
        """Codes of one read."""
        return prod(self.converted)

    def targets(self, weights: Array) -> Array:
        """Levels [rows, columns], i64, of weights [rows, outputs].

        Raises:
            ModelError: a weight that the slices cannot hold.
        """
        signs, _, each = self.shape
        found = self.layout.levels(weights)  # [parts, rows, signs x each]
        parts, rows, _ = found.shape
        by_sign = found.reshape(parts, rows, signs, each).transpose(1, 2, 0, 3)
        return by_sign.reshape(rows, -1)

    def seen(self, values: Array) -> Array:
        """What converters see of values of columns, [..., columns] to [..., conversions]."""
        if not self.signed:
            return self.summed(values)
        half = self.count // 2
        return self.summed(values[..., :half] - values[..., half:])

    def summed(self, values: Array) -> Array:
        """Values of bit lines [..., lines] with those that share a slice added up."""
        pairs = self.layout.pairs
        if pairs == 1:
            return values
        _, slices, each = self.converted
        parts = values.reshape(*values.shape[:-1], -1, pairs, slices * each)
        return np.asarray(parts.sum(axis=-2).reshape(*values.shape[:-1], -1))

    def spread(self, variances: Array) -> Array:
        """The variance of what is `seen`, of independent columns of these variances."""
        if not self.signed:
            return self.summed(variances)
        half = self.count // 2
        return self.summed(variances[..., :half] + variances[..., half:])

    def lsb(self) -> Array:
        """The converters' steps in units, f64 [conversions]."""
        return np.broadcast_to(self.steps[None, :, None], self.converted).reshape(-1)

    def totals(self, codes: Array) -> Array:
        """The product that codes [n, conversions] stand for, [n, outputs].

        What `digital_offset` adds to it, the offset times the inputs' sum, is still in it.
        """
        found = codes.reshape(len(codes), *self.converted)
        parts = found[:, 0, :, : self.outputs]
        if self.paired and not self.signed:
            parts = parts - found[:, 1]
        elif not self.paired:
            # an offset's column, or the sum of none
            parts = parts - found[:, 0, :, self.outputs :].sum(axis=-1, keepdims=True)
        if len(self.scales) == 1:
            return np.asarray(parts[:, 0] * self.scales)
        return np.asarray(np.einsum("mko,k->mo", parts, self.scales))

    @property
    def digital_offset(self) -> int:
        """What the inputs' sum is multiplied with and taken away digitally."""
        return self.layout.offset if self.layout.scheme == "digital_offset" else 0


def columns(product: Product, tile: Tile, spec: AnalogSpec) -> Columns:
    """The columns of a tile on a chip."""
    m = spec.mapping
    return Columns(
        layout=_layout(m.weights, spec.array.cell_bits, product.slices, m.pairs),
        outputs=tile.outputs,
        signed=spec.adc.sign == "signed",
        scales=slice_weights(product, tile, spec),
        steps=2.0 ** np.array(tile.adc_shifts),
    )


def slice_weights(product: Product, tile: Tile, spec: AnalogSpec) -> Array:
    """What one ADC code of a slice counts in the product, by slice: a power of two."""
    m = spec.mapping
    layout = _layout(m.weights, spec.array.cell_bits, product.slices, m.pairs)
    weights: Array = 2.0 ** (np.array(layout.shifts) + np.array(tile.adc_shifts))
    return weights


def sizes(product: Product, tile: Tile, spec: AnalogSpec) -> tuple[int, int]:
    """`Columns.count` and `Columns.conversions` of a tile."""
    m = spec.mapping
    held = m.weights, spec.array.cell_bits, product.slices, m.pairs
    return _sizes(held, tile.outputs, spec.adc.sign == "signed")


def targets(product: Product, tile: Tile, spec: AnalogSpec) -> Array:
    """Target levels of a tile, i64 [rows, columns].

    Raises:
        ModelError: a weight that the slices cannot hold.
    """
    return columns(product, tile, spec).targets(product.part(tile))


def slices(matrix: Array, spec: AnalogSpec) -> int:
    """Slices that the weights of a matrix need.

    Raises:
        ModelError: none hold them.
    """
    return slices_for(spec.mapping.weights, spec.array.cell_bits, matrix, spec.mapping.pairs)


def most_outputs(slices: int, spec: AnalogSpec) -> int:
    """Outputs of `slices` slices that fit an array; 0 where it is too narrow for one."""
    m = spec.mapping
    parts = slices * m.pairs
    if m.paired:
        return spec.array.cols // (parts * (1 if spec.array.interleaved else 2))
    return max(0, spec.array.cols // parts - (m.weights == "offset_column"))


def cells_of_one(slices: int, spec: AnalogSpec) -> int:
    """Columns that an array must have to hold one output."""
    m = spec.mapping
    parts = slices * m.pairs
    if m.paired:
        return parts * (1 if spec.array.interleaved else 2)
    return parts * (2 if m.weights == "offset_column" else 1)


# a large network has 10^5 tiles and few kinds of them
_layout = lru_cache(1 << 8)(Layout)


@lru_cache(1 << 12)
def _sizes(held: tuple[str, int, int, int], outputs: int, signed: bool) -> tuple[int, int]:
    none = np.zeros(0)
    made = Columns(_layout(*held), outputs, signed, none, none)
    return made.count, made.conversions
