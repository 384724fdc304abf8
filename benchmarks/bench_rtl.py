"""The RTL: builds from nothing, simulated cycles per second, requantised vectors.

A product of 2048 x 512 x 4 C on R x C keeps the array busy, so the figure is that of a
layer that the array bounds. Cycles are counted by the RTL, seconds are of this process.

    python benchmarks/bench_rtl.py [size ...]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tetrapla.backends.systolic import TARGET
from tetrapla.backends.target_ import Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Attribute
from tetrapla.ir.module import Module
from tetrapla.simulators.rtl import machine
from tetrapla.simulators.rtl.compare import compare
from tetrapla.simulators.rtl.model import Model
from tetrapla.simulators.rtl.toolchain import CACHE_VARIABLE, Design, shared_object
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import schedule
from tetrapla.simulators.systolic.values import State

SIZES = (8, 16, 32, 64)
BENCHES = Path(__file__).parents[1] / "tests" / "rtl"
LOG_VECTORS = 20
PARTS = 100  # of 2^20 vectors: more than 10^8


def _product(rows: int, taps: int, outputs: int) -> Module:
    rng = np.random.default_rng(0)
    b = ModuleBuilder("product")
    x = b.input("x", (rows, taps), "i8")
    w = b.weight("w", rng.integers(-128, 128, (taps, outputs)).astype(np.int8))
    acc = b.op("qnn.matmul", [x, w], {"x_zero_point": 3, "w_zero_point": 0}, name="product")
    scale = b.weight("s", np.full(outputs, 0.0007, np.float32))
    bounds: dict[str, Attribute] = {
        "zero_point": -9,
        "low": -128,
        "high": 127,
        "axis": 1,
        "dtype": "i8",
    }
    b.output("y", b.op("qnn.requantize", [acc, scale], bounds, name="requantize"))
    return b.finish()


def _machine(size: int) -> None:
    settings = (f"array.rows={size}", f"array.cols={size}", f"vector.lanes={size}")
    spec = load_spec("tpu-v1", SystolicSpec, settings).spec
    program = TARGET.lower(_product(2048, 512, 4 * size), spec, None, Options()).program
    rng = np.random.default_rng(1)
    x = rng.integers(-128, 128, (1, 2048, 512)).astype(np.int8)
    design = machine.design(program, spec)
    with tempfile.TemporaryDirectory() as folder:
        kept = os.environ.pop(CACHE_VARIABLE, None)
        os.environ[CACHE_VARIABLE] = folder
        start = os.times()
        shared_object(design)
        end = os.times()
        del os.environ[CACHE_VARIABLE]
        if kept is not None:
            os.environ[CACHE_VARIABLE] = kept
    cpu_s = end.children_user + end.children_system
    cpu_s -= start.children_user + start.children_system
    print(f"machine_{size}_build_cpu_s {cpu_s:.1f}")
    found = compare(program, spec, {"x": x})
    assert found.equal, "a benchmark of what is wrong says nothing"
    state = State(program, 1)
    dram = np.concatenate([state.constants, state.regions[0]])
    sums = state.sums("i32", 0, program.accumulator_rows)[0]
    most = schedule(program, spec).cycles + 1
    best = 0.0
    for _ in range(3):
        start_s = time.process_time()
        run = machine.run(program, spec, dram, state.buffer[0], sums, most)
        best = max(best, run.cycles / (time.process_time() - start_s))
    print(f"machine_{size}_kcycle_per_s {best / 1e3:.0f}")
    print(f"machine_{size}_mac_per_s {best * program.layers[1].macs / found.rtl.cycles:.3g}")


def _requantiser() -> None:
    design = Design(
        "requantize_bench",
        ("requantize_pkg.sv", "requantize.sv", BENCHES / "requantize_bench.sv"),
        {"LOG_CYCLES": LOG_VECTORS},
        ("sums", "biases", "scales", "ranges", "results"),
    )
    rng, count, wrong, spent_s = np.random.default_rng(2), 2**LOG_VECTORS, 0, 0.0
    with Model(design) as model:
        sums, biases = (model.memory(name, np.int32) for name in ("sums", "biases"))
        scales = model.memory("scales", np.float32)
        ranges = model.memory("ranges", np.int16).reshape(-1, 4)
        biases[:] = 0
        for part in range(PARTS):
            sums[:] = rng.integers(-(2**31), 2**31, count) >> rng.integers(0, 32, count)
            if part % 2:  # ties
                scales[:] = np.ldexp(np.float32(1), rng.integers(-26, 1, count))
            else:
                scales[:] = rng.random(count) * 300 / (np.abs(sums.astype(np.float64)) + 1)
            ranges[:, :3] = (zero, low, high) = (5 - part % 11, -128, 127)
            start_s = time.process_time()
            model.reset()
            model.run(count + 9)
            spent_s += time.process_time() - start_s
            real = np.clip(sums.astype(np.float32) * scales, low - zero, high - zero)
            wanted = np.rint(real).astype(np.int16) + zero
            wrong += int(np.count_nonzero(model.memory("results", np.int16) != wanted))
    print(f"requantiser_vectors {PARTS * count}")
    print(f"requantiser_wrong {wrong}")
    print(f"requantiser_mvector_per_s {PARTS * count / spent_s / 1e6:.1f}")


def main(sizes: tuple[int, ...]) -> None:
    """Print every figure."""
    for size in sizes:
        _machine(size)
    _requantiser()


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or SIZES)
