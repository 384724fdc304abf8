"""Cutting a constant matrix into crossbars."""

from __future__ import annotations

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.program import Tile
from tetrapla.simulators.analog.spec import AnalogSpec, largest_sum


def slices(matrix: Array, spec: AnalogSpec) -> int:
    """Cells per sign that the largest weight of a matrix needs."""
    bits = max(1, int(abs(matrix.astype("int64")).max(initial=0)).bit_length())
    return -(-bits // spec.array.cell_bits)


def tiles(
    rows: int, outputs: int, groups: int, count: int, spec: AnalogSpec
) -> tuple[Tile, ...]:
    """Tiles of a matrix [rows, outputs] with `groups` equal blocks on its diagonal.

    Tiles that hold nothing but the zeros between blocks are left out; small blocks (depthwise
    convolutions) share a crossbar. ADC steps are those of the full range.

    Args:
        rows: of the matrix.
        outputs: of the matrix.
        groups: blocks.
        count: slices per weight.
        spec: the chip.

    Raises:
        SpecError: an array has too few columns for one weight.
    """
    across = spec.array.cols // (2 * count)
    if across == 0:
        raise SpecError(
            f"array.cols must be at least the {2 * count} columns of one weight, "
            f"not {spec.array.cols}; use more columns or more bits a cell"
        )
    found: list[Tile] = []
    for left in range(0, outputs, across):
        right = min(left + across, outputs)
        # the rows that the blocks of these outputs touch
        per = outputs // groups
        low = left // per * (rows // groups)
        high = ((right - 1) // per + 1) * (rows // groups)
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
    while ((1 << spec.adc.bits) - 1) << shift < largest:
        shift += 1
    return shift
