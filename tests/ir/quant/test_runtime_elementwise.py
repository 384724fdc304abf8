"""Quantise, dequantise, add, multiply and join equal ONNX Runtime's kernels.

At least 10^6 outputs per operator and type. Power-of-two scales and odd zero points make
exact ties; their least number is asserted. The judge of QLinearAdd is its AVX2 kernel: without
AVX2 the runtime adds in another order, and on ARM in fixed point.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.op import OPS
from tetrapla.ir.quant.scale import fused_multiply_add

RANGES = {
    "i4": (-8, 7),
    "ui4": (0, 15),
    "i8": (-128, 127),
    "ui8": (0, 255),
    "i16": (-32768, 32767),
    "ui16": (0, 65535),
}
MICROSOFT = "com.microsoft"

pytestmark = pytest.mark.slow  # each compares a million outputs
PARTS = 25  # runs per operator, each with its own scales
SIZE = 50_000  # outputs per run
NEAR = 15  # how far from their zero points small operands lie

# a, b, y: exact ties; then ties but for the roundings of the scales themselves
TIES = [
    (0.5, 0.25, 0.5),
    (2.0, 1.0, 4.0),
    (0.25, 0.5, 2.0),
    (1.0, 0.125, 0.25),
    (0.3, 0.1, 0.06),
    (0.1, 0.7, 0.14),
    (0.3, 0.7, 0.2),
    (0.9, 0.3, 0.18),
]


def _scalar(value: float, dtype: str) -> Array:
    return np.asarray(value, DTYPES[dtype])


def _f32(value: float) -> Array:
    return np.asarray(value, np.float32)


def _scales(rng: np.random.Generator, part: int) -> tuple[float, float, float]:
    if part % 2:
        a, b = rng.uniform(0.01, 0.1, 2).astype(np.float32)
        return float(a), float(b), float(np.float32(rng.uniform(0.02, 0.2)))
    return TIES[part // 2 % len(TIES)]


def _odd(rng: np.random.Generator, dtype: str) -> int:
    return int(rng.integers(*RANGES[dtype])) | 1


@pytest.mark.parametrize("dtype", ["i4", "ui4", "i8", "ui8", "i16", "ui16"])
def test_quantize_linear(
    dtype: str, kernel: Callable[..., Any], tally: Any, rng: np.random.Generator
) -> None:
    """Four-bit results are looked at as int8, which Python can hold."""
    low, high = RANGES[dtype]
    for part in range(PARTS):
        zero = _odd(rng, dtype)
        if part % 2:
            scale = np.float32(rng.uniform(0.001, 10))
            x = rng.uniform(low - zero - 9, high - zero + 9, SIZE).astype(np.float32) * scale
        else:  # steps and half steps
            scale = np.float32(np.exp2(rng.integers(-9, 9)))
            halves = rng.integers(2 * (low - zero) - 9, 2 * (high - zero) + 9, SIZE)
            x = (halves * np.float32(0.5) * scale).astype(np.float32)
        constants = {"s": scale, "z": _scalar(zero, dtype)}
        cast = TensorProto.INT8 if "4" in dtype else None
        run = kernel("QuantizeLinear", ["x", "s", "z"], {"x": x}, constants, cast=cast)
        ours = np.asarray(
            OPS["qnn.quantize"].evaluate(
                x, scale.reshape(1), zero_point=zero, axis=0, dtype=dtype
            )
        )
        (theirs,) = run(x=x)
        ours = ours.astype(np.int8) if "4" in dtype else ours
        tally.add(ours, theirs, x.astype(np.float64) / np.float64(scale) + zero)
    tally.agrees(ties=100_000)


def test_quantize_linear_of_infinities_is_the_type_s_bounds(kernel: Callable[..., Any]) -> None:
    x = np.array([np.inf, -np.inf, 1e38, -1e38], np.float32)
    constants = {"s": np.float32(0.5), "z": np.int8(3)}
    (theirs,) = kernel("QuantizeLinear", ["x", "s", "z"], {"x": x}, constants)(x=x)
    scale = np.array([0.5], np.float32)
    ours = OPS["qnn.quantize"].evaluate(x, scale, zero_point=3, axis=0, dtype="i8")
    assert np.asarray(ours).tolist() == theirs.tolist() == [127, -128, 127, -128]


FLOAT8 = {
    "f8E4M3FN": (TensorProto.FLOAT8E4M3FN, 448.0),
    "f8E5M2": (TensorProto.FLOAT8E5M2, 57344.0),
}


@pytest.mark.parametrize("dtype", FLOAT8)
def test_quantize_linear_to_eight_bit_floats(
    dtype: str, kernel: Callable[..., Any], tally: Any, rng: np.random.Generator
) -> None:
    """Saturating, infinities included; looked at as float32, which Python can hold."""
    onnx_type, largest = FLOAT8[dtype]
    codes = np.arange(256, dtype=np.uint8).view(DTYPES[dtype]).astype(np.float32)
    values = np.unique(codes[np.isfinite(codes)])
    middles = (values[1:] + values[:-1]) / 2  # exact ties between neighbours
    for part in range(PARTS):
        if part % 2:
            scale = np.float32(rng.uniform(0.001, 10))
            spread = np.exp2(rng.uniform(-20, 18, SIZE)) * rng.choice([-1, 1], SIZE)
            x = spread.astype(np.float32) * scale
        else:
            scale = np.float32(np.exp2(rng.integers(-9, 9)))
            x = rng.choice(middles, SIZE) * scale
            x[:3] = np.inf, -np.inf, largest * 2 * scale
        order, feeds = ["x", "s", "z"], {"x": x}
        constants = {"s": scale, "z": np.zeros((), DTYPES[dtype])}
        cast = TensorProto.FLOAT
        (theirs,) = kernel("QuantizeLinear", order, feeds, constants, cast=cast)(x=x)
        ours = OPS["qnn.quantize"].evaluate(
            x, scale.reshape(1), zero_point=0, axis=0, dtype=dtype
        )
        held = np.asarray(ours).astype(np.float32)
        tally.add(held, theirs)
        tally.ties += int(np.isin(x / scale, middles).sum())
    tally.agrees(ties=100_000)
    assert onnx_type in FLOAT8[dtype]


@pytest.mark.parametrize("dtype", ["i8", "ui8", "i16", "ui16", "i32"])
def test_dequantize_linear(
    dtype: str, kernel: Callable[..., Any], tally: Any, rng: np.random.Generator
) -> None:
    """Per axis; int32 has no zero point in ONNX."""
    low, high = RANGES.get(dtype, (-(2**31), 2**31 - 1))
    for _ in range(5):
        q = rng.integers(low, high + 1, (100, 20, 101)).astype(DTYPES[dtype])
        zero = 0 if dtype == "i32" else _odd(rng, dtype)
        scale = np.exp(rng.uniform(-9, 3, 20)).astype(np.float32)
        constants = {"s": scale, "z": np.full(20, zero, DTYPES[dtype])}
        run = kernel("DequantizeLinear", ["q", "s", "z"], {"q": q}, constants, axis=1)
        ours = OPS["qnn.dequantize"].evaluate(q, scale, zero_point=zero, axis=1)
        tally.add(np.asarray(ours), run(q=q)[0])
    tally.agrees()


@pytest.mark.parametrize("dtype", ["i4", "ui4", "f8E4M3FN", "f8E5M2"])
def test_dequantize_linear_of_every_small_value(
    dtype: str, kernel: Callable[..., Any], rng: np.random.Generator
) -> None:
    """All values of the type under many scales; NaN codes and infinities too."""
    if dtype in FLOAT8:
        q, zero = np.arange(256, dtype=np.uint8).view(DTYPES[dtype]), 0
    else:
        low, high = RANGES[dtype]
        q, zero = np.arange(low, high + 1).astype(DTYPES[dtype]), low + 3
    scale = np.exp(rng.uniform(-9, 3, 500)).astype(np.float32)
    every = np.repeat(q[None], 500, 0)
    order = ["q", "s", "z"]
    constants = {"q": every, "s": scale, "z": np.full(500, zero, DTYPES[dtype])}
    theirs = kernel("DequantizeLinear", order, {}, constants, axis=0)()[0]
    ours = OPS["qnn.dequantize"].evaluate(every, scale, zero_point=zero, axis=0)
    assert np.array_equal(np.asarray(ours), theirs, equal_nan=True)


def test_dynamic_quantize_linear(
    kernel: Callable[..., Any], tally: Any, rng: np.random.Generator
) -> None:
    run = kernel("DynamicQuantizeLinear", ["x"], {"x": np.zeros(20_000, "f4")}, {}, outputs=3)
    for part in range(60):
        x = rng.normal(rng.uniform(-2, 2), np.exp(rng.uniform(-5, 5)), 20_000)
        if part % 3 == 0:  # lo = -2^k and a span of 255 half steps: the scale is a power of two
            unit = np.exp2(rng.integers(-6, 6))
            x = rng.integers(-128, 383, 20_000) * unit / 2
            x[:2] = -64 * unit, 191 * unit
        single = x.astype(np.float32)
        made = OPS["qnn.dynamic_quantize"].evaluate(single)
        theirs = run(x=single)
        scale = float(np.asarray(made[1]))
        zero = int(np.asarray(made[2]))
        tally.add(np.asarray(made[0]), theirs[0], single.astype(np.float64) / scale + zero)
        for mine, other in zip(made[1:], theirs[1:], strict=True):
            assert np.asarray(mine) == other
            assert np.asarray(mine).dtype == other.dtype
    tally.agrees(ties=100_000)


@pytest.mark.parametrize(
    "x",
    [[0, 0, 0], [1, 2, 3], [-1, -2, -3], [-0.0, 255, 127.5]],
    ids=["zeros", "positive", "negative", "ties"],
)
def test_dynamic_quantize_linear_of_one_sided_values(
    x: list[float], kernel: Callable[..., Any]
) -> None:
    values = np.array(x, np.float32)
    theirs = kernel("DynamicQuantizeLinear", ["x"], {"x": values}, {}, outputs=3)(x=values)
    ours = OPS["qnn.dynamic_quantize"].evaluate(values)
    assert [np.asarray(y).tolist() for y in ours] == [y.tolist() for y in theirs]


BINARY = ["a", "sa", "za", "b", "sb", "zb", "sy", "zy"]
SHAPES = [((200, 250), (200, 250)), ((200, 250), (250,)), ((50, 1, 250), (4, 1))]


@pytest.mark.parametrize("dtype", ["i8", "ui8"])
@pytest.mark.parametrize("name", ["add", "mul"])
def test_qlinear_add_and_mul(
    name: str, dtype: str, kernel: Callable[..., Any], tally: Any, rng: np.random.Generator
) -> None:
    """Broadcasting too."""
    low, high = RANGES[dtype]
    for part in range(PARTS):
        shapes = SHAPES[part % len(SHAPES)]
        sa, sb, sy = _scales(rng, part)
        za, zb, zy = (_odd(rng, dtype) for _ in range(3))
        near = part % 2 == 0 and name == "mul"  # products that stay in range
        a, b = (
            rng.integers(max(low, z - NEAR), min(high, z + NEAR) + 1, shape)
            if near
            else rng.integers(low, high + 1, shape)
            for z, shape in zip((za, zb), shapes, strict=True)
        )
        a, b = a.astype(DTYPES[dtype]), b.astype(DTYPES[dtype])
        feeds = {"a": a, "sa": _f32(sa), "za": _scalar(za, dtype)}
        feeds |= {"b": b, "sb": _f32(sb), "zb": _scalar(zb, dtype)}
        feeds |= {"sy": _f32(sy), "zy": _scalar(zy, dtype)}
        run = kernel(f"QLinear{name.capitalize()}", BINARY, feeds, {}, MICROSOFT)
        numbers = {"a_scale": sa, "a_zero_point": za, "b_scale": sb, "b_zero_point": zb}
        numbers |= {"y_scale": sy, "y_zero_point": zy}
        ours = np.asarray(OPS[f"qnn.{name}"].evaluate(a, b, **numbers))
        left, right = (a.astype(np.float64) - za) * sa, (b.astype(np.float64) - zb) * sb
        real = left + right if name == "add" else left * right
        tally.add(ours, run(**feeds)[0], real / sy + zy)
    tally.agrees(ties=30_000)


INNER = [
    ((1,), (1,)),
    ((2,), (2,)),
    ((2,), (1,)),
    ((1,), (2,)),
    ((2, 1), (1, 1)),
    ((1, 2), (2, 1)),
    ((2, 1), (1, 2)),
    ((2, 1), (2, 1)),
]


def test_qlinear_add_where_the_order_of_its_roundings_shows(
    kernel: Callable[..., Any], rng: np.random.Generator
) -> None:
    """Of random sums, those in which the two roles of the operands give different results."""
    draws = 4_000_000
    a, b, za, zb, zy = (rng.integers(-128, 128, draws) for _ in range(5))
    sa, sb = (rng.uniform(0.01, 0.1, draws).astype(np.float32) for _ in range(2))
    sy = rng.uniform(0.02, 0.2, draws).astype(np.float32)

    def summed(x: Array, rx: Array, zx: Array, y: Array, ry: Array, z: Array) -> Array:
        offset = zy.astype(np.float32) - _fma(zx, rx, ry * z.astype(np.float32))
        return np.clip(np.rint(_fma(x, rx, _fma(y, ry, offset))), -128, 127)

    one, other = (a, sa / sy, za), (b, sb / sy, zb)
    telling = np.flatnonzero(summed(*one, *other) != summed(*other, *one))
    assert len(telling) >= 3
    scales = {"sa": sa, "sb": sb, "sy": sy}
    zeros = {"za": za, "zb": zb, "zy": zy}
    for left, right in INNER:
        run = None
        for i in telling:
            feeds = {"a": np.full(left, a[i], np.int8), "b": np.full(right, b[i], np.int8)}
            feeds |= {key: _f32(value[i]) for key, value in scales.items()}
            feeds |= {key: _scalar(int(value[i]), "i8") for key, value in zeros.items()}
            run = run or kernel("QLinearAdd", BINARY, feeds, {}, MICROSOFT)
            numbers = {"a_scale": sa[i], "a_zero_point": za[i], "b_scale": sb[i]}
            numbers |= {"b_zero_point": zb[i], "y_scale": sy[i], "y_zero_point": zy[i]}
            ours = OPS["qnn.add"].evaluate(feeds["a"], feeds["b"], **numbers)
            assert np.array_equal(np.asarray(ours), run(**feeds)[0])


def _fma(x: Array, ratio: Array, addend: Array) -> Array:
    """By float64, which rounds twice in too few cases to matter where cases are only chosen."""
    return np.asarray(x * ratio.astype(np.float64) + addend, np.float32)


def test_the_fused_sum_rounds_once_where_float64_would_round_twice() -> None:
    """1 + 2^-24 + 2^-54: float64 loses the last term and leaves float32 a tie, which goes to 1.

    130 * 16519105 is 2^31 + 2; in units of 2^-55 it is 2^-24 + 2^-54.
    """
    ratio = np.float32(16519105 * 2.0**-55)
    x = np.array([130, -130])
    made = fused_multiply_add(x, ratio, np.array([1, -1], np.float32))
    assert made.tolist() == [1 + 2.0**-23, -1 - 2.0**-23]


def test_the_sum_that_the_textbook_form_gets_wrong(kernel: Callable[..., Any]) -> None:
    """ONNX Runtime's issue 25512: -112, where dequantise, add and quantise give -113."""
    sa, sb, sy = np.float32(0.025346905), np.float32(0.03580992), np.float32(0.03658597)
    za, zb, zy = np.int8(-106), np.int8(-120), np.int8(-105)
    a, b = np.array([-114], np.int8), np.array([-122], np.int8)
    textbook = np.rint((np.float32(-8) * sa + np.float32(-2) * sb) / sy) + zy
    assert textbook == -113
    constants = {"sa": sa, "za": za, "sb": sb, "zb": zb, "sy": sy, "zy": zy}
    (theirs,) = kernel("QLinearAdd", BINARY, {"a": a, "b": b}, constants, MICROSOFT)(a=a, b=b)
    own = {"a_scale": sa, "a_zero_point": -106, "b_scale": sb, "b_zero_point": -120}
    ours = OPS["qnn.add"].evaluate(a, b, **own, y_scale=sy, y_zero_point=-105)
    assert np.asarray(ours).tolist() == theirs.tolist() == [-112]


@pytest.mark.parametrize("dtype", ["i8", "ui8"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_qlinear_concat(
    axis: int, dtype: str, kernel: Callable[..., Any], tally: Any, rng: np.random.Generator
) -> None:
    """Three inputs: ours are joined by a chain, whose second step leaves the first as it is."""
    low, high = RANGES[dtype]
    sizes = [[40, 30, 20], [40, 30, 20], [40, 30, 20]]
    for i, more in enumerate((1, 7, 13)):
        sizes[i][axis] += more
    order = ["sy", "zy", "a", "sa", "za", "b", "sb", "zb", "c", "sc", "zc"]
    for part in range(20):
        a, b, c = (rng.integers(low, high + 1, size).astype(DTYPES[dtype]) for size in sizes)
        sa, sb, sy = _scales(rng, part)
        sc = sy  # of the result, so that the third is copied
        za, zb, zy = (_odd(rng, dtype) for _ in range(3))
        feeds = {"sy": _f32(sy), "zy": _scalar(zy, dtype), "a": a, "b": b, "c": c}
        feeds |= {"sa": _f32(sa), "sb": _f32(sb), "sc": _f32(sc)}
        zeros = {"za": za, "zb": zb, "zc": zy}
        feeds |= {key: _scalar(value, dtype) for key, value in zeros.items()}
        (theirs,) = kernel("QLinearConcat", order, feeds, {}, MICROSOFT, axis=axis)(**feeds)
        result = {"axis": axis, "y_scale": sy, "y_zero_point": zy}
        first = {"a_scale": sa, "a_zero_point": za, "b_scale": sb, "b_zero_point": zb}
        two = np.asarray(OPS["qnn.concat"].evaluate(a, b, **first, **result))
        then = {"a_scale": sy, "a_zero_point": zy, "b_scale": sc, "b_zero_point": zy}
        ours = np.asarray(OPS["qnn.concat"].evaluate(two, c, **then, **result))
        steps = [(x.astype(np.float64) - z) * s / sy for x, s, z in ((a, sa, za), (b, sb, zb))]
        real = np.concatenate([*steps, np.zeros(c.shape)], axis)
        tally.add(ours, theirs, real + zy)
    tally.agrees(ties=30_000)
