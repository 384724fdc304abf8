"""Timing on a device for `bench_gpu_kernels.py`: events, medians, a cold L2 cache.

No benchmark. Every measured run has a set of buffers of its own, as many sets as fill the L2
cache four times, so that none finds its operands there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

WARM, RUNS = 5, 31  # assumed: the median of 31 moves by less than 1 % between runs
MOST_SETS = 64
COLD = 4  # times the L2 cache


def sets(footprint_bytes: int, cache_bytes: int) -> int:
    """How many sets of buffers are taken in turn."""
    return max(2, min(MOST_SETS, -(-COLD * cache_bytes // max(footprint_bytes, 1))))


def median_s(torch: Any, runs: Sequence[Callable[[], object]]) -> float:
    """The median of a run's time by the device's events; `runs` are taken in turn."""
    for i in range(max(WARM, len(runs))):
        runs[i % len(runs)]()
    torch.cuda.synchronize()
    times: list[float] = []
    for i in range(RUNS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        runs[i % len(runs)]()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return median(times)


def clocks() -> dict[str, str]:
    """What the driver says of the clocks and the power limit; empty without its tool."""
    fields = "clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return {}
    values = [each.strip() for each in done.stdout.splitlines()[0].split(",")]
    return dict(zip(fields.split(","), values, strict=True))
