"""A sweep in closed form beside the machine: ResNet-50 on a hundred thousand arrays.

``python benchmarks/bench_closed_form.py [--exact N] [--model M] [--seed N]``

The first part is what ``tetrapla sweep zoo:resnet50 --target tpu-v1 --closed-form`` computes by
formula, network and chips read (budget 5 s), then SCALE-Sim's formulas on the same arrays. The
second compiles and times N random designs (`closed_designs.py`) exactly
and prints how far the formulas are off, and the ratio of the times a point.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial

import numpy as np
from closed_designs import Judge, drawn

from tetrapla.models import load_for
from tetrapla.settings import Settings
from tetrapla.sweeps.closed import estimates
from tetrapla.sweeps.columns import Grid
from tetrapla.sweeps.points import Points
from tetrapla.sweeps.ranges import parse_grid

BUDGET_S = 5.0
GRID = (
    "array.rows=8:256:8",
    "array.cols=8:256:8",
    "memories.weight_tiles=2,4,8,16",
    "memories.accumulator_rows=1024:16384:*2",
    "clock=400MHz:1200MHz:200",
)
ARRAYS = ("array.rows=8:2528:8", "array.cols=8:2528:8", "clock=700MHz")


def main() -> None:
    """Print seconds, and fail over the budget."""
    options = argparse.ArgumentParser()
    options.add_argument("--exact", type=int, default=20)
    options.add_argument("--model", default="zoo:resnet50")
    options.add_argument("--seed", type=int, default=2)
    chosen = options.parse_args()
    each_s = {}
    for name, grid, settings in (
        ("resnet50", GRID, Settings()),
        ("resnet50_scalesim", ARRAYS, Settings(compat="scalesim")),
    ):
        points = Points(partial(load_for, "zoo:resnet50"), None, "tpu-v1", settings)
        cpu, wall = time.process_time(), time.perf_counter()
        axes = Grid(parse_grid(grid))
        estimates(points, axes)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        each_s[name] = cpu / len(axes)
        print(f"{name}_points {len(axes)}")
        print(f"{name}_cpu_s {cpu:.2f}")
        print(f"{name}_wall_s {wall:.2f}")
        print(f"{name}_points_per_s {len(axes) / cpu:.3g}")
        if cpu > BUDGET_S:
            sys.exit(f"over the budget of {BUDGET_S:g} s")
    if chosen.exact:
        _errors(chosen.model, chosen.exact, chosen.seed, each_s["resnet50"])


def _errors(model: str, count: int, seed: int, closed_s: float) -> None:
    judge = Judge(model)
    times, energies, spent = list[float](), list[float](), 0.0
    for one in drawn(count, seed):
        start = time.process_time()
        time_error, energy_error = judge.errors(one)
        spent += time.process_time() - start
        times.append(abs(time_error))
        energies.append(abs(energy_error))
    print(f"exact_points {count}")
    print(f"exact_s_per_point {spent / count:.3g}")
    print(f"exact_over_closed_ratio {spent / count / closed_s:.3g}")
    for name, found in (("cycles", times), ("energy", energies)):
        print(f"{name}_error_mean_pct {100 * np.mean(found):.2f}")
        print(f"{name}_error_max_pct {100 * np.max(found):.2f}")


if __name__ == "__main__":
    main()
