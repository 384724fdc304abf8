"""The GPU time model: matrix products timed in a second, at level 2 and level 1.

``python benchmarks/bench_gpu_model.py``

Budget: 1e4 products a second at level 2. Sizes are drawn between 1 and 16,384; times are CPU
seconds of one core, the medians of `ROUNDS`.
"""

from __future__ import annotations

from statistics import median
from time import process_time

import numpy as np

from tetrapla.calibration import Timing, calibrate
from tetrapla.simulators.gpu.product_time import dense, product_times
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.spec_ import load_spec

ROUNDS = 5
PRODUCTS = 10_000
TIMINGS = 20
BUDGET_PER_S = 1e4


def main() -> None:
    """Print one line a figure."""
    rng = np.random.default_rng(0)
    m, n, k = np.exp(rng.uniform(0, np.log(16_384), (3, PRODUCTS))).round()
    shapes = dense(m, n, k, 2)
    for chip, level in (("a100", 2), ("h100", 2), ("t4", 2), ("l4", 1)):
        spec = load_spec(chip, GpuSpec).spec
        spent: list[float] = []
        for _ in range(ROUNDS):
            start = process_time()
            product_times(shapes, spec, "fp16")
            spent.append(process_time() - start)
        print(f"{chip}_level_{level}_products_per_s {PRODUCTS / median(spent):.3g}")
    print(f"level_2_budget_products_per_s {BUDGET_PER_S:.3g}")
    spec = load_spec("h100", GpuSpec).spec
    few = dense(m[:TIMINGS], n[:TIMINGS], k[:TIMINGS], 2)
    times = product_times(few, spec, "fp16").time_s
    rows = [
        Timing(int(m[i]), int(n[i]), int(k[i]), "fp16", float(times[i])) for i in range(TIMINGS)
    ]
    start = process_time()
    calibrate(rows, spec)
    print(f"calibrate_{TIMINGS}_timings_s {process_time() - start:.3g}")


if __name__ == "__main__":
    main()
