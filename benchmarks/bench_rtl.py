"""The RTL: builds from nothing, cycles per second, whole networks, requantised vectors.

A product of 2048 x 512 x 4 C on R x C keeps the array busy, so the figure is that of a
layer that the array bounds. Cycles are counted by the RTL, seconds are of this process.
Networks are quantised to int8 and run on 64 x 64, one image of 224 x 224 or 128 tokens.

    python benchmarks/bench_rtl.py [size or network ...]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tetrapla.backends.systolic import TARGET
from tetrapla.backends.target_ import Options
from tetrapla.frontend.builder import functions as nn
from tetrapla.frontend.zoo.multihead import post_norm_block
from tetrapla.frontend.zoo.network import Draft
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Attribute
from tetrapla.ir.module import Module
from tetrapla.models import load
from tetrapla.samples import drawn
from tetrapla.simulators.rtl import machine
from tetrapla.simulators.rtl.compare import compare, memories_of
from tetrapla.simulators.rtl.model import Model
from tetrapla.simulators.rtl.toolchain import CACHE_VARIABLE, Design, shared_object
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.systolic.machine import started
from tetrapla.simulators.systolic.spec import SystolicSpec

SIZES = (8, 16, 32, 64, 128, 256)
BERT = "bert-block"
NETWORKS = ("resnet18", "resnet50", "mobilenet-v2", BERT)
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
    spec = load_spec("tpu-v1", SystolicSpec, _settings(size)).spec
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
    held = memories_of(started(program, {"x": x})[0])
    most = found.rtl.cycles + 1
    best = 0.0
    for _ in range(3):
        start_s = time.process_time()
        run = machine.run(program, spec, held.dram, held.buffer, held.accumulators, most)
        best = max(best, run.cycles / (time.process_time() - start_s))
    print(f"machine_{size}_kcycle_per_s {best / 1e3:.0f}")
    print(f"machine_{size}_mac_per_s {best * program.layers[1].macs / found.rtl.cycles:.3g}")


def _network(name: str) -> None:
    """The RTL alone, and with the Python machine in lock step."""
    spec = load_spec("tpu-v1", SystolicSpec, _settings(64)).spec
    module = _bert_block() if name == BERT else load(f"zoo:{name}")
    inputs = drawn(module, 0, 1).inputs
    program = TARGET.lower(module, spec, inputs, Options("int8")).program
    shared_object(machine.design(program, spec))
    start_s = time.process_time()
    found = compare(program, spec, inputs)
    both_s = time.process_time() - start_s
    assert found.equal, "a benchmark of what is wrong says nothing"
    held = memories_of(started(program, inputs)[0])
    start_s = time.process_time()
    machine.run(program, spec, held.dram, held.buffer, held.accumulators, found.rtl.cycles + 1)
    alone_s = time.process_time() - start_s
    macs = sum(layer.macs for layer in program.layers)
    print(f"{name}_cycles {found.rtl.cycles}")
    print(f"{name}_rtl_cpu_s {alone_s:.2f}")
    print(f"{name}_compared_cpu_s {both_s:.2f}")
    print(f"{name}_mac_per_s {macs / alone_s:.3g}")


def _bert_block() -> Module:
    """Of BERT-base: Devlin et al., "BERT", arXiv:1810.04805, section 3."""
    draft = Draft(BERT, 1, 0, True)
    x = draft.input("x", (128, 768))
    draft.output("y", post_norm_block(draft, x, 12, 3072, nn.gelu, epsilon=1e-12))
    return draft.builder.build()


def _settings(size: int) -> tuple[str, ...]:
    return (f"array.rows={size}", f"array.cols={size}", f"vector.lanes={size}")


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


def main(words: Sequence[str]) -> None:
    """Print every figure, or those of sizes and networks."""
    for word in words or (*map(str, SIZES), *NETWORKS, "requantiser"):
        if word.isdigit():
            _machine(int(word))
        elif word == "requantiser":
            _requantiser()
        else:
            _network(word)


if __name__ == "__main__":
    main(sys.argv[1:])
