"""Cells of arrays that a run reads for several products, programmed once.

The steps of an unrolled recurrent layer are on the same arrays, and so are a trial and the run
behind it. Cells depend on the seed, the chip and the arrays alone, so they may be kept, and
are where they are not too many.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from tetrapla.simulators.analog import cells as cells_
from tetrapla.simulators.analog.cells import Cells
from tetrapla.simulators.analog.program import Product, Program
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key

_MOST: Final = 1 << 24  # cells of all, assumed: half a gigabyte


class Kept:
    """What arrays hold under one key, by the arrays."""

    def __init__(self, program: Program, spec: AnalogSpec, key: Key, *, again: bool) -> None:
        """Of a program that runs once, or `again`; a key's `read` makes no difference."""
        uses = Counter(step.number for step in program.products)
        arrays = {step.number: len(step.tiles) * step.copies for step in program.products}
        shared = {number for number, count in uses.items() if count > 1 or again}
        cells = sum(arrays[number] for number in shared) * spec.array.rows * spec.array.cols
        self._shared = shared if cells <= _MOST else set[int]()
        self._spec, self._key = spec, key
        self._held: dict[tuple[int, int], list[Cells]] = {}

    def cells(self, product: Product) -> list[Cells]:
        """Of every tile of one copy of a product."""
        place = product.number, product.first_tile
        found = self._held.get(place)
        if found is None:
            many = range(len(product.tiles))
            found = [cells_.programmed(product, n, self._spec, self._key) for n in many]
            if product.number in self._shared:
                self._held[place] = found
        return found

    def known(self, product: Product) -> bool:
        """Whether they were asked for before, and kept."""
        return (product.number, product.first_tile) in self._held

    def keeps(self, product: Product) -> bool:
        """Whether they are kept."""
        return product.number in self._shared
