"""One result a cycle, a cycle after its sum."""

from __future__ import annotations

import numpy as np

from tests.rtl.benches.signals import Dut, bench, cycle, start
from tetrapla.simulators.systolic.requantize import requantized
from tetrapla.simulators.systolic.tables import RequantizeRow

COUNT = 400


@bench
async def results_follow_their_sums_by_a_cycle(dut: Dut) -> None:
    await start(dut)
    rng = np.random.default_rng(3)
    sums = (rng.integers(-(2**31), 2**31, COUNT) >> rng.integers(0, 32, COUNT)).astype(np.int32)
    biases = rng.integers(-5000, 5000, COUNT).astype(np.int32)
    scales = (rng.random(COUNT) * 300 / (np.abs(sums.astype(np.float64)) + 1)).astype("f4")
    row = RequantizeRow(0, -7, -100, 90, False, biases, scales)
    wanted = requantized(sums[None, None], row, 1, (slice(None),))[0, 0]
    dut.zero_i.value, dut.low_i.value, dut.high_i.value = -7, -100, 90
    for n in range(COUNT):
        dut.sum_i.value = int(sums[n])
        dut.bias_i.value = int(biases[n])
        dut.scale_i.value = int(scales[n : n + 1].view(np.uint32)[0])
        await cycle(dut)
        assert dut.result_o.value.to_signed() == wanted[n], n
