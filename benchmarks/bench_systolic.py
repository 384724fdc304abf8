"""A compiled int8 ResNet-50 at 224 x 224, batch 1: exact timing, and bit-exact values.

``python benchmarks/bench_systolic.py``

On TPU v1, and on the same chip with an array of 128 x 128. Compilation is printed beside, and
is not part of the others; `first` is the first call on a program, the others are medians of
`ROUNDS`. CPU seconds of one core.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median
from time import process_time

import numpy as np

import tetrapla
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.target_ import Options
from tetrapla.passes.pipeline_ import quantised
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.systolic.machine import outputs
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.timing import schedule

ROUNDS = 5
DESIGNS = {"tpu_v1": (), "128x128": ("array.rows=128", "array.cols=128")}


def main() -> None:
    """Print the times of each design."""
    module = tetrapla.load("zoo:resnet50")
    ((name, value),) = module.graph.inputs
    x = np.random.default_rng(0).standard_normal((1, *value.shape)).astype(np.float32)
    whole = quantised(module, {name: x}, "int8")
    for label, settings in DESIGNS.items():
        spec = load_spec("tpu-v1", SystolicSpec, settings).spec
        start = process_time()
        program = TARGET.lower(whole, spec, None, Options()).program
        print(f"systolic_{label}_resnet50_compile_s {process_time() - start:.3f}")
        print(f"systolic_{label}_resnet50_instructions {len(program.instructions)}")
        print(f"systolic_{label}_resnet50_cycles {schedule(program, spec).cycles}")
        first, usual = times_s(partial(schedule, replace(program), spec))
        print(f"systolic_{label}_resnet50_timing_first_ms {1e3 * first:.2f}")
        print(f"systolic_{label}_resnet50_timing_ms {1e3 * usual:.2f}")
        first, usual = times_s(partial(outputs, program, {name: x}))
        print(f"systolic_{label}_resnet50_values_first_s {first:.3f}")
        print(f"systolic_{label}_resnet50_values_s {usual:.3f}")


def times_s(work: Callable[[], object]) -> tuple[float, float]:
    """The first call, and the median of the others."""
    found = list[float]()
    for _ in range(ROUNDS + 1):
        start = process_time()
        work()
        found.append(process_time() - start)
    return found[0], median(found[1:])


if __name__ == "__main__":
    main()
