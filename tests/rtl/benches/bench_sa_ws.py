"""Weights behind a wave front of their own, swapped by the row that goes with the swap."""

from __future__ import annotations

import random

import numpy as np

from tests.rtl.benches.signals import Dut, bench, cycle, packed, start, unpacked

SIZE = 4


@bench
async def each_row_meets_the_weights_of_its_swap(dut: Dut) -> None:
    """Tiles of any length and distance: rows are seen R + C - 1 cycles after they enter."""
    await start(dut)
    dice = random.Random(1)
    wanted: dict[int, list[int]] = {}
    shifts: dict[int, list[int]] = {}
    rows: dict[int, tuple[list[int], bool]] = {}
    at = SIZE  # of the next tile's first row
    for _ in range(12):
        tile = np.array([[dice.randint(-128, 127) for _ in range(SIZE)] for _ in range(SIZE)])
        shifts |= {at - SIZE + n: tile[SIZE - 1 - n].tolist() for n in range(SIZE)}
        for n in range(SIZE + dice.randint(0, 3)):
            row = [dice.randint(-256, 255) for _ in range(SIZE)]
            rows[at + n] = row, n == 0
            wanted[at + n + 2 * SIZE - 1] = (np.array(row) @ tile).tolist()
        at = max(rows) + 1 + dice.choice([0, 0, 5])
    for t in range(max(wanted) + 1):
        row, swap = rows.get(t, ([0] * SIZE, False))
        dut.row_i.value = packed(row, 9)
        dut.swap_i.value = int(swap)
        dut.weights_i.value = packed(shifts.get(t, [0] * SIZE), 8)
        dut.shift_i.value = int(t in shifts)
        if t in wanted:
            assert unpacked(int(dut.sums_o.value), 32, SIZE) == wanted[t], t
        await cycle(dut)
