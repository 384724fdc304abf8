"""How fast the judge is, every register of every PE in every cycle: plain NumPy and compiled.

``python benchmarks/bench_every_cycle.py``

First the PEs alone: int8 products with int32 sums. Weight-stationary arrays are measured twice:
with weights in place, and with new ones that shift in and swap every 4 x rows cycles;
output-stationary ones begin and drain as often. Then a whole program, ResNet-18 of int8 as it
is compiled for TPU v1 with a smaller array: instructions, transfers, vector unit and all.
CPU seconds of one core, the best of `ROUNDS` (a whole program: of `WHOLE_ROUNDS`) after the
compiler has run, since others share the machine.
"""

from __future__ import annotations

from time import process_time

import numpy as np

import tetrapla
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.target_ import Options
from tetrapla.passes.pipeline_ import quantised
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.systolic.every_cycle import array as plain
from tetrapla.simulators.systolic.every_cycle.array import NUMBERS, WINDOW, Grid, Stepper
from tetrapla.simulators.systolic.every_cycle.machine import every_cycle
from tetrapla.simulators.systolic.spec import SystolicSpec

ROUNDS = 15
WHOLE_ROUNDS = 3
SIZES = (32, 128)
NETWORK = "resnet18"


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
    if "numba" in steppers:
        for size in SIZES:
            cycles, speed = whole_program(size)
            label = f"every_cycle_whole_program_{NETWORK}_{size}x{size}"
            print(f"{label}_cycles {cycles}")
            print(f"{label}_cycles_per_s {speed:.0f}")


def whole_program(size: int) -> tuple[int, float]:
    """Cycles of a network and the judge's speed on it."""
    module = tetrapla.load(f"zoo:{NETWORK}")
    ((name, value),) = module.graph.inputs
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, *value.shape)).astype(np.float32)
    array = f"array.rows={size}", f"array.cols={size}"
    spec = load_spec("tpu-v1", SystolicSpec, array).spec
    program = TARGET.lower(quantised(module, {name: x}, "int8"), spec, None, Options()).program
    region = rng.bytes(program.dram_bytes - len(program.constants))
    times, cycles = list[float](), 0
    for _ in range(WHOLE_ROUNDS + 1):
        start = process_time()
        cycles = every_cycle(program, spec, region, fast=True).cycles
        times.append(process_time() - start)
    return cycles, cycles / min(times[1:])


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
