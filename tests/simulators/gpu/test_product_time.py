"""The time of matrix products: by hand, against the formulas one by one, and by laws."""

from __future__ import annotations

from itertools import product
from math import ceil, inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.gpu.product_time import (
    SPLITS,
    TILES,
    Floats,
    ProductTimes,
    Shapes,
    dense,
    pnorm4,
    product_times,
)
from tetrapla.simulators.gpu.spec import GpuSpec, Tiles
from tetrapla.simulators.spec_ import load_spec

A100 = load_spec("a100", GpuSpec).spec
L4 = load_spec("l4", GpuSpec).spec
SIZES = st.integers(1, 20_000)


def one(*sizes: float) -> Floats:
    return np.array(sizes, np.float64)


def times(spec: GpuSpec, m: int, n: int, k: int) -> ProductTimes:
    return product_times(dense(one(m), one(n), one(k), 2), spec, "fp16")


def seconds(spec: GpuSpec, m: int, n: int, k: int) -> float:
    return float(times(spec, m, n, k).time_s[0])


def retiled(spec: GpuSpec, **changed: float) -> GpuSpec:
    """The chip with other constants of level 2."""
    product_ = spec.timing.product
    assert product_.tiles is not None
    tiles = Tiles.model_validate({**product_.tiles.model_dump(), **changed})
    timing = spec.timing.model_copy(
        update={"product": product_.model_copy(update={"tiles": tiles})}
    )
    return spec.model_copy(update={"timing": timing})


def test_level_1_is_the_soft_maximum_of_arithmetic_and_memory() -> None:
    # 2 * 4096^3 / (0.72 * 58 * 2.04e9 * 1024) = 1575.503 us
    # 3 * 4096^2 * 2 bytes / (0.80 * 300e9)   =  419.430 us
    # 9 + 1575.503 * (1 + (419.430 / 1575.503)^4)^(1/4) = 9 + 1577.478 us
    assert L4.level == 1
    assert seconds(L4, 4096, 4096, 4096) == pytest.approx(1586.478e-6, rel=1e-6)


def test_level_2_by_hand() -> None:
    # tiles of 256 x 128: 16 * 32 = 512 on 108 multiprocessors, 4 full waves and 80 tiles: 5
    #   arithmetic 2 * 256 * 128 * 4096 / (0.813 * 2048 * 1.41e9) = 114.341 us
    #   feed       384 * 2 * 4096 / (39.6 * 1.41e9)               =  56.339 us
    #   tile       114.341 * (1 + 0.49273^4)^(1/4)                = 115.988 us
    #   array      5 * 115.988 + 5 * 0.63                         = 583.09 us
    # the operands, 67.1 MB, do not fit 80 % of 40 MB, so the memory moves
    #   512 / 108 * sqrt(108) * 384 * 2 * 4096 + 2 * 4096^2 = 188.53 MB, not 100.66 MB
    #   188.53e6 / (0.779 * 2.039e12) * (1 + 1.9 / 100.66)  = 120.93 us
    # 3.2 + 583.09 * (1 + (120.93 / 583.09)^4)^(1/4) = 586.56 us
    found = times(A100, 4096, 4096, 4096)
    assert float(found.array_s[0]) == pytest.approx(583.09e-6, rel=1e-4)
    assert float(found.dram_s[0]) == pytest.approx(120.93e-6, rel=1e-4)
    assert float(found.dram_bytes[0]) == pytest.approx(188.53e6, rel=1e-4)
    assert float(found.time_s[0]) == pytest.approx(586.56e-6, rel=1e-4)
    # every tile stages (256 + 128) * 4096 halves, and the result leaves once
    assert float(found.l2_bytes[0]) == 512 * 384 * 2 * 4096 + 2 * 4096**2
    assert found.bound_by(found.launch_s) == ["compute"]


def quickest(spec: GpuSpec, count: int, m: int, n: int, k: int, moved: float) -> float:
    """The formulas of the module's head, one candidate after another."""
    fitted, tiles = spec.timing.product, spec.timing.product.tiles
    assert tiles is not None
    sms, clock = spec.streaming_multiprocessors, spec.clock_hz
    operand, result = 2.0 * count * (m * k + k * n), 2.0 * count * m * n
    best = inf
    for (tm, tn), split in product(TILES, SPLITS):
        kc = ceil(k / split / 32) * 32
        if split > 1 and kc < 64:
            continue
        number = ceil(m / tm) * ceil(n / tn) * split * count
        o = 1 if tm * tn >= 16384 else 2 if tm * tn >= 8192 else 3
        arithmetic = 2 * tm * tn * kc / (fitted.compute_efficiency_frac * 2048 * clock)
        feed = (tm + tn) * 2 * kc / (tiles.feed_byte_per_clock * clock)
        tile = (arithmetic**4 + feed**4) ** 0.25
        full, rest = divmod(number, sms * o)
        array = (full * o + ceil(rest / sms)) * tile
        array += (full + (rest > 0)) * tiles.prologue_s
        if operand <= 0.8 * spec.l2.capacity_bytes:
            dram = moved
        else:
            waves = max(number / (sms * o), 1) * min(sms * o, number) ** 0.5
            dram = max(moved, waves * (tm + tn) * kc * 2 + result)
        rate = fitted.dram_efficiency_frac * spec.dram.bandwidth_bytes_per_s
        memory = dram / rate * (1 + tiles.knee_bytes / moved)
        extra = 0.0
        if split > 1:
            bytes_ = 8 * count * m * n * split
            extra = tiles.reduction_s + bytes_ / (tiles.feed_byte_per_clock * clock * sms)
        best = min(best, fitted.launch_s + (array**4 + memory**4) ** 0.25 + extra)
    return best


@settings(deadline=None)  # the machine may be busy
@given(st.integers(1, 64), SIZES, SIZES, SIZES)
def test_level_2_is_its_formulas(count: int, m: int, n: int, k: int) -> None:
    shapes = Shapes(
        one(count), one(m), one(n), one(k), one(2 * count * (m * k + k * n)),
        one(2 * count * m * n), 2,
    )  # fmt: skip
    found = product_times(shapes, A100, "fp16")
    wanted = quickest(A100, count, m, n, k, float(shapes.moved_bytes[0]))
    # the same sums in another order: some tens of roundings of 2^-53
    assert float(found.time_s[0]) == pytest.approx(wanted, rel=1e-13)


def test_many_products_are_timed_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    m, n, k = rng.integers(1, 9000, (3, 50)).astype(np.float64)
    together = product_times(dense(m, n, k, 2), A100, "fp16").time_s
    apart = [seconds(A100, int(m[i]), int(n[i]), int(k[i])) for i in range(50)]
    assert together.tolist() == apart


def test_the_sum_is_split_where_tiles_are_few_and_k_is_long() -> None:
    assert times(A100, 64, 64, 32_768).reduction_s[0] > 0
    assert times(A100, 64, 64, 128).reduction_s[0] == 0
    # 108 tiles of 128 x 128 fill the chip already
    assert times(A100, 128 * 12, 128 * 9, 1024).reduction_s[0] == 0


@pytest.mark.parametrize("spec", [A100, L4], ids=["level 2", "level 1"])
@settings(deadline=None)  # the machine may be busy
@given(SIZES, SIZES, SIZES)
def test_no_product_beats_the_peak_or_the_memory(spec: GpuSpec, m: int, n: int, k: int) -> None:
    least_s = max(
        2 * m * n * k / spec.peak_op_per_s("fp16"),
        2 * (m * n + n * k + m * k) / spec.dram.bandwidth_bytes_per_s,
    )
    assert seconds(spec, m, n, k) > least_s


@pytest.mark.parametrize("spec", [A100, L4], ids=["level 2", "level 1"])
@settings(deadline=None)  # the machine may be busy
@given(SIZES, SIZES, SIZES, st.integers(0, 2))
def test_a_larger_product_takes_no_less_time(
    spec: GpuSpec, m: int, n: int, k: int, axis: int
) -> None:
    if spec.level == 2:
        # the knee is relative to the bytes, so its share falls a little as they grow
        spec = retiled(spec, knee_bytes=0)
    larger = [m, n, k]
    larger[axis] += max(1, larger[axis] // 7)
    before, after = seconds(spec, m, n, k), seconds(spec, *larger)
    assert after >= before * (1 - 1e-13)


@pytest.mark.parametrize("spec", [A100, L4], ids=["level 2", "level 1"])
@settings(deadline=None)  # the machine may be busy
@given(SIZES, SIZES, SIZES)
def test_a_faster_memory_or_clock_takes_no_more_time(
    spec: GpuSpec, m: int, n: int, k: int
) -> None:
    dram = spec.dram.model_copy(
        update={"bandwidth_bytes_per_s": 2 * spec.dram.bandwidth_bytes_per_s}
    )
    usual = seconds(spec, m, n, k) * (1 + 1e-13)
    assert seconds(spec.model_copy(update={"dram": dram}), m, n, k) <= usual
    clocked = spec.model_copy(update={"clock_hz": 1.5 * spec.clock_hz})
    assert seconds(clocked, m, n, k) <= usual


def named(**parts: float) -> str:
    names = (
        *("launch_s", "compute_s", "tile_s", "feed_s", "wave_s", "array_s", "dram_s"),
        *("reduction_s", "dram_bytes", "l2_bytes"),
    )
    found = ProductTimes(**{name: one(parts.get(name, 0.0)) for name in names})
    (name,) = found.bound_by(found.launch_s)
    return name


def test_what_takes_most_of_the_time_is_named() -> None:
    assert named(launch_s=5, array_s=4, compute_s=4, dram_s=3) == "launch"
    assert named(launch_s=1, array_s=4, compute_s=4, dram_s=5) == "dram"
    assert named(launch_s=1, array_s=4, compute_s=4, reduction_s=5) == "split-k sum"
    assert named(launch_s=1, array_s=6, compute_s=3, tile_s=2, wave_s=1) == "compute"
    assert named(launch_s=1, array_s=6, compute_s=2, tile_s=3, wave_s=1) == "tile quantisation"
    assert named(launch_s=1, array_s=6, compute_s=2, tile_s=1, wave_s=3) == "wave quantisation"
    assert named(launch_s=1, array_s=6, compute_s=2, tile_s=1, feed_s=5) == "l2"


@pytest.mark.parametrize(
    ("m", "n", "k", "bound"),
    [
        (16, 16, 64, "launch"),
        (8, 8192, 8192, "dram"),
        (8192, 8192, 8192, "compute"),
        (360, 171, 1045, "wave quantisation"),
        (134, 270, 11469, "tile quantisation"),
        (187, 198, 5887, "l2"),
    ],
)
def test_real_products_are_named(m: int, n: int, k: int, bound: str) -> None:
    found = times(A100, m, n, k)
    assert found.bound_by(found.launch_s) == [bound]


def test_parts_of_the_array_add_up() -> None:
    rng = np.random.default_rng(1)
    m, n, k = rng.integers(1, 9000, (3, 50)).astype(np.float64)
    # without the L2 feed nothing is between arithmetic, padding and waves
    spec = retiled(A100, feed_byte_per_clock=1e12)
    found = product_times(dense(m, n, k, 2), spec, "fp16")
    total = found.compute_s + found.tile_s + found.wave_s
    np.testing.assert_allclose(total, found.array_s, rtol=1e-12)
    assert (found.tile_s >= 0).all()


def test_a_format_of_fewer_bytes_and_a_higher_peak_is_quicker() -> None:
    shape = dense(one(4096), one(4096), one(4096), 1)
    halves = product_times(dense(one(4096), one(4096), one(4096), 2), A100, "fp16")
    bytes_ = product_times(shape, A100, "int8")
    assert bytes_.compute_s[0] == pytest.approx(halves.compute_s[0] / 2, rel=1e-15)
    assert bytes_.time_s[0] < halves.time_s[0]


def test_a_format_that_the_chip_lacks_is_refused() -> None:
    with pytest.raises(UnsupportedError) as refused:
        product_times(dense(one(64), one(64), one(64), 1), A100, "fp8")
    assert str(refused.value) == (
        "a100 must be given a format that it multiplies, fp32, tf32, fp16, bf16, int8, "
        "not fp8; choose another --quant or chip"
    )


def test_pnorm4_lies_between_the_maximum_and_the_sum() -> None:
    found = pnorm4(one(0, 3, 1e-12), one(0, 0, 1e-12))
    np.testing.assert_allclose(found, [0, 3, 2**0.25 * 1e-12], rtol=1e-15)
