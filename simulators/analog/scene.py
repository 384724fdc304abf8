"""What converters see in one inference, before a code is cut to their range.

The digital steps are done again around the accumulators that the run kept, so that every
product has the operand it had, and each of its tiles is read once more with the same cells and
the same noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import cells
from tetrapla.simulators.analog.adc import mismatched
from tetrapla.simulators.analog.crossbar import digits_of
from tetrapla.simulators.analog.mapping import columns
from tetrapla.simulators.analog.program import Digital, Product, Program
from tetrapla.simulators.analog.reads import Reads, linear, read
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.scene_ import Clipping, Sight

BINS: Final = 64
_CELLS: Final = 1 << 21  # that are programmed again; the layers behind them are left out
_SUMS: Final = 1 << 18  # of a layer that are looked at, its first positions
_SOLVED: Final = 16  # positions, where each is a circuit to be solved

Driven = Callable[[Product, Array], tuple[Array, tuple[int, ...]]]
Stepped = Callable[[Digital, Mapping[int, Array], Mapping[int, Array]], tuple[Array, ...]]


@dataclass(frozen=True)
class AnalogScene:
    """The first inference of a run.

    Attributes:
        program: that ran.
        spec: of its chip.
        key: of its noise.
        inputs: [1, ...] by number of the value.
        results: [1, ...] by name of the product, what the steps behind it get.
        driven, stepped: what rows are driven by, and a digital step (`machine`).
    """

    program: Program
    spec: AnalogSpec
    key: Key
    inputs: Mapping[int, Array]
    results: Mapping[str, Array]
    driven: Driven
    stepped: Stepped

    def look(self) -> Sight:
        """Read every array that there is time for."""
        return Sight(clipping=tuple(self._layers()))

    def _layers(self) -> Iterator[Clipping]:
        values = dict(self.inputs)
        last, left = self.program.last_uses(), _CELLS
        for place, step in enumerate(self.program.steps):
            if isinstance(step, Product):
                left -= sum(tile.rows * tile.outputs for tile in step.tiles) * step.slices
                if left < 0:
                    return
                rows = self.driven(step, values[step.operand])[0]
                yield _clipping(step, self.spec, self.key, rows)
                values[step.result] = self.results[step.name]
            else:
                made = self.stepped(step, values, self.program.constants)
                values.update(zip(step.results, made, strict=True))
            for index in (*step.operands, *step.results):
                if last.get(index, place) == place:
                    values.pop(index, None)


def _clipping(step: Product, spec: AnalogSpec, key: Key, rows: Array) -> Clipping:
    """Of the first copy's arrays, over as many positions as there is room for."""
    one, own = step.copy(0), rows[:, :: step.copies]
    each = sum(columns(one, tile, spec).conversions for tile in one.tiles) * spec.digits
    places = max(1, min(own.shape[1], _SUMS // max(1, each)))
    if not linear(spec):
        places = min(places, _SOLVED)
    codes = np.concatenate(
        [
            seen.ravel()
            for number in range(len(one.tiles))
            for seen in _codes(one, number, spec, key, own, places)
        ]
    )
    adc = spec.adc
    low, high = min(float(codes.min()), adc.lowest), max(float(codes.max()), adc.highest)
    wide = max(1, -(-int(high - low + 1) // (BINS - 2)))
    # a border between bins is where the range begins
    below = -(-int(adc.lowest - low) // wide)
    bins = below + -(-int(high - adc.lowest + 1) // wide)
    start = adc.lowest - 0.5 - below * wide
    counts, _ = np.histogram(codes, bins, (start, start + bins * wide))
    cut = np.count_nonzero((codes < adc.lowest) | (codes > adc.highest))
    return Clipping(
        layer=step.name,
        low=adc.lowest,
        high=adc.highest,
        start=start,
        step=float(wide),
        counts=tuple(int(count) for count in counts),
        clipped_frac=int(cut) / len(codes),
    )


def _codes(
    one: Product, number: int, spec: AnalogSpec, key: Key, rows: Array, places: int
) -> Iterator[Array]:
    """Codes of one tile that are not cut, by digit: [places, conversions]."""
    tile = one.tiles[number]
    made, held = columns(one, tile, spec), cells.programmed(one, number, spec, key)
    flat = held.routed(rows[:, :places, tile.row_start : tile.row_stop])[0]
    lsb = made.lsb().astype(held.levels.dtype)
    address = key, one.number, one.first_tile + number
    before = one.first_read * spec.digits
    reads = Reads(*address, range(1), range(places), rows.shape[1], before)
    for digit in range(spec.digits):
        driven = digits_of(flat, digit, spec.dac.bits)
        sums = read(held, made, spec, driven, digit, reads)
        if held.converters is not None:
            sums = mismatched(sums, lsb, held.converters)
        yield np.rint(sums / lsb)
