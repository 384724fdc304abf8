"""Cutting a constant matrix into crossbars."""

from __future__ import annotations

from tetrapla.ir.errors import SpecError
from tetrapla.simulators.analog.mapping import cells_of_one, most_outputs
from tetrapla.simulators.analog.mapping import slices as slices
from tetrapla.simulators.analog.program import Tile
from tetrapla.simulators.analog.spec import AnalogSpec, largest_sum


def tiles(
    rows: int, outputs: int, groups: int, count: int, spec: AnalogSpec
) -> tuple[Tile, ...]:
    """Tiles of a matrix [rows, outputs] with `groups` equal blocks on its diagonal.

    Tiles that hold nothing but the zeros between blocks are left out; small blocks (depthwise
    convolutions) share a crossbar, whole where some fit. ADC steps are those of the full range.

    Args:
        rows: of the matrix.
        outputs: of the matrix.
        groups: blocks.
        count: slices per weight.
        spec: the chip.

    Raises:
        SpecError: an array has too few columns for one weight.
    """
    across = most_outputs(count, spec)
    if across == 0:
        raise SpecError(
            f"array.cols must be at least the {cells_of_one(count, spec)} columns of one "
            f"weight, not {spec.array.cols}; use more columns or more bits a cell"
        )
    each, per = rows // groups, outputs // groups
    if groups > 1 and each <= spec.array.rows and per <= across:
        across = per * min(spec.array.rows // each, across // per)
    found: list[Tile] = []
    for left in range(0, outputs, across):
        right = min(left + across, outputs)
        # the rows that the blocks of these outputs touch
        low = left // per * each
        high = ((right - 1) // per + 1) * each
        for top in range(low, high, spec.array.rows):
            bottom = min(top + spec.array.rows, high)
            shift = full_shift(spec, bottom - top)
            found.append(Tile(top, bottom, left, right, (shift,) * count))
    return tuple(found)


def full_shift(spec: AnalogSpec, rows: int) -> int:
    """The ADC step, as a power of two, that covers the largest sum of `rows` rows."""
    return shift_for(largest_sum(spec, rows), spec)


def shift_for(largest: float, spec: AnalogSpec) -> int:
    """The smallest step 2^k whose highest code reaches `largest` units."""
    shift = 0
    while spec.adc.highest << shift < largest:
        shift += 1
    return shift
