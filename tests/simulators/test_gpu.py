"""The GPU as a machine: time by hand, counted actions, the plan as data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tetrapla.ir.errors import SpecError, UnsupportedError
from tetrapla.ir.op import OPS
from tetrapla.simulators.gpu.machine import least_cycles, run
from tetrapla.simulators.gpu.program import (
    Binary,
    Buffer,
    GlobalPool,
    Kernel,
    MatMul,
    Pointwise,
    Pool,
    Port,
    Program,
    Softmax,
    Tile,
)
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.steps import (
    BatchNorm,
    Bias,
    Quantize,
    Relu,
    Requantize,
    round_half_even,
)
from tetrapla.simulators.gpu.time import pnorm4
from tetrapla.simulators.gpu.values import values
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import check_invariants, price, summed
from tetrapla.simulators.spec_ import chips, load_spec

KEY = Key(0)


@pytest.fixture(scope="module")
def h100() -> GpuSpec:
    return load_spec("h100", GpuSpec).spec


def gemm(m: int, n: int, k: int, tile: Tile, dtype: str = "f16") -> Program:
    """y = a @ b with everything in one type."""
    kernel = MatMul(
        "gemm", "nn.matmul", "y", (), n, 1, "a", "b", dtype, 0, 0, tile, (), (), (), m, n, k
    )  # fmt: skip
    buffers = (
        Buffer("a", dtype, (m, k), "input"),
        Buffer("b", dtype, (k, n), "input"),
        Buffer("y", "i32" if dtype == "i8" else dtype, (m, n), "output"),
    )
    ports = tuple(Port(b.name, b.name, b.shape, b.dtype) for b in buffers)
    return Program("gemm", "fp16", ports[:2], ports[2:], buffers, (kernel,))


def streaming(kernel: Kernel, elements: int) -> Program:
    buffers = tuple(
        Buffer(name, "f16", (elements,), role)
        for name, role in (("a", "input"), ("b", "input"), ("y", "output"))
    )
    ports = tuple(Port(b.name, b.name, b.shape, "f32") for b in buffers)
    return Program("stream", "fp16", ports[:2], ports[2:], buffers, (kernel,))


def test_a_big_product_takes_the_soft_maximum_of_arithmetic_and_memory(h100: GpuSpec) -> None:
    result = run(gemm(4096, 4096, 4096, Tile(128, 128, 64)), h100, {}, KEY)
    # 2 * 4096^3 / (0.72 * 132 * 1.83e9 * 4096) = 192.926 us
    # 3 * 4096^2 * 2 bytes / (0.80 * 3.35e12)   =  37.560 us
    # 9 + 192.926 * (1 + (37.560 / 192.926)^4)^(1/4) = 9 + 192.995 us
    assert result.time_s == pytest.approx(201.995e-6, rel=1e-5)
    assert result.cycles == pytest.approx(201.995e-6 * 1.83e9, rel=1e-5)
    (layer,) = result.layers
    assert layer.bound_by == "compute"
    assert layer.macs == 4096**3
    # 138.907 us at the peak / 201.995 us
    assert layer.utilization_frac == pytest.approx(0.68768, rel=1e-4)
    assert result.outputs == {}


def test_a_small_product_is_bound_by_its_launch(h100: GpuSpec) -> None:
    result = run(gemm(1, 10, 64, Tile(16, 16, 64)), h100, {}, KEY)
    # bytes: 2 (64 + 640 + 10) = 1428, 0.53 ns; arithmetic 1.8 ps
    assert result.time_s == pytest.approx(9e-6 + 1428 / 2.68e12, rel=1e-9)
    assert result.layers[0].bound_by == "launch"


def test_a_long_sum_is_bound_by_the_memory(h100: GpuSpec) -> None:
    elements = 1 << 24
    add = Binary(
        "add", "nn.add", "y", (), 1, 1, "a", "b", "add", (elements,), (1,), (1,),
        (1.0, 1.0, 1.0), (0, 0, 0), 1024,
    )  # fmt: skip
    result = run(streaming(add, elements), h100, {}, KEY)
    # three tensors of 2^24 halves: 100663296 bytes / 3.35e12 = 30.049 us, and 1.47 us
    assert result.time_s == pytest.approx(31.519e-6, rel=1e-4)
    assert result.layers[0].bound_by == "dram"
    assert result.layers[0].utilization_frac is None


def test_an_activation_has_its_own_constants(h100: GpuSpec) -> None:
    relu = Pointwise("relu", "nn.relu", "y", (Relu(),), 1, 1, "a", 1 << 24, 1024)
    result = run(streaming(relu, 1 << 24), h100, {}, KEY)
    # 1.81 us + 2 * 2^24 * 2 bytes / (0.58 * 3.35e12)
    assert result.time_s == pytest.approx(1.81e-6 + 67108864 / (0.58 * 3.35e12), rel=1e-9)


def test_reductions_and_normalisations_have_their_own_constants(h100: GpuSpec) -> None:
    elements = 1 << 20
    softmax = Softmax("softmax", "nn.softmax", "y", (), 1, 1, "a", 1 << 10, 1 << 10, 1, 1)
    norm = BatchNorm("s", "s", "s", "s", 1e-5)
    batch_norm = Pointwise("norm", "nn.batch_norm", "y", (norm,), 1, 1, "a", elements, 1024)
    # 3.00 us + bytes / (0.47 * 3.35e12); batch norm reads a scale of 2 bytes besides
    rate = 0.47 * 3.35e12
    result = run(streaming(softmax, elements), h100, {}, KEY)
    assert result.time_s == pytest.approx(3.00e-6 + 4 * elements / rate, rel=1e-9)
    scale = Buffer("s", "f16", (1,), "weight")
    program = streaming(batch_norm, elements)
    result = run(replace(program, buffers=(*program.buffers, scale)), h100, {}, KEY)
    assert result.time_s == pytest.approx(3.00e-6 + (4 * elements + 2) / rate, rel=1e-9)


def test_a_global_pool_is_timed_as_a_normalisation(h100: GpuSpec) -> None:
    pool = GlobalPool(
        "pool", "nn.global_average_pool", "y", (), 1, 1, "a", "average", 64, 49,
        (1.0, 1.0), (0, 0), 16,
    )  # fmt: skip
    program = streaming(pool, 64 * 49)
    small = replace(program.memory["y"], shape=(64,))
    buffers = (*program.buffers[:2], small)
    result = run(replace(program, buffers=buffers), h100, {}, KEY)
    # 2 * (64 * 49 + 64) bytes
    assert result.time_s == pytest.approx(3.00e-6 + 6400 / (0.47 * 3.35e12), rel=1e-9)


def scalar_flops(kernel: Kernel, elements: int, spec: GpuSpec) -> float:
    (layer,) = run(streaming(kernel, elements), spec, {}, KEY).layers
    return layer.actions["flop.fp32"]


def test_scalar_operations_are_counted(h100: GpuSpec) -> None:
    # one per element and step
    relu = Pointwise("relu", "nn.relu", "y", (Relu(), Relu()), 1, 1, "a", 100, 1024)
    assert scalar_flops(relu, 100, h100) == 200
    # subtract, exponential, sum, divide, and a step
    softmax = Softmax("softmax", "nn.softmax", "y", (Relu(),), 1, 1, "a", 10, 10, 1, 1)
    assert scalar_flops(softmax, 100, h100) == 500
    # a sum and a step
    add = Binary(
        "add", "nn.add", "y", (Relu(),), 1, 1, "a", "b", "add", (100,), (1,), (1,),
        (1.0, 1.0, 1.0), (0, 0, 0), 1024,
    )  # fmt: skip
    assert scalar_flops(add, 100, h100) == 200
    # each of 100 windows of 2 x 3
    pool = Pool(
        "pool", "nn.max_pool2d", "y", (), 1, 1, "a", "max", 1, (10, 10), (2, 3), (1, 1),
        (0, 1, 1, 1), (1, 1), (10, 10), 0, (1.0, 1.0), (0, 0), 1024,
    )  # fmt: skip
    assert scalar_flops(pool, 100, h100) == 600
    # each element that is read
    mean = GlobalPool(
        "pool", "nn.global_average_pool", "y", (), 1, 1, "a", "average", 1, 100, (1.0, 1.0),
        (0, 0), 16,
    )  # fmt: skip
    assert scalar_flops(mean, 100, h100) == 100


def test_the_epilogue_of_a_product_is_scalar_and_its_sums_are_not(h100: GpuSpec) -> None:
    program = gemm(3, 4, 5, Tile(16, 16, 16))
    program = replace(program, kernels=(replace(program.kernels[0], steps=(Relu(),)),))
    (layer,) = run(program, h100, {}, KEY).layers
    assert layer.actions["flop.fp32"] == 3 * 4
    assert layer.actions["flop.fp16"] == 2 * 3 * 4 * 5


def test_nan_becomes_the_least_integer_as_in_the_interpreter() -> None:
    y, scale = np.array([[np.nan, np.inf, -np.inf, 1.0]], np.float32), np.ones(1, np.float32)
    for dtype, zero, low, high in (("i8", -7, -128, 127), ("ui8", 9, 0, 255)):
        found = Quantize("s", zero, dtype).apply(y, lambda name: scale)
        assert found.tolist() == [[low, high, low, 1 + zero]]
        evaluate = OPS["qnn.quantize"].evaluate
        wanted = evaluate(y, scale, zero_point=zero, axis=0, dtype=dtype)
        assert np.array_equal(found, wanted)


def test_energy_is_idle_plus_operations_plus_bytes(h100: GpuSpec) -> None:
    result = run(gemm(4096, 4096, 4096, Tile(128, 128, 64)), h100, {}, KEY)
    counted = summed([*(layer.actions for layer in result.layers), result.actions])
    energy = price(counted, h100.prices)
    # flop: 2 * 4096^3 * 0.675 pJ = 92.77 mJ; 100663296 bytes * 36 pJ = 3.62 mJ;
    # idle: 80 W * 201.995 us = 16.16 mJ
    assert energy.by_unit["flop"] == pytest.approx(92.771e9, rel=1e-4)
    assert energy.by_unit["hbm"] == pytest.approx(3.6239e9, rel=1e-4)
    assert energy.by_unit["static"] == pytest.approx(16.160e9, rel=1e-4)


@pytest.mark.parametrize("size", [1, 17, 129, 1000, 5000])
def test_no_layer_beats_the_peak_or_the_memory(h100: GpuSpec, size: int) -> None:
    program = gemm(size, size, size, Tile(128, 128, 64))
    result = run(program, h100, {}, KEY)
    check_invariants(result, macs=size**3, least_cycles=least_cycles(program, h100))


def test_pnorm4_lies_between_the_maximum_and_the_sum() -> None:
    assert pnorm4(0, 0) == 0
    assert pnorm4(3, 0) == 3
    assert pnorm4(1e-12, 1e-12) == pytest.approx(2**0.25 * 1e-12, rel=1e-12)


@pytest.mark.parametrize(
    ("m", "n", "k", "tile"),
    [
        (1, 1, 1, Tile(16, 16, 16)),
        (33, 17, 65, Tile(16, 16, 32)),
        (16, 16, 16, Tile(16, 16, 16)),
    ],
)
def test_ragged_tiles_cover_every_element(
    m: int, n: int, k: int, tile: Tile, rng: np.random.Generator
) -> None:
    a, b = rng.normal(size=(2, m, k)), rng.normal(size=(2, k, n))
    program = gemm(m, n, k, tile, "f32")
    inputs = {"a": a.astype(np.float32), "b": b.astype(np.float32)[:1]}
    y = values(program, {"a": inputs["a"], "b": np.repeat(inputs["b"], 2, 0)})["y"]
    exact = inputs["a"].astype(np.float64) @ inputs["b"][0].astype(np.float64)
    assert y.shape == (2, m, n)
    np.testing.assert_allclose(y, exact, rtol=0, atol=1e-5)


def test_values_do_not_depend_on_how_many_invocations_run_together(
    rng: np.random.Generator,
) -> None:
    program = gemm(5, 7, 300, Tile(16, 16, 64))
    a, b = rng.normal(size=(6, 5, 300)), rng.normal(size=(6, 300, 7))
    together = values(program, {"a": a, "b": b})["y"]
    apart = [values(program, {"a": a[i : i + 1], "b": b[i : i + 1]})["y"] for i in range(6)]
    assert np.array_equal(together, np.concatenate(apart))


def test_int32_accumulators_wrap() -> None:
    # 140000 * 127 * 127 = 2258060000 = 2^32 - 2036907296
    program = gemm(1, 1, 140_000, Tile(16, 16, 128), "i8")
    ones = {
        "a": np.full((1, 1, 140_000), 127, np.int8),
        "b": np.full((1, 140_000, 1), 127, np.int8),
    }
    assert values(program, ones)["y"].item() == -2036907296


def test_the_magic_constant_rounds_ties_to_even() -> None:
    y = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 254.5, 255.5, 0.49999997], np.float32)
    assert round_half_even(y).tolist() == [0, 2, 2, 0, -2, 254, 256, 0]


def test_requantize_clamps_before_it_rounds() -> None:
    step = Requantize("s", -3, -3, 127)
    scale = np.array([0.5], np.float32)
    acc = np.array([[2**31 - 1, -(2**31), 1, 3, 5]], np.int32)
    # ReLU: low is the zero point; 0.5, 1.5, 2.5 round to 0, 2, 2
    assert step.apply(acc, lambda name: scale).tolist() == [[127, -3, -3, -1, -1]]


def test_a_plan_survives_json() -> None:
    program = gemm(3, 4, 5, Tile(16, 16, 16))
    steps = (Bias("bias"), Relu(), Requantize("s", 1, -128, 127))
    program = replace(program, kernels=(replace(program.kernels[0], steps=steps),))
    data = json.loads(json.dumps(program.to_dict()))
    assert Program.from_dict(data) == program
    assert program.text() == (
        "gpu program gemm: fp16, 1 kernels\n"
        "  input   a: f16[3, 5]\n"
        "  input   b: f16[5, 4]\n"
        "  output  y: f16[3, 4]\n"
        "  gemm: y = MatMul(a, b) | Bias | Relu | Requantize; 1 x 3x4x5, tiles 16x16x16, "
        "grid 1x1x1\n"
    )


def test_buffers_must_fit_the_memory(h100: GpuSpec) -> None:
    program = gemm(200_000, 200_000, 1, Tile(128, 128, 16))
    with pytest.raises(UnsupportedError) as refused:
        run(program, h100, {}, KEY)
    assert str(refused.value) == (
        "h100: the buffers of gemm must fit 80000000000 bytes of device memory, "
        "not take 80000800000; use a smaller batch"
    )


def test_the_default_format_must_exist(tmp_path: Path) -> None:
    text = chips()["h100"].read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text.replace("default_format: fp16", "default_format: fp4"))
    with pytest.raises(
        SpecError, match=r"chip\.default_format must be one of fp16, fp32, int8"
    ):
        load_spec(wrong, GpuSpec)
