"""What kernels take besides products: memory, L2, launches, power, attention."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tetrapla.ir.errors import SpecError, UnsupportedError
from tetrapla.simulators.gpu.attention_time import KERNELS, Attention, fused_time_s
from tetrapla.simulators.gpu.kernels import (
    Binary,
    Conv,
    GlobalPool,
    Kernel,
    MatMul,
    Pointwise,
    Softmax,
    Tile,
)
from tetrapla.simulators.gpu.machine import least_cycles, run
from tetrapla.simulators.gpu.program import Buffer, Port, Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.steps import BatchNorm, Relu
from tetrapla.simulators.gpu.time import KernelTime, capped
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import LayerRun, Run, check_invariants, price, summed
from tetrapla.simulators.spec_ import chips, family_of, load_spec

KEY = Key(0)
GPUS = [name for name in chips() if family_of(name) == "gpu"]


def chip(name: str, *overrides: str) -> GpuSpec:
    return load_spec(name, GpuSpec, overrides).spec


H100 = chip("h100")
RATE = 3.35e12  # bytes a second of its memory


def plan(kernel: Kernel, *buffers: Buffer) -> Program:
    ports = tuple(Port(b.name, b.name, b.shape, "f32") for b in buffers)
    return Program("plan", "fp16", ports[:1], ports[-1:], buffers, (kernel,))


def streaming(kernel: Kernel, elements: int) -> Program:
    roles = (("a", "input"), ("b", "input"), ("y", "output"))
    return plan(kernel, *(Buffer(name, "f16", (elements,), role) for name, role in roles))


def gemm(size: int, dtype: str = "f16") -> Program:
    kernel = MatMul(
        "gemm", "nn.matmul", "y", (), size, 1, "a", "b", dtype, 0, 0, Tile(128, 128, 64),
        (), (), (), size, size, size,
    )  # fmt: skip
    roles = (("a", "input"), ("b", "input"), ("y", "output"))
    return plan(kernel, *(Buffer(name, dtype, (size, size), role) for name, role in roles))


def addition(elements: int) -> Program:
    kernel = Binary(
        "add", "nn.add", "y", (), 1, 1, "a", "b", "add", (elements,), (1,), (1,),
        (1.0, 1.0, 1.0), (0, 0, 0), 1024,
    )  # fmt: skip
    return streaming(kernel, elements)


def activation(elements: int) -> Program:
    return streaming(
        Pointwise("relu", "nn.relu", "y", (Relu(),), 1, 1, "a", elements, 1024), elements
    )


def layer(program: Program, spec: GpuSpec) -> tuple[LayerRun, Run]:
    result = run(program, spec, {}, KEY)
    return result.layers[0], result


def test_a_long_sum_is_bound_by_the_memory() -> None:
    found, result = layer(addition(1 << 24), H100)
    # three tensors of 2^24 halves: 100663296 bytes / 3.35e12 = 30.049 us, and 1.06 us
    assert result.time_s == pytest.approx(1.06e-6 + 100663296 / RATE, rel=1e-9)
    assert (found.bound_by, found.utilization_frac) == ("dram", None)


def test_what_fits_the_l2_cache_has_another_pace() -> None:
    # 6 bytes an element: 50 MB are 8333333 elements
    found, result = layer(addition(8_333_333), H100)
    assert result.time_s == pytest.approx(1.06e-6 + 6 * 8_333_333 / (1.196 * RATE), rel=1e-9)
    assert found.bound_by == "l2"
    _, result = layer(addition(8_333_334), H100)
    assert result.time_s == pytest.approx(1.06e-6 + 6 * 8_333_334 / RATE, rel=1e-9)


def test_an_activation_has_its_own_constants() -> None:
    _, result = layer(activation(1 << 24), H100)
    assert result.time_s == pytest.approx(1.58e-6 + 67108864 / (0.583 * RATE), rel=1e-9)


def test_reductions_and_normalisations_have_their_own_constants() -> None:
    elements = 1 << 20
    softmax = Softmax("softmax", "nn.softmax", "y", (), 1, 1, "a", 1 << 10, 1 << 10, 1, 1)
    norm = BatchNorm("s", "s", "s", "s", 1e-5)
    batch_norm = Pointwise("norm", "nn.batch_norm", "y", (norm,), 1, 1, "a", elements, 1024)
    # 3.17 us + bytes / (0.521 * 3.35e12); batch norm reads a scale of 2 bytes besides
    rate = 0.521 * RATE
    _, result = layer(streaming(softmax, elements), H100)
    assert result.time_s == pytest.approx(3.17e-6 + 4 * elements / rate, rel=1e-9)
    program = streaming(batch_norm, elements)
    scale = Buffer("s", "f16", (1,), "weight")
    _, result = layer(replace(program, buffers=(*program.buffers, scale)), H100)
    assert result.time_s == pytest.approx(3.17e-6 + (4 * elements + 2) / rate, rel=1e-9)


def test_a_global_pool_is_timed_as_a_normalisation() -> None:
    pool = GlobalPool(
        "pool", "nn.global_average_pool", "y", (), 1, 1, "a", "average", 64, 49,
        (1.0, 1.0), (0, 0), 16,
    )  # fmt: skip
    small = Buffer("y", "f16", (64,), "output")
    program = plan(pool, Buffer("a", "f16", (64 * 49,), "input"), small)
    found, result = layer(program, H100)
    # 2 * (64 * 49 + 64) bytes
    assert result.time_s == pytest.approx(3.17e-6 + 6400 / (0.521 * RATE), rel=1e-9)
    assert found.bound_by == "launch"


def test_a_host_that_waits_adds_its_time_to_every_kernel() -> None:
    waiting = chip("h100", "timing.context=host-sync")
    for program in (gemm(64), addition(100)):
        device, host = (layer(program, spec)[1].time_s for spec in (H100, waiting))
        assert host - device == pytest.approx(22e-6, rel=1e-9)


def test_a_convolution_is_a_product_of_pixels_and_filters_with_its_true_tensors() -> None:
    conv = Conv(
        "conv", "nn.conv2d", "y", (), 64, 56 * 56, "a", "w", "f16", 0, 0, Tile(128, 64, 64),
        (8, 32, 56, 56), 64, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, (56, 56),
    )  # fmt: skip
    buffers = (
        Buffer("a", "f16", (8, 32, 56, 56), "input"),
        Buffer("w", "f16", (64, 32, 3, 3), "weight"),
        Buffer("y", "f16", (8, 64, 56, 56), "output"),
    )
    found, result = layer(plan(conv, *buffers), chip("l4"))
    pixels = 8 * 56 * 56
    assert found.macs == pixels * 64 * 32 * 9
    assert found.actions["dram.read_byte"] == 2 * (pixels * 32 + 64 * 32 * 9)
    assert found.actions["dram.write_byte"] == 2 * pixels * 64
    # 2 * 462422016 / (0.72 * 58 * 2.04e9 * 1024) = 10.6018 us
    # 2 * (802816 + 18432 + 1605632) / (0.8 * 300e9) = 20.2240 us
    # 9 + 20.2240 * (1 + (10.6018 / 20.2240)^4)^(1/4) = 29.5955 us
    assert result.time_s == pytest.approx(29.5955e-6, rel=1e-5)


def test_energy_is_idle_plus_operations_plus_bytes() -> None:
    found, result = layer(gemm(4096), H100)
    energy = price(summed([found.actions, result.actions]), H100.prices)
    # 2 * 4096^3 * 0.565 pJ; 36 pJ a byte of the memory, 9.4 pJ one of the L2
    assert energy.by_unit["flop"] == pytest.approx(2 * 4096**3 * 0.565, rel=1e-9)
    moved = found.actions["dram.read_byte"] + found.actions["dram.write_byte"]
    assert energy.by_unit["dram"] == pytest.approx(36 * moved, rel=1e-9)
    assert energy.by_unit["l2"] == pytest.approx(9.4 * found.actions["l2.byte"], rel=1e-9)
    assert energy.by_unit["static"] == pytest.approx(80e12 * result.time_s, rel=1e-9)
    # some rows of tiles are read from the memory more than once, all of them from the L2
    assert 3 * 2 * 4096**2 < moved < found.actions["l2.byte"]


def test_a_small_chip_lowers_its_clock_to_its_power_limit() -> None:
    spec = chip("l4")
    found, result = layer(gemm(4096, "f32"), spec)
    energy = price(summed([found.actions, result.actions]), spec.prices)
    assert found.bound_by == "power"
    assert energy.total_pj is not None
    assert energy.total_pj * 1e-12 / result.time_s == pytest.approx(72, rel=1e-9)
    assert found.utilization_frac == pytest.approx(0.29, abs=0.02)  # NeuSight's timings
    unlimited = chip("l4", "chip.tdp=300 W")
    assert layer(gemm(4096, "f32"), unlimited)[0].bound_by == "compute"


def test_the_power_limit_by_hand() -> None:
    full = KernelTime(1e-3, "compute", 0.0, 0.0)
    spec = chip("l4", "chip.static_power=12 W")
    # 0.12 J over 60 W
    assert capped(full, 0.12e12, spec) == KernelTime(2e-3, "power", 0.0, 0.0)
    assert capped(full, 0.06e12, spec) == full
    assert capped(full, None, spec) == full
    assert capped(full, 0.12e12, chip("l4", "chip.tdp=null")) == full


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "chip.static_power=700 W",
            "chip.tdp must be more than chip.static_power, 700 W, not 700 W; raise it",
        ),
        (
            "timing.addition.l2_efficiency=0.5",
            "l2_efficiency must be at least dram_efficiency, 1, not 0.5; raise it",
        ),
    ],
)
def test_constants_that_contradict_each_other_are_refused(override: str, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        chip("h100", override)
    assert message in str(refused.value)


def test_a_limit_that_cannot_be_told_is_said() -> None:
    said = "the power limit is not applied: a price, the idle power or the TDP is unknown"
    assert said not in layer(gemm(64), H100)[1].warnings
    for override in ("chip.tdp=null", "chip.static_power=null", "cost.flop.fp16=null"):
        assert said in layer(gemm(64), chip("h100", override))[1].warnings


@pytest.mark.parametrize("name", GPUS)
@pytest.mark.parametrize("size", [1, 17, 129, 1000, 5000])
def test_no_kernel_beats_the_peak_or_the_memory(name: str, size: int) -> None:
    spec = chip(name)
    for program, macs in (
        (gemm(size, "f32"), size**3),
        (addition(size**2), 0),
        (activation(size**2), 0),
    ):
        least = least_cycles(program, spec)
        check_invariants(run(program, spec, {}, KEY), macs=macs, least_cycles=least)


@pytest.mark.parametrize("name", GPUS)
def test_a_gpu_says_what_its_figures_are_worth(name: str) -> None:
    spec = chip(name)
    first, second, *rest = run(gemm(64, "f32"), spec, {}, KEY).warnings
    assert first.startswith(f"time is a level-{spec.level} estimate (device context): ")
    assert second == "energy is uncalibrated: derived prices, +-15 % at best"
    assert rest == []


# chip, format, dense peak as published in 1e12 operations a second, units of its last digit
PEAKS = [
    ("gtx-580", "fp32", 1.58, 0.01),
    ("p100", "fp32", 10.6, 0.1),
    ("v100", "fp16", 125, 1),
    ("t4", "fp16", 65, 1),
    ("t4", "int8", 130, 1),
    ("t4", "fp32", 8.1, 0.1),
    ("a100", "fp16", 312, 1),
    ("a100", "tf32", 156, 1),
    ("a100", "int8", 624, 1),
    ("a100", "fp32", 19.5, 0.1),
    ("a40", "fp16", 149.7, 0.1),
    ("a40", "int8", 299.3, 0.1),
    ("l4", "fp32", 30.3, 0.1),
    ("l4", "fp16", 121, 1),
    ("h100", "bf16", 989, 1),
    ("h100", "fp8", 1979, 1),
    ("h200", "fp16", 989, 1),
    ("b200", "fp16", 2250, 1),
    ("mi300x", "fp16", 1307.4, 0.1),
    ("mi300x", "fp8", 2614.9, 0.1),
]


@pytest.mark.parametrize(("name", "number_format", "published", "digit"), PEAKS)
def test_a_chip_has_its_published_peak(
    name: str, number_format: str, published: float, digit: float
) -> None:
    found = chip(name).peak_op_per_s(number_format) * 1e-12
    assert abs(found - published) <= digit / 2


def test_every_gpu_of_the_catalogue_is_there() -> None:
    assert sorted(GPUS) == [
        *("a100", "a40", "b200", "gtx-580", "h100", "h200", "l4", "mi300x", "p100", "t4"),
        "v100",
    ]


@pytest.mark.parametrize("name", GPUS)
def test_a_gpu_prices_every_format_that_it_multiplies(name: str) -> None:
    spec = chip(name)
    actions = {f"op.{f}" if f == "int8" else f"flop.{f}" for f in spec.formats}
    assert actions <= set(spec.cost)
    assert {"dram.read_byte", "dram.write_byte", "l2.byte"} <= set(spec.cost)


def test_fused_attention_by_hand() -> None:
    problem = Attention(batch=8, heads=16, sequence=2048, head_dim=128, causal=False)
    assert problem.operations == 4 * 2048**2 * 128 * 16 * 8
    # 53 us of launch; 2.74878e11 / (0.93 * 989.43e12) = 298.73 us
    # 0.86 * 2048^2 * 128 / (16 * 132 * 1.83e9) = 119.46 us
    # 16 * 128 blocks / 132 * 0.96 us = 14.89 us
    found = fused_time_s(problem, KERNELS["FA3"], H100)
    assert found == pytest.approx(486.08e-6, rel=1e-4)


def test_a_causal_mask_halves_the_work_but_for_its_diagonal() -> None:
    full = Attention(4, 16, 4096, 128, causal=False)
    half = Attention(4, 16, 4096, 128, causal=True)
    assert half.operations == full.operations / 2
    # of everything but launch and waves, half, times 1 + 128 / 4096
    constant = KERNELS["FA3"].launch_s + 32 * 64 / 132 * KERNELS["FA3"].wave_s
    whole, part = (fused_time_s(each, KERNELS["FA3"], H100) for each in (full, half))
    assert part - constant == pytest.approx((whole - constant) / 2 * (1 + 1 / 32), rel=1e-12)


def test_attention_needs_the_pace_of_exponentials() -> None:
    problem = Attention(1, 16, 512, 64, causal=False)
    with pytest.raises(UnsupportedError) as refused:
        fused_time_s(problem, KERNELS["FA2"], chip("mi300x"))
    assert str(refused.value) == (
        "mi300x must have throughput.exponential to time fused attention, not none; give it "
        "with --set throughput.exponential=16"
    )
