"""Weights with two zeros in each four: packed where a product waits for them."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.backends.gpu.helpers import interpreted
from tetrapla.backends.gpu import TARGET
from tetrapla.backends.gpu.bounds.verdict import judged
from tetrapla.backends.gpu.cuda.emulated import run_emulated
from tetrapla.backends.gpu.lower import lower
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.passes.prune import Prune
from tetrapla.simulators.gpu import sparse
from tetrapla.simulators.gpu.kernels import MatMul
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.values import executed
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec


def module(rng: np.random.Generator, rows: int = 3, k: int = 136) -> Module:
    """Two products, with weights of the pattern."""
    build = ModuleBuilder("pruned")
    x = build.input("x", (rows, k))
    w = build.weight("w", rng.normal(size=(k, 48)).astype(np.float32))
    y = build.op("nn.matmul", [x, w], {"activation": "relu"}, "fc1")
    v = build.weight("v", rng.normal(size=(48, 21)).astype(np.float32))
    build.output("y", build.op("nn.matmul", [y, v], {"activation": "none"}, "fc2"))
    return Prune()(build.finish())


def compiled(
    made: Module, quant: str, rng: np.random.Generator
) -> tuple[Lowered[Program], dict[str, Array]]:
    shape = made.inputs["x"].shape
    inputs = {"x": rng.normal(size=(2, *shape)).astype(np.float32)}
    spec = load_spec("h100", GpuSpec).spec
    return lower(made, spec, inputs, Options(quant=quant)), inputs


def places(program: Program) -> list[bool]:
    return [bool(k.places) for k in program.kernels if isinstance(k, MatMul)]


def test_packing_loses_nothing(rng: np.random.Generator) -> None:
    b = rng.integers(1, 9, (32, 5)).astype(np.int8)
    # none, one or two of each four
    b[:8] = 0
    b[8:16:4], b[9:16:4], b[10:16:4] = 0, 0, 0
    b[16::4], b[19::4] = 0, 0
    assert sparse.fits(b)
    kept, byte = sparse.packed(b)
    assert (kept.shape, byte.shape) == ((5, 16), (5, 4))
    step, column = np.arange(32), np.arange(5)
    found = sparse.looked_up(kept.reshape(1, -1), byte.reshape(-1), 32, step, column)
    assert np.array_equal(found[0], b)
    # three of four, and a rest that fills no byte
    assert not sparse.fits(np.ones((32, 5)))
    assert not sparse.fits(b[:28])


@pytest.mark.parametrize("quant", ["fp16", "bf16", "tf32", "fp32", "int8", "fp8"])
def test_packed_products_have_the_values_of_whole_ones(
    quant: str, rng: np.random.Generator
) -> None:
    made = module(rng)
    lowered, inputs = compiled(made, quant, rng)
    assert places(lowered.program) == [True, True]
    held = executed(lowered.program, inputs)
    verdict = judged(lowered, inputs, held, evaluate_many(lowered.module, inputs))
    assert verdict.passed, verdict
    whole = TARGET.lower(made, load_spec("h100", GpuSpec).spec, inputs, Options(quant=quant))
    wanted = executed(_unpacked(whole.program), inputs)
    for name, array in wanted.outputs.items():
        assert np.array_equal(array, held.outputs[name])
    text = json.dumps(lowered.program.to_dict())
    assert Program.from_dict(json.loads(text)) == lowered.program


def _unpacked(program: Program) -> Program:
    """The program with its matrices whole, as [n, k]."""
    kernels, weights, buffers = [], dict(program.weights), dict(program.memory)
    for kernel in program.kernels:
        if isinstance(kernel, MatMul):
            kept, byte = weights[kernel.b], weights[kernel.places]
            step, column = np.arange(kernel.k), np.arange(kernel.n)
            flat = kept.reshape(1, -1), byte.reshape(-1)
            (b,) = sparse.looked_up(*flat, kernel.k, step, column)
            weights[kernel.b] = np.ascontiguousarray(b.T)
            buffers[kernel.b] = replace(buffers[kernel.b], shape=(kernel.n, kernel.k))
            kernel = replace(kernel, b_strides=(1, kernel.k), places="")
        kernels.append(kernel)
    return replace(
        program,
        kernels=tuple(kernels),
        weights=weights,
        buffers=tuple(buffers.values()),
    )


def test_only_what_waits_for_its_weights_is_packed(rng: np.random.Generator) -> None:
    # many rows are bound by arithmetic; 33 products of a sum fill no byte
    for made in (module(rng, rows=64), module(rng, k=33)):
        lowered, _ = compiled(made, "fp16", rng)
        assert places(lowered.program)[0] is False
    build = ModuleBuilder("dense")
    x = build.input("x", (1, 64))
    w = build.weight("w", rng.normal(size=(64, 64)).astype(np.float32))
    build.output("y", build.op("nn.matmul", [x, w], {"activation": "none"}, "fc"))
    lowered, _ = compiled(build.finish(), "fp16", rng)
    assert places(lowered.program) == [False]


def test_a_packed_matrix_takes_nine_sixteenths_of_the_bytes(rng: np.random.Generator) -> None:
    build = ModuleBuilder("row")
    x = build.input("x", (1, 2048))
    w = build.weight("w", rng.normal(size=(2048, 2048)).astype(np.float32))
    build.output("y", build.op("nn.matmul", [x, w], {"activation": "none"}, "fc"))
    dense = build.finish()
    spec = load_spec("h100", GpuSpec).spec
    runs = [
        TARGET.run(lower(each, spec, None, Options(quant="fp16")).program, spec, {}, Key(0))
        for each in (dense, Prune()(dense))
    ]
    read = [run.layers[0].actions["dram.read_byte"] for run in runs]
    size = 2048 * 2048
    assert read == [2 * size + 2 * 2048, 2 * size // 2 + size // 8 + 2 * 2048]
    assert runs[1].time_s < runs[0].time_s
    # what is multiplied, and at what rate, stays
    flops = [run.layers[0].actions["flop.fp16"] for run in runs]
    assert flops == [2 * size, 2 * size]


@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="triton is not installed: the emitted kernels run under its interpreter",
)
@pytest.mark.parametrize("quant", ["fp16", "int8", "fp8"])
def test_emitted_kernels_unpack(quant: str, rng: np.random.Generator) -> None:
    lowered, inputs = compiled(module(rng), quant, rng)
    held = interpreted(lowered.program, inputs)
    verdict = judged(lowered, inputs, held, evaluate_many(lowered.module, inputs))
    assert verdict.passed, verdict


@pytest.mark.skipif(
    shutil.which("g++") is None, reason="g++ is not installed: it emulates the CUDA C"
)
@pytest.mark.parametrize("quant", ["fp16", "int8"])
def test_cuda_c_unpacks(quant: str, rng: np.random.Generator) -> None:
    lowered, inputs = compiled(module(rng), quant, rng)
    held = run_emulated(lowered.program, inputs)
    verdict = judged(lowered, inputs, held, evaluate_many(lowered.module, inputs))
    assert verdict.passed, verdict
