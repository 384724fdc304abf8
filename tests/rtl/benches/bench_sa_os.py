"""Sums leave the array two registers a row, the bottom row first."""

from __future__ import annotations

import random

import numpy as np

from tests.rtl.benches.signals import Dut, bench, cycle, packed, start, unpacked

SIZE = 4


@bench
async def sums_drain_in_the_stated_cycles(dut: Dut) -> None:
    await start(dut)
    dice = random.Random(2)
    wanted: dict[int, list[int]] = {}
    taps: dict[int, tuple[list[int], list[int], int, int]] = {}
    at = 0
    for _ in range(12):
        count = dice.choice([1, 2, 4, 5, 7])
        x = np.array([[dice.randint(-256, 255) for _ in range(SIZE)] for _ in range(count)])
        w = np.array([[dice.randint(-128, 127) for _ in range(SIZE)] for _ in range(count)])
        for k in range(count):
            taps[at + k] = x[k].tolist(), w[k].tolist(), int(k == 0), int(k == count - 1)
        for r in range(SIZE):
            wanted[at + count + SIZE - 1 + 2 * (SIZE - 1) - r] = (x.T @ w)[r].tolist()
        at += max(count, SIZE) + dice.choice([0, 0, 3])
    for t in range(max(wanted) + 1):
        x_t, w_t, first, drain = taps.get(t, ([0] * SIZE, [0] * SIZE, 0, 0))
        dut.taps_i.value = packed(x_t, 9)
        dut.weights_i.value = packed(w_t, 8)
        dut.first_i.value = first
        dut.drain_i.value = drain
        if t in wanted:
            assert unpacked(int(dut.sums_o.value), 32, SIZE) == wanted[t], t
        await cycle(dut)
