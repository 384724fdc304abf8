"""How fast the PEs are stepped, every register in every cycle: plain NumPy and compiled.

``python benchmarks/bench_every_cycle.py``

int8 products with int32 sums. Weight-stationary arrays are measured twice: with weights in
place, and with new ones that shift in and swap every 4 x rows cycles; output-stationary ones
begin and drain as often. CPU seconds of one core, the best of `ROUNDS` after the compiler has
run, since others share the machine.
"""

from __future__ import annotations

from time import process_time

import numpy as np

from tetrapla.simulators.systolic.every_cycle import array as plain
from tetrapla.simulators.systolic.every_cycle.array import NUMBERS, WINDOW, Grid, Stepper

ROUNDS = 15
SIZES = (32, 128)


def main() -> None:
    """Print cycles a second."""
    steppers = {"numpy": (plain.step_weight_stationary, plain.step_output_stationary)}
    try:
        from tetrapla.simulators.systolic.every_cycle import fast
    except ImportError:
        print("# numba is not installed: pip install 'tetrapla[fast]'")
    else:
        steppers["numba"] = (fast.step_weight_stationary, fast.step_output_stationary)
    for name, (weights, outputs) in steppers.items():
        for size in SIZES:
            rows = (
                ("weight_stationary", weights, False),
                ("weight_stationary_shifting", weights, True),
                ("output_stationary", outputs, True),
            )
            for label, stepper, moving in rows:
                speed = cycles_per_s(stepper, size, moving, label != "output_stationary")
                print(f"every_cycle_{name}_{label}_{size}x{size}_cycles_per_s {speed:.0f}")


def cycles_per_s(stepper: Stepper, size: int, moving: bool, shifts: bool) -> float:
    """The speed of one array of `size` x `size` PEs that is fed in every cycle."""
    rng = np.random.default_rng(0)
    grid = Grid(size, size, NUMBERS["i32"], stepper)
    edge = grid.edge
    edge.values[:] = rng.integers(-128, 128, edge.values.shape)
    edge.weights[:] = rng.integers(-128, 128, edge.weights.shape)
    if moving:
        period = 4 * size
        edge.begin[::period] = True
        if shifts:
            edge.end[:] = np.arange(len(edge.end)) % period < size
        else:
            edge.end[period - 1 :: period] = True
    out = np.zeros((WINDOW, size), np.int32)
    times: list[float] = []
    for _ in range(ROUNDS + 1):  # the first one compiles
        start = process_time()
        stepper(grid.registers, edge, grid.history, out)
        times.append(process_time() - start)
    return WINDOW / min(times[1:])


if __name__ == "__main__":
    main()
