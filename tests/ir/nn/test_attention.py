"""Attention against ONNX Runtime and by hand; the tiled form against the plain one.

The bound: u is 2^-24, S the number of keys, D the depth, s the largest sum of |q_i k_i| times
the scale, and the mask's size. A score is off by at most (D + 6) u s (D products and sums, the
scale in one or three roundings, the mask). A weight is an exponential of a difference of
scores, of at most 2 s, so it is relatively off by 2 (D + 6) u s + 2 s u + 4 u, in the tiled
form by 3 u more for each tile. A sum of S weights adds S u. The result is a quotient of two
such sums times the values, and two forms are compared: four times the relative error, times
the largest value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.ir.graph import Array, Value
from tetrapla.ir.op import OPS

Run: TypeAlias = Callable[..., list[Array]]
FORM: dict[str, Any] = {
    "scale": 0.3,
    "causal": 0,
    "causal_offset": 0,
    "masked_rows": "nan",
    "block": 0,
}


def _bound(q: Array, k: Array, v: Array, scale: float, mask: float, tiles: int) -> float:
    u, depth, keys = 2.0**-24, q.shape[-1], k.shape[-2]
    repeated = np.repeat(np.abs(k), q.shape[-3] // k.shape[-3], axis=-3)
    largest = float(np.max(np.abs(q) @ repeated.swapaxes(-1, -2)))
    s = largest * scale + mask
    relative = 2 * (depth + 6) * u * s + 2 * s * u + 4 * u + 3 * tiles * u + keys * u
    return float(4 * relative * np.max(np.abs(v)))


def _drawn(
    rng: np.random.Generator, heads: tuple[int, int], sizes: tuple[int, int]
) -> tuple[Array, Array, Array]:
    (hq, hk), (rows, keys) = heads, sizes
    shapes = ((2, hq, rows, 16), (2, hk, keys, 16), (2, hk, keys, 8))
    q, k, v = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return q, k, v


@pytest.mark.parametrize("heads", [(4, 4), (6, 2), (4, 1)])
@pytest.mark.parametrize("mask", ["none", "truth", "float"])
@pytest.mark.parametrize("causal", [0, 1])
def test_onnx_runtime_agrees(
    heads: tuple[int, int],
    mask: str,
    causal: int,
    rng: np.random.Generator,
    ours: Run,
    runtime: Run,
) -> None:
    q, k, v = _drawn(rng, heads, (9, 9))
    operands = [q, k, v]
    if mask == "truth":
        operands.append(np.tril(np.ones((9, 9), np.bool_)) | (rng.random((9, 9)) < 0.5))
    if mask == "float":
        operands.append(rng.uniform(-2, 2, (2, 1, 9, 9)).astype(np.float32))
    (theirs,) = runtime("Attention", operands, opset=23, scale=0.3, is_causal=causal)
    bound = _bound(q, k, v, 0.3, 2.0, 1)
    for block in (0, 4):
        form = FORM | {"causal": causal, "block": block}
        (found,) = ours("nn.attention", operands, **form)
        assert np.abs(found - theirs).max() <= bound


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 7),
    st.integers(0, 12),
    st.integers(1, 14),
    st.integers(-8, 8),
    st.integers(0, 2**32 - 1),
)
def test_tiles_agree_with_the_plain_form(
    heads: int, groups: int, rows: int, keys: int, block: int, offset: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    q, k, v = _drawn(rng, (heads * groups, heads), (rows, keys))
    mask = np.where(rng.random((rows, keys)) < 0.2, -np.inf, rng.normal(size=(rows, keys)))
    form = FORM | {"causal": 1, "causal_offset": offset, "masked_rows": "zero"}
    operands = [q * 4, k, v, mask.astype(np.float32)]
    attend = OPS["nn.attention"].evaluate
    plain, tiled = attend(*operands, **form), attend(*operands, **form | {"block": block})
    assert isinstance(plain, np.ndarray)
    assert isinstance(tiled, np.ndarray)
    if keys:
        tiles = -(-keys // block)
        assert np.abs(plain - tiled).max() <= _bound(q * 4, k, v, 0.3, 6.0, tiles)
    else:
        assert not plain.any()
        assert not tiled.any()


def test_large_scores_do_not_overflow_in_tiles(rng: np.random.Generator, ours: Run) -> None:
    q = np.full((1, 1, 1, 1), 1000, np.float32)
    k = np.array([-1, 1, 0.5, 1], np.float32).reshape(1, 1, 4, 1)  # the larger ones come later
    v = np.array([1, 2, 3, 4], np.float32).reshape(1, 1, 4, 1)
    for block in (0, 1, 2):
        (found,) = ours("nn.attention", [q, k, v], **FORM | {"scale": 1.0, "block": block})
        assert found.item() == 3  # the mean of 2 and 4


@pytest.mark.parametrize("block", [0, 1, 3])
def test_a_row_that_sees_nothing(block: int, rng: np.random.Generator, ours: Run) -> None:
    q, k, v = _drawn(rng, (2, 2), (3, 3))
    form = FORM | {"causal": 1, "causal_offset": -1, "block": block}
    (nan,) = ours("nn.attention", [q, k, v], **form)
    (zero,) = ours("nn.attention", [q, k, v], **form | {"masked_rows": "zero"})
    assert np.isnan(nan[..., 0, :]).all()
    assert not zero[..., 0, :].any()
    assert np.array_equal(nan[..., 1:, :], zero[..., 1:, :])


def test_query_heads_read_the_key_head_of_their_group(
    rng: np.random.Generator, ours: Run
) -> None:
    q, k, v = _drawn(rng, (6, 2), (4, 5))
    (grouped,) = ours("nn.attention", [q, k, v], **FORM)
    whole = [q, np.repeat(k, 3, axis=1), np.repeat(v, 3, axis=1)]
    (repeated,) = ours("nn.attention", whole, **FORM)
    assert np.abs(grouped - repeated).max() <= _bound(q, k, v, 0.3, 0.0, 1)


def test_leading_axes_are_a_batch(rng: np.random.Generator, ours: Run) -> None:
    q, k, v = _drawn(rng, (4, 2), (3, 5))
    form = FORM | {"block": 2}
    (whole,) = ours("nn.attention", [q, k, v], **form)
    (deeper,) = ours("nn.attention", [array[:, None] for array in (q, k, v)], **form)
    assert np.array_equal(whole, deeper[:, 0])
    (alone,) = ours("nn.attention", [q[1], k[1], v[1]], **form)
    assert np.abs(whole[1] - alone).max() <= _bound(q, k, v, 0.3, 0.0, 3)


def test_small_floats_are_rounded_once(rng: np.random.Generator, ours: Run) -> None:
    q, k, v = (array.astype(np.float16) for array in _drawn(rng, (2, 2), (3, 5)))
    (small,) = ours("nn.attention", [q, k, v], **FORM)
    wide = [array.astype(np.float32) for array in (q, k, v)]
    (found,) = ours("nn.attention", wide, **FORM)
    assert np.array_equal(small, found.astype(np.float16))


def test_every_query_meets_every_key() -> None:
    shapes = [(2, 6, 4, 16), (2, 2, 5, 16), (2, 2, 5, 8)]
    q, k, v = (Value(i, shape, "f32") for i, shape in enumerate(shapes))
    y = Value(3, (2, 6, 4, 8), "f32")
    # 2 * 6 * 4 queries, 5 keys, 16 for the score and 8 for the mixture
    assert OPS["nn.attention"].macs([q, k, v], y) == 2 * 6 * 4 * 5 * (16 + 8)
    # two for each of those, and six for each of the 2 * 6 * 4 * 5 scores
    assert OPS["nn.attention"].flops([q, k, v], [y], {}) == 2 * 5760 + 6 * 240
    mask = Value(4, (4, 5), "i1")
    assert OPS["nn.attention"].flops([q, k, v, mask], [y], {}) == 2 * 5760 + 7 * 240
