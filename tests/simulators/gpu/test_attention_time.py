"""How long attention and recurrent layers of a plan take, by hand."""

from __future__ import annotations

from math import prod

import pytest

from tetrapla.simulators.gpu.attention_time import KERNELS, Attention, fused_time_s, parts
from tetrapla.simulators.gpu.fused_attention import FusedAttention
from tetrapla.simulators.gpu.recurrent import Recurrent
from tetrapla.simulators.gpu.recurrent_time import recurrence
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.spec_ import load_spec


def chip(name: str) -> GpuSpec:
    return load_spec(name, GpuSpec).spec


H100 = chip("h100")


def attention(batch: int, heads: int, rows: int, keys: int, size: int) -> FusedAttention:
    """Of row-major buffers."""
    strides = [
        (heads * count * size, count * size, size, 1) for count in (rows, rows, keys, keys)
    ]
    return FusedAttention(
        name="attention", op="nn.attention", output="y", steps=(), channels=1, inner=1,
        operand="f16", buffers=("q", "", "k", "v"), offsets=(0, 0, 0, 0),
        strides=tuple(n for each in strides for n in each), lead=(batch,), heads=heads,
        key_heads=heads, rows=rows, columns=size, value_columns=size, segments=(keys,),
        masked=False, scale=1.0, last_key=None, masked_rows="nan", tile_rows=128, tile_keys=64,
    )  # fmt: skip


def moved_bytes(kernel: FusedAttention) -> int:
    tokens = 2 * kernel.rows + 2 * kernel.keys
    return 2 * tokens * kernel.columns * kernel.heads * kernel.instances


@pytest.mark.parametrize("length", [512, 2048, 16384])
def test_where_it_was_fitted_a_plans_attention_takes_the_librarys_time(length: int) -> None:
    # the fit's points have 16384 tokens of 2048 features
    batch = 16384 // length
    kernel = attention(batch, 16, length, length, 128)
    found = parts(kernel, moved_bytes(kernel), H100, "fp16")
    problem = Attention(batch, 16, length, 128, causal=False)
    whole = fused_time_s(problem, KERNELS["cuDNN"], H100)
    assert H100.timing.product.launch_s + found.busy_s == pytest.approx(whole, rel=1e-12)
    assert found.bound_by == "compute"


def test_the_parts_by_hand() -> None:
    kernel = attention(1, 12, 128, 128, 64)
    assert kernel.pairs == 12 * 128 * 128
    assert kernel.macs == 12 * 128 * 128 * 128
    found = parts(kernel, moved_bytes(kernel), H100, "fp16")
    # 2 * 25165824 operations at 0.81 of 989.43 T/s, 1.14 of 196608 / (16 * 132 * 1.83e9)
    assert found.compute_s == pytest.approx(62.80e-9, rel=1e-3)
    assert found.exponential_s == pytest.approx(57.99e-9, rel=1e-3)
    # 12 blocks on 132 multiprocessors
    assert found.wave_s == pytest.approx(12 / 132 * 0.62e-6)
    # 786432 bytes at 3.35 TB/s, and at 0.886 of that
    assert found.dram_s == pytest.approx(264.96e-9, rel=1e-3)
    assert found.busy_s == found.dram_s
    assert found.bound_by == "dram"


def test_one_query_over_a_long_cache_takes_what_its_keys_take() -> None:
    kernel = attention(8, 32, 1, 8192, 128)
    found = parts(kernel, moved_bytes(kernel), H100, "fp16")
    assert found.bound_by == "dram"
    assert found.busy_s == pytest.approx(moved_bytes(kernel) / 3.35e12 / 0.886)


def test_exponentials_of_an_unknown_pace_are_hidden() -> None:
    kernel = attention(1, 4, 512, 512, 64)
    assert parts(kernel, moved_bytes(kernel), chip("mi300x"), "fp16").exponential_s == 0


def layer(batch: int, hidden: int) -> Recurrent:
    return Recurrent(
        name="layer", op="nn.lstm", output="y", steps=(), channels=1, inner=1, operand="f16",
        kept="f16", given="g", r="r", b="", h0="", c0="", p="", scratch="c", length=10,
        batch=batch, hidden=hidden, directions=1, reverse=False,
        activations=("sigmoid", "tanh", "tanh"), clip=0.0, flag=False, tile_batch=16,
        tile_hidden=32, tile_k=32,
    )  # fmt: skip


def test_a_recurrent_layer_by_hand() -> None:
    small = layer(1, 64)
    assert small.grid == (1, 1, 1)
    assert small.macs == 10 * 4 * 64 * 64
    matrix_bytes = 2 * 4 * 64 * 64
    found = recurrence(small, matrix_bytes, H100, "fp16")
    # 10 steps of 2 tiles, a microsecond each
    assert found.latency_s == pytest.approx(20e-6)
    assert found.l2_bytes == 10 * matrix_bytes
    assert found.bound_by == "latency"
    tiles = H100.timing.product.tiles
    assert tiles is not None
    feed = tiles.feed_byte_per_clock * H100.clock_hz
    assert found.feed_s == pytest.approx(10 * matrix_bytes / feed)
    assert found.busy_s == found.latency_s + max(found.feed_s, found.compute_s)


def test_sequences_share_the_steps_until_the_chip_is_full() -> None:
    matrix_bytes = 2 * 4 * 64 * 64
    places = H100.streaming_multiprocessors * 16
    times = [
        recurrence(layer(batch, 64), matrix_bytes, H100, "fp16").busy_s
        for batch in (1, places, places + 1)
    ]
    assert times[0] == times[1]
    assert times[2] == 2 * times[1]
    assert prod(layer(places, 64).grid) == H100.streaming_multiprocessors
