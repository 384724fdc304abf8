"""How integer weights lie in cells: one definition for the dialect, compilers and machines.

A weight is cut into slices of its bits, the lowest first. A cell holds none below zero, so

* ``differential``: the positive part lies in one column, the negative part in another;
* ``n_pair``: the same with N cells for each, which share a slice's value evenly and whose
  currents add up before they are converted: N cells reach N times as high, and their errors
  average;
* ``offset_column``: w + offset lies in the column, and the offset itself in one more column
  that all outputs share; the sums are subtracted;
* ``digital_offset``: w + offset as well, and offset times the sum of the inputs is subtracted.

Bit slicing and the offset: Shafiee et al., ISCA 2016 (ISAAC). Pairs: Wan et al., Nature 608,
2022 (NeuRRAM). N cells a weight: Boybat et al., Nature Communications 9, 2018.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from tetrapla.ir.crossbar.dialect import INTEGERS, Acting, Crossbar, check_rank, check_word
from tetrapla.ir.errors import IRError, ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import IntegerAttr, Operand, Pure, RankedTensorType, Result, StringAttr
from tetrapla.ir.op import Tensor, require

SCHEMES: Final = ("differential", "offset_column", "digital_offset", "n_pair")
PAIRED: Final = ("differential", "n_pair")
_WIDEST: Final = 31  # bits of a weight: sums of 2^20 rows and 8-bit digits stay in 61 bits


@dataclass(frozen=True)
class Layout:
    """Which cells hold an integer weight.

    Attributes:
        scheme: one of `SCHEMES`.
        cell_bits: a cell has the levels 0 to 2^cell_bits - 1.
        slices: parts of a weight's bits.
        pairs: N of n_pair; 1 for the others.

    Raises:
        ModelError: there is no such scheme, or the numbers contradict each other.
    """

    scheme: str
    cell_bits: int
    slices: int
    pairs: int = 1

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            there = ", ".join(SCHEMES)
            raise ModelError(f"the scheme must be one of {there}, not {self.scheme!r}")
        if not (1 <= self.cell_bits <= 8 and self.slices >= 1 and self.pairs >= 1):
            raise ModelError(
                "cells must have 1 to 8 bits, and slices and pairs be 1 or more, not "
                f"{self.cell_bits}, {self.slices} and {self.pairs}; name numbers in range"
            )
        if self.pairs > 1 and self.scheme != "n_pair":
            raise ModelError(
                f"{self.scheme} must have 1 pair, not {self.pairs}; use the scheme n_pair"
            )
        if self.slice_bits * self.slices > _WIDEST:
            raise ModelError(
                f"slices must have at most {_WIDEST} bits together, not "
                f"{self.slice_bits * self.slices}; use fewer slices or bits a cell"
            )

    @property
    def top(self) -> int:
        """The highest level of a cell."""
        return (1 << self.cell_bits) - 1

    @property
    def slice_bits(self) -> int:
        """Bits of a weight that a slice holds: N cells of n_pair hold more than one does."""
        return (self.pairs * self.top + 1).bit_length() - 1

    @property
    def shifts(self) -> tuple[int, ...]:
        """By slice, the power of two that its sum counts."""
        return tuple(k * self.slice_bits for k in range(self.slices))

    @property
    def offset(self) -> int:
        """What is added to a weight; 0 where the negative part has cells of its own."""
        return 0 if self.scheme in PAIRED else 1 << self.slices * self.slice_bits - 1

    @property
    def limits(self) -> tuple[int, int]:
        """The lowest and the highest weight; the last slice may fill its cells."""
        below = (1 << self.slice_bits * (self.slices - 1)) - 1
        largest = (self.pairs * self.top << self.slice_bits * (self.slices - 1)) + below
        if self.scheme in PAIRED:
            return -largest, largest
        return -self.offset, largest - self.offset

    def columns(self, outputs: int) -> int:
        """Columns of so many outputs."""
        if self.scheme in PAIRED:
            return 2 * outputs
        return outputs + (self.scheme == "offset_column")

    def levels(self, weights: Array) -> Array:
        """Target levels, i64 [pairs x slices, rows, columns], of integers [rows, outputs].

        Slices are the inner part, the lowest first. Columns hold the outputs' positive parts
        and then their negative ones, or the outputs and then the offset.

        Raises:
            ModelError: a weight that the cells cannot hold.
        """
        wide = weights.astype(np.int64)
        low, high = self.limits
        if wide.size and not low <= wide.min() <= wide.max() <= high:
            raise ModelError(
                f"weights must lie in {low}..{high}, which {self.scheme} holds in "
                f"{self.slices} slices of {self.cell_bits}-bit cells, not {wide.min()} to "
                f"{wide.max()}; use more slices or bits a cell"
            )
        held = self._unsigned(wide)
        found = np.empty((self.pairs, self.slices, *held.shape), np.int64)
        for k in range(self.slices):
            rest = held >> self.slice_bits * k
            if k < self.slices - 1:
                rest = rest & (1 << self.slice_bits) - 1
            for copy in range(self.pairs):
                # sum over n < N of floor((v + n) / N) is v (Hermite's identity)
                found[copy, k] = (rest + copy) // self.pairs
        return found.reshape(self.pairs * self.slices, *held.shape)

    def _unsigned(self, wide: Array) -> Array:
        if self.scheme in PAIRED:
            return np.concatenate((np.maximum(wide, 0), np.maximum(-wide, 0)), axis=1)
        moved: Array = wide + self.offset
        if self.scheme == "digital_offset":
            return moved
        return np.concatenate((moved, np.full((len(wide), 1), self.offset)), axis=1)


def slices_for(scheme: str, cell_bits: int, weights: Array, pairs: int = 1) -> int:
    """The fewest slices that hold every weight.

    Raises:
        ModelError: none do.
    """
    wide = weights.astype(np.int64)
    low, high = int(wide.min(initial=0)), int(wide.max(initial=0))
    layout = Layout(scheme, cell_bits, 1, pairs)
    for slices in range(1, _WIDEST // layout.slice_bits + 1):
        least, most = replace(layout, slices=slices).limits
        if least <= low and high <= most:
            return slices
    raise ModelError(
        f"weights must have at most {_WIDEST} bits, not {low} to {high}; scale them down"
    )


def largest_sum(rows: int, cell_bits: int, digit_bits: int, pairs: int = 1) -> int:
    """The largest sum of a column, in units of one level times one step of a digit."""
    return rows * pairs * ((1 << cell_bits) - 1) * ((1 << digit_bits) - 1)


def lossless_bits(rows: int, cell_bits: int, digit_bits: int, pairs: int = 1) -> int:
    """Bits of an unsigned code that tell every sum of a column apart, with a step of one unit.

    Sums are the whole numbers 0 to R N (2^cell - 1) (2^digit - 1).
    """
    return largest_sum(rows, cell_bits, digit_bits, pairs).bit_length()


class Map(Acting, dialect=Crossbar, name="map", traits=[Pure]):
    """Target levels of integer weights, ``g[part, row, column]``.

    A scheme says which cells hold a weight: ``differential``, ``offset_column``,
    ``digital_offset`` or ``n_pair``. Parts are the slices of its bits, the lowest first, for
    each of the `pairs` of n_pair, which share a slice's value evenly. Columns are the
    outputs' positive parts and then their negative ones; or the outputs, and for
    offset_column one more that holds the offset. A weight that the cells cannot hold is an
    error of the data.

    Constraints:
        C1: the weights are integers of 8, 16 or 32 bits, [rows, outputs].
        C2: scheme is one of those.
        C3: cells have 1 to 8 bits, a weight 1 to 31; there is 1 pair, but for n_pair.
    """

    weights: Operand[RankedTensorType]
    g: Result[RankedTensorType]
    scheme: StringAttr
    cell_bits: IntegerAttr
    slices: IntegerAttr
    pairs: IntegerAttr

    @staticmethod
    def infer(
        weights: Tensor, *, scheme: str, cell_bits: int, slices: int, pairs: int
    ) -> Tensor:
        kind = "crossbar.map"
        require(
            weights.dtype in INTEGERS,
            f"{kind} C1: weights must be {' or '.join(INTEGERS)}, not {weights}",
        )
        check_rank(f"{kind} C1", 2, weights, "weights [rows, outputs]")
        check_word(f"{kind} C2", "scheme", scheme, SCHEMES)
        try:
            layout = Layout(scheme, cell_bits, slices, pairs)
        except ModelError as error:
            raise IRError(f"{kind} C3: {error}") from None
        rows, outputs = weights.shape
        return Tensor((pairs * slices, rows, layout.columns(outputs)), "f64")

    @staticmethod
    def evaluate(
        weights: Array, *, scheme: str, cell_bits: int, slices: int, pairs: int
    ) -> Array:
        return Layout(scheme, cell_bits, slices, pairs).levels(weights).astype(np.float64)

    example = (
        (Tensor((6, 3), "i8"),),
        {"scheme": "n_pair", "cell_bits": 2, "slices": 3, "pairs": 2},
    )
