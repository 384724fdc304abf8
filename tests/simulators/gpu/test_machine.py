"""The GPU as a machine: time by hand, counted actions, the plan as data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tetrapla.ir.errors import SpecError, UnsupportedError
from tetrapla.ir.op import OPS
from tetrapla.simulators.gpu.kernels import (
    Binary,
    GlobalPool,
    Kernel,
    MatMul,
    Pointwise,
    Pool,
    Softmax,
    Tile,
)
from tetrapla.simulators.gpu.machine import least_cycles, run
from tetrapla.simulators.gpu.program import Buffer, Port, Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.steps import (
    Bias,
    Quantize,
    Relu,
    Requantize,
    round_half_even,
)
from tetrapla.simulators.gpu.values import values
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import check_invariants
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


@pytest.mark.parametrize("size", [1, 17, 129, 1000, 5000])
def test_no_layer_beats_the_peak_or_the_memory(h100: GpuSpec, size: int) -> None:
    program = gemm(size, size, size, Tile(128, 128, 64))
    result = run(program, h100, {}, KEY)
    check_invariants(result, macs=size**3, least_cycles=least_cycles(program, h100))


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
        "h100: gemm must fit 80000000000 bytes of device memory, not take 80000800256 "
        "(0 of weights, 80000800256 of inputs and outputs, 0 of workspace); use a smaller batch"
    )


def test_the_default_format_must_exist(tmp_path: Path) -> None:
    text = chips()["h100"].read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text.replace("default_format: fp16", "default_format: fp4"))
    with pytest.raises(SpecError) as refused:
        load_spec(wrong, GpuSpec)
    line = 1 + text.splitlines().index("  default_format: fp16")
    assert str(refused.value) == (
        f"{wrong}:{line}:3: chip.default_format must be one of fp32, tf32, fp16, bf16, int8, "
        "fp8, not fp4; take one of them"
    )


@pytest.mark.parametrize(
    ("chip", "operand", "lacked", "held"),
    [("gtx-580", "f16", "fp16", "fp32"), ("v100", "i8", "int8", "fp32, fp16")],
)
def test_a_format_that_the_chip_lacks_is_refused_by_name(
    chip: str, operand: str, lacked: str, held: str
) -> None:
    spec = load_spec(chip, GpuSpec).spec
    with pytest.raises(UnsupportedError) as refused:
        run(gemm(64, 64, 64, Tile(64, 64, 32), operand), spec, {}, KEY)
    assert str(refused.value) == (
        f"{chip} must be given a format that it multiplies, {held}, not {lacked}; "
        "choose another --quant or chip"
    )
