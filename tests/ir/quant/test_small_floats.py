"""Small floats against ml_dtypes, blocks against ONNX, MX and NVFP4 by hand and by law."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tetrapla.ir.graph import BITS, DTYPES, Array
from tetrapla.ir.op import OPS
from tetrapla.ir.quant.micro import MX_ELEMENTS, block_maxima, nvfp4_tensor_scale
from tetrapla.ir.quant.small import FORMATS, to_small


def _grid(dtype: str) -> Array:
    """All finite values of a small float, ascending, float64."""
    codes = np.arange(1 << BITS[dtype], dtype=np.uint8)
    values = codes.view(DTYPES[dtype]).astype(np.float64)
    return np.unique(values[np.isfinite(values)])


@pytest.mark.parametrize("dtype", FORMATS)
def test_rounding_equals_ml_dtypes(dtype: str, rng: np.random.Generator) -> None:
    """On 10^6 random bit patterns in range, every value, every tie and its neighbours."""
    grid = _grid(dtype)
    middles = (grid[1:] + grid[:-1]) / 2
    ties = middles.astype(np.float32)
    assert np.array_equal(ties, middles)  # a middle has one bit more: exact in float32
    near = [np.nextafter(ties, np.float32(side)) for side in (-np.inf, np.inf)]
    patterns = rng.integers(0, 2**32, 4_000_000, dtype=np.uint32).view(np.float32)
    x = np.concatenate([patterns, grid.astype(np.float32), ties, *near])
    x = x[np.abs(x) <= FORMATS[dtype].largest]  # ml_dtypes saturates not every format
    assert x.size >= 1_000_000
    ours, theirs = to_small(x, dtype), x.astype(DTYPES[dtype])
    assert np.array_equal(ours.view(np.uint8), theirs.view(np.uint8))


@pytest.mark.parametrize(("dtype", "form"), FORMATS.items())
def test_too_large_values_saturate_and_nan_stays_or_vanishes(dtype: str, form: Any) -> None:
    x = np.array([form.largest * 1.5, -1e30, np.inf, -np.inf, np.nan, -0.0], np.float32)
    y = to_small(x, dtype).astype(np.float64)
    top = form.largest
    assert y[:4].tolist() == [top, -top, top, -top]
    assert np.isnan(y[4]) if form.with_nan else y[4] == 0
    assert np.signbit(y[5])


def test_two_bits_by_hand() -> None:
    """Ties to even before the zero point, then -2 to 1 and 0 to 3."""
    x = np.array([-9, -1.5, -0.5, 0.5, 1.5, 9], np.float32)
    one = np.ones(1, np.float32)
    signed = OPS["qnn.quantize"].evaluate(x, one, zero_point=-1, axis=0, dtype="i2")
    assert np.asarray(signed).astype(int).tolist() == [-2, -2, -1, -1, 1, 1]
    unsigned = OPS["qnn.quantize"].evaluate(x, one, zero_point=1, axis=0, dtype="ui2")
    assert np.asarray(unsigned).astype(int).tolist() == [0, 0, 1, 1, 3, 3]


def test_the_formats_have_the_maxima_of_their_types() -> None:
    assert {dtype: float(_grid(dtype)[-1]) for dtype in FORMATS} == {
        "f8E4M3FN": 448,
        "f8E5M2": 57344,
        "f6E2M3FN": 7.5,
        "f6E3M2FN": 28,
        "f4E2M1FN": 6,
    }


def _blocked(x: Array, scale: Array, zero: Array | None, **own: Any) -> Array:
    operands = (x, scale) if zero is None else (x, scale, zero)
    return np.asarray(OPS["qnn.quantize_blocks"].evaluate(*operands, **own))


@pytest.mark.parametrize("dtype", ["i8", "ui8", "i16", "ui16", "i4", "ui4"])
def test_blocks_equal_the_runtime_s(
    dtype: str, kernel: Callable[..., Any], tally: Any, rng: np.random.Generator
) -> None:
    """Blocks of 32 along the second axis, scale and zero point for each; ties among them."""
    bits = BITS[dtype]
    low, high = (
        (0, 2**bits - 1) if dtype[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )
    shape = (20, 256, 50)
    cast = onnx.TensorProto.INT8 if bits == 4 else None
    for part in range(4):
        scale = np.exp2(rng.integers(-4, 4, (20, 8, 50))).astype(np.float32)
        if part % 2:
            scale *= rng.uniform(0.5, 1, scale.shape).astype(np.float32)
        zero = rng.integers(low, high + 1, scale.shape)
        wide = np.repeat(scale, 32, 1)
        halves = rng.integers(low - high - 9, high - low + 9, shape) * np.float32(0.5)
        x = (halves * wide).astype(np.float32)
        held = zero.astype(DTYPES[dtype])
        own = {"axis": 1, "block_size": 32}
        constants = {"s": scale, "z": held}
        run = kernel("QuantizeLinear", ["x", "s", "z"], {"x": x}, constants, cast=cast, **own)
        ours = _blocked(x, scale, held, blocks=(1, 32, 1), dtype=dtype)
        real = halves.astype(np.float64) + np.repeat(zero, 32, 1) if part % 2 == 0 else None
        (theirs,) = run(x=x)
        tally.add(ours.astype(np.int8) if bits == 4 else ours, theirs, real)
        back = OPS["qnn.dequantize_blocks"].evaluate(ours, scale, held, blocks=(1, 32, 1))
        order, constants = ["q", "s", "z"], {"q": ours, "s": scale, "z": held}
        (real_back,) = kernel("DequantizeLinear", order, {}, constants, **own)()
        assert np.array_equal(np.asarray(back), real_back)
    tally.agrees(ties=5_000)


@pytest.mark.parametrize("dtype", ["f8E4M3FN", "f8E5M2", "i8", "ui4"])
def test_blocks_equal_onnx_s_own_reference(dtype: str, rng: np.random.Generator) -> None:
    x = rng.normal(0, 30, (6, 32)).astype(np.float32)
    scale = rng.uniform(0.1, 2, (6, 4)).astype(np.float32)
    zero = np.zeros((6, 4), DTYPES[dtype])
    if dtype in ("i8", "ui4"):
        zero = rng.integers(0, 8, (6, 4)).astype(DTYPES[dtype])
    tensors = [numpy_helper.from_array(a, n) for a, n in ((scale, "s"), (zero, "z"))]
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=1, block_size=8)
    back = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=1, block_size=8)
    made = [
        helper.make_tensor_value_info("q", tensors[1].data_type, x.shape),
        helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, x.shape),
    ]
    given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)
    graph = helper.make_graph([node, back], "one", [given], made, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    q, y = ReferenceEvaluator(model).run(None, {"x": x})
    ours = _blocked(
        x, scale, zero if dtype in ("i8", "ui4") else None, blocks=(1, 8), dtype=dtype
    )
    assert np.array_equal(ours.view(np.uint8), np.asarray(q).view(np.uint8))
    operands = (ours, scale, zero) if dtype in ("i8", "ui4") else (ours, scale)
    mine = OPS["qnn.dequantize_blocks"].evaluate(*operands, blocks=(1, 8))
    assert np.array_equal(np.asarray(mine), np.asarray(y))


def test_blocks_of_two_axes_cut_short_at_the_end(rng: np.random.Generator) -> None:
    """Tiles of 2 x 3 over 5 x 7: element (i, j) has scale (i // 2, j // 3)."""
    x = rng.normal(0, 3, (5, 7)).astype(np.float32)
    scale = rng.uniform(0.1, 1, (3, 3)).astype(np.float16)
    ours = _blocked(x, scale, None, blocks=(2, 3), dtype="i4")
    back = np.asarray(OPS["qnn.dequantize_blocks"].evaluate(ours, scale, blocks=(2, 3)))
    for i, j in np.ndindex(5, 7):
        own = np.float32(scale[i // 2, j // 3])
        step = max(-8, min(7, int(np.rint(x[i, j] / own))))
        assert int(ours[i, j]) == step
        assert back[i, j] == np.float32(step) * own


def test_one_block_per_axis_is_the_per_axis_operator(rng: np.random.Generator) -> None:
    x = rng.normal(0, 30, (4, 6, 5)).astype(np.float32)
    scale = rng.uniform(0.1, 2, 6).astype(np.float32)
    ours = _blocked(x, scale.reshape(1, 6, 1), None, blocks=(4, 1, 5), dtype="i8")
    theirs = OPS["qnn.quantize"].evaluate(x, scale, zero_point=0, axis=1, dtype="i8")
    assert np.array_equal(ours, np.asarray(theirs))


def _mx(x: Array, dtype: str, block_size: int = 32) -> tuple[Array, Array, Array]:
    """Elements, scale, and what they stand for."""
    made = OPS["qnn.mx_quantize"].evaluate(x, axis=-1, block_size=block_size, dtype=dtype)
    q, scale = (np.asarray(value) for value in made)
    blocks = (*(1,) * (x.ndim - 1), block_size)
    return q, scale, np.asarray(OPS["qnn.dequantize_blocks"].evaluate(q, scale, blocks=blocks))


# 3.5 has exponent 1: scale 2^(1 - e_max), e_max 2 (E2M1, E2M3), 4 (E3M2), 8 (E4M3), 0 (int8)
@pytest.mark.parametrize(
    ("dtype", "power", "expected"),
    [
        ("f4E2M1FN", -1, [1, -2, 3, 0]),  # 7 saturates at 6; 0.2 is nearest to 0
        ("f6E2M3FN", -1, [1, -2, 3.5, 0.125]),  # 0.2 lies between 0.125 and 0.25
        ("f6E3M2FN", -3, [1, -2, 3.5, 0.09375]),  # 0.8 between 0.75 and 0.875
        ("f8E4M3FN", -7, [1, -2, 3.5, 0.1015625]),  # 12.8 between 12 and 13
        ("i8", 1, [1, -2, 3.5, 0.09375]),  # steps of 2/64: 3.2
    ],
)
def test_mx_by_hand(dtype: str, power: int, expected: list[float]) -> None:
    x = np.array([[1, -2, 3.5, 0.1]], np.float32)
    _, scale, real = _mx(x, dtype, 4)
    assert scale.astype(np.float64).tolist() == [[2.0**power]]
    assert real.tolist() == [expected]


@pytest.mark.parametrize("dtype", MX_ELEMENTS)
def test_mx_scales_put_the_largest_into_the_top_binade(
    dtype: str, rng: np.random.Generator
) -> None:
    """And the elements are the nearest ones: to ml_dtypes, or to steps of 1/64."""
    x = (rng.normal(0, 1, (2_000, 512)) * np.exp2(rng.integers(-60, 60, (2_000, 1)))).astype(
        "f4"
    )
    q, scale, _ = _mx(x, dtype)
    e_max = FORMATS[dtype].e_max if dtype in FORMATS else 0
    largest = np.abs(x).reshape(2_000, 16, 32).max(axis=2).astype(np.float64)
    binade = largest / scale.astype(np.float64)
    assert (binade >= 2.0**e_max).all()
    assert (binade < 2.0 ** (e_max + 1)).all()
    steps = x.astype(np.float64) / np.repeat(scale.astype(np.float64), 32, 1)
    if dtype == "i8":
        theirs = np.clip(np.rint(steps * 64), -127, 127)
    else:
        top = FORMATS[dtype].largest
        theirs = np.clip(steps, -top, top).astype(DTYPES[dtype])
    assert q.size >= 1_000_000
    assert np.array_equal(q.astype(np.float64), theirs.astype(np.float64))


def test_mx_of_zeros_extremes_and_what_is_no_number() -> None:
    tiny, huge = np.float32(1e-45), np.finfo(np.float32).max
    x = np.array([[0, 0], [tiny, 0], [huge, -huge], [np.nan, 1], [np.inf, 1]], np.float32)
    q, scale, real = _mx(x, "f8E4M3FN", 2)
    powers = scale.astype(np.float64).ravel()
    # the largest float32 is just below 2^128: 127 - 8 = 119
    assert powers[:3].tolist() == [2.0**-127, 2.0**-127, 2.0**119]
    assert np.isnan(powers[3:]).all()
    # 2^-149 / 2^-127 = 2^-22 is below half the least element, 2^-9
    assert q[:2].astype(np.float64).tolist() == [[0, 0], [0, 0]]
    assert real[2].tolist() == [448 * 2.0**119, -448 * 2.0**119]
    assert np.isnan(real[3:]).all()


def _nvfp4(x: Array, whole: Array, block_size: int) -> tuple[Array, Array, Array]:
    own = {"axis": -1, "block_size": block_size}
    made = OPS["qnn.nvfp4_quantize"].evaluate(x, whole, **own)
    q, scale = (np.asarray(value) for value in made)
    real = OPS["qnn.nvfp4_dequantize"].evaluate(q, scale, whole, **own)
    return q, scale, np.asarray(real)


def test_nvfp4_by_hand() -> None:
    """12/6 = 2 for the first block: 1.5, -0.75 (a tie, to -1), 0.35 (to 0.5), 6; then zeros."""
    x = np.array([[3, -1.5, 0.7, 12, 0, 0, 0, 0]], np.float32)
    q, scale, real = _nvfp4(x, np.array([1], np.float32), 4)
    assert scale.astype(float).tolist() == [[2, 0]]
    assert q.astype(float).tolist() == [[1.5, -1, 0.5, 6, 0, 0, 0, 0]]
    assert real.tolist() == [[3, -2, 1, 12, 0, 0, 0, 0]]


def test_nvfp4_uses_the_whole_range_and_errs_by_half_a_step(rng: np.random.Generator) -> None:
    x = rng.normal(0, 3, (500, 320)).astype(np.float32)
    whole = np.asarray(nvfp4_tensor_scale(x))
    assert whole == np.float32(np.abs(x).max()) / np.float32(2688)
    q, scale, real = _nvfp4(x, whole, 16)
    # the largest quotient is 448 but for three roundings to float32, then E4M3's own
    assert scale.astype(np.float64).max() == 448
    step = np.repeat(scale.astype(np.float64), 16, 1) * float(whole)
    # between 4 and 6 elements are 2 apart; a scale rounded down by up to 1/16 (four bits,
    # nearest) lets the largest exceed 6 by 6/16 < 1. Products of float32 add 3 parts in 2^24
    assert (np.abs(real - x) <= step * (1 + 1e-5)).all()
    assert np.abs(q.astype(float)).max() == 6


def test_nvfp4_of_zeros() -> None:
    x = np.zeros((2, 16), np.float32)
    whole = np.asarray(nvfp4_tensor_scale(x))
    assert whole == 1
    assert not _nvfp4(x, whole, 16)[2].any()


def test_block_maxima_keep_nan_and_a_short_end() -> None:
    x = np.array([[1, -5, 2, np.nan, 3]], np.float32)
    found = block_maxima(x, 1, 3)
    assert found[0, 0] == 5
    assert np.isnan(found[0, 1])
    assert block_maxima(x[:, :3], -1, 2).tolist() == [[5, 2]]
