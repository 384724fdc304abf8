"""The joules of a product's arrays, from the cells that are programmed and the inputs driven.

Counted where a chip prices ``crossbar.joule``; what the price is of is said in `energy`. Arrays
with resistive word lines are taken with their wires. Where a digit is a share of the time, in
gated arrays and with pulses of one height, the current depends on which rows are on together:
there, and of curved cells, the energy is that without wires and straight, an upper bound there
and an estimate here.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import energy
from tetrapla.simulators.analog.cells import polarities, programmed, siemens, wires
from tetrapla.simulators.analog.circuits.effective import admittance
from tetrapla.simulators.analog.mapping import columns
from tetrapla.simulators.analog.program import Product
from tetrapla.simulators.analog.spec import INPUT_BITS, AnalogSpec
from tetrapla.simulators.random_ import Key

_NO_VOLTS: Final = 0.0
_DIGITS: Final = 10  # of the joules of a tile with wires


def joules(step: Product, spec: AnalogSpec, inputs: Array, key: Key | None) -> float:
    """Joules of one invocation, the mean over those given.

    The same for any cut into invocations at a time and any order: what inputs add up to are
    whole numbers.

    Args:
        step: the layer, with its copies.
        spec: the chip.
        inputs: unsigned [invocations, positions, rows]; copy c does positions c, c + copies, …
        key: of the programming.
    """
    total = 0.0
    for number in range(step.copies):
        copy, own = step.copy(number), inputs[:, number :: step.copies]
        for place, tile in enumerate(copy.tiles):
            total += _tile(copy, place, spec, own[:, :, tile.row_start : tile.row_stop], key)
    return total / len(inputs)


def _tile(step: Product, place: int, spec: AnalogSpec, inputs: Array, key: Key | None) -> float:
    held = programmed(step, place, spec, key)
    cells, inputs = siemens(held.placed, spec), held.routed(inputs)
    read_s, bits = spec.array.read_s, spec.dac.bits
    volts = spec.array.drive_v or _NO_VOLTS
    timed = spec.array.gated or spec.dac.pulse == "width"
    if spec.wires.lossy and not timed:
        plus, minus = polarities(cells, columns(step, step.tiles[place], spec), spec)
        seen = admittance(plus, wires(spec), minus)
        gram = energy.drive_gram(inputs, INPUT_BITS, bits)
        found = energy.wired_joules(gram, seen, read_s=read_s, volts=volts, dac_bits=bits)
        # the last bits of Y are those of a solver, and go with the number of its threads
        return float(f"{found:.{_DIGITS}g}")
    squares = energy.drive_squares(inputs, INPUT_BITS, bits, timed=timed)
    rows = np.asarray(cells.sum(axis=1))
    return energy.joules(squares, rows, read_s=read_s, volts=volts, dac_bits=bits)
