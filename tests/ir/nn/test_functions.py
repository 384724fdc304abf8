"""More functions of one and two numbers against ONNX Runtime, and how small floats round.

Where both sides are exact they are equal. ONNX Runtime's kernels state no error; theirs is
assumed to be 8 eps of the largest of |y| and 1, as in test_runtime; ours is within 0.51 ulp.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.nn.precision import rounded
from tetrapla.ir.op import OPS

Run: TypeAlias = Callable[..., list[Array]]
MANTISSA = {"f32": 23, "f16": 10, "bf16": 7}  # bits behind the point
CONV: dict[str, Any] = {"strides": (1, 1), "pads": (1, 0, 1, 2), "dilations": (1, 1)}
EPSILON = float(np.finfo(np.float32).eps)


def _near(found: Array, theirs: Array) -> None:
    assert (found.dtype, found.shape) == (theirs.dtype, theirs.shape)
    off = np.abs(found.astype(np.float64) - theirs.astype(np.float64))
    bound = 8 * EPSILON * np.maximum(np.abs(found.astype(np.float64)), 1)
    assert ((off <= bound) | (np.isnan(found) & np.isnan(theirs))).all()


@pytest.mark.parametrize(
    ("kind", "op_type", "low", "high"),
    [
        ("tan", "Tan", -1.5, 1.5),
        ("asin", "Asin", -1.2, 1.2),
        ("acos", "Acos", -1.2, 1.2),
        ("atan", "Atan", -50, 50),
        ("sinh", "Sinh", -5, 5),
        ("cosh", "Cosh", -5, 5),
        ("asinh", "Asinh", -50, 50),
        ("acosh", "Acosh", 0.5, 50),
        ("atanh", "Atanh", -0.99, 1.1),
        ("softsign", "Softsign", -50, 50),
        ("mish", "Mish", -20, 20),
    ],
)
def test_functions_are_near(
    kind: str,
    op_type: str,
    low: float,
    high: float,
    rng: np.random.Generator,
    ours: Run,
    runtime: Run,
) -> None:
    x = rng.uniform(low, high, 20_000).astype(np.float32)
    _near(ours(f"nn.{kind}", [x])[0], runtime(op_type, [x])[0])


@pytest.mark.parametrize(
    ("kind", "op_type", "attributes"),
    [
        ("selu", "Selu", {"alpha": 1.5, "gamma": 0.75}),
        ("celu", "Celu", {"alpha": 2.5}),
        ("thresholded_relu", "ThresholdedRelu", {"alpha": 0.3}),
    ],
)
def test_activations_are_near(
    kind: str,
    op_type: str,
    attributes: dict[str, float],
    rng: np.random.Generator,
    ours: Run,
    runtime: Run,
) -> None:
    x = np.concatenate([rng.normal(0, 3, 20_000), [0.0, -0.0, 0.3]]).astype(np.float32)
    (found,) = ours(f"nn.{kind}", [x], **attributes)
    _near(found, runtime(op_type, [x], **attributes)[0])


def test_prelu_is_equal(rng: np.random.Generator, ours: Run, runtime: Run) -> None:
    x = rng.normal(size=(4, 3, 5)).astype(np.float32)
    slope = rng.normal(size=(3, 1)).astype(np.float32)
    assert np.array_equal(ours("nn.prelu", [x, slope])[0], runtime("PRelu", [x, slope])[0])


@pytest.mark.parametrize("axis", [0, -1])
def test_hardmax_is_equal(axis: int, rng: np.random.Generator, ours: Run, runtime: Run) -> None:
    x = rng.integers(-3, 4, (9, 11)).astype(np.float32)
    (found,) = ours("nn.hardmax", [x], axis=axis)
    assert np.array_equal(found, runtime("Hardmax", [x], axis=axis)[0])


@pytest.mark.parametrize("fmod", [0, 1])
@pytest.mark.parametrize("dtype", [np.int32, np.int8, np.uint8, np.int64])
def test_mod_is_equal(
    fmod: int, dtype: type[Any], rng: np.random.Generator, ours: Run, runtime: Run
) -> None:
    low = 0 if dtype is np.uint8 else -100
    a = rng.integers(low, 100, (50, 40)).astype(dtype)
    b = rng.integers(1, 9, 40).astype(dtype)
    for divisor in (b,) if dtype is np.uint8 else (b, (-1 * b.astype(np.int64)).astype(dtype)):
        (theirs,) = runtime("Mod", [a, divisor], fmod=fmod)
        assert np.array_equal(ours("nn.mod", [a, divisor], fmod=fmod)[0], theirs)


def test_mod_of_floats_is_equal(rng: np.random.Generator, ours: Run, runtime: Run) -> None:
    a, b = (rng.normal(0, 9, 5_000).astype(np.float32) for _ in range(2))
    (theirs,) = runtime("Mod", [a, b], fmod=1)
    assert np.array_equal(ours("nn.mod", [a, b], fmod=1)[0], theirs)


@pytest.mark.parametrize("dtype", [np.int32, np.int8, np.uint8, np.int64])
def test_integer_division_is_equal(
    dtype: type[Any], rng: np.random.Generator, ours: Run, runtime: Run
) -> None:
    low = 0 if dtype is np.uint8 else -100
    a = rng.integers(low, 100, (60, 50)).astype(dtype)
    b = rng.integers(low, 100, 50).astype(dtype)
    b[b == 0] = 3
    assert np.array_equal(ours("nn.idiv", [a, b])[0], runtime("Div", [a, b])[0])


def test_integer_division_that_onnx_leaves_open(ours: Run) -> None:
    a, b = np.array([7, -7, -128], np.int8), np.array([0, 0, -1], np.int8)
    assert ours("nn.idiv", [a, b])[0].tolist() == [0, 0, -128]


@pytest.mark.parametrize(
    ("kind", "op_type"),
    [("bitwise_and", "BitwiseAnd"), ("bitwise_or", "BitwiseOr"), ("bitwise_xor", "BitwiseXor")],
)
def test_bits_are_equal(
    kind: str, op_type: str, rng: np.random.Generator, ours: Run, runtime: Run
) -> None:
    a, b = rng.integers(-100, 100, (20, 1)), rng.integers(-100, 100, 30)
    assert np.array_equal(ours(f"nn.{kind}", [a, b])[0], runtime(op_type, [a, b])[0])
    assert np.array_equal(ours("nn.bitwise_not", [a])[0], runtime("BitwiseNot", [a])[0])


@pytest.mark.parametrize("way", ["left", "right"])
def test_shifts(way: str, rng: np.random.Generator, ours: Run, runtime: Run) -> None:
    a = rng.integers(0, 256, (20, 1)).astype(np.uint8)
    b = np.arange(8, dtype=np.uint8)
    (theirs,) = runtime("BitShift", [a, b], direction=way.upper())
    assert np.array_equal(ours(f"nn.shift_{way}", [a, b])[0], theirs)
    # by hand, as opset 28 says: what is shifted in beyond the width is the sign
    signed = np.array([-5, 5, -5, 5], np.int8)
    places = np.array([8, 8, -1, 100], np.int8)
    wanted = [0, 0, 0, 0] if way == "left" else [-1, 0, -1, 0]
    assert ours(f"nn.shift_{way}", [signed, places])[0].tolist() == wanted


def test_xor_and_tests_of_floats(rng: np.random.Generator, ours: Run, runtime: Run) -> None:
    a, b = rng.integers(0, 2, (9, 1)) == 1, rng.integers(0, 2, 7) == 1
    assert np.array_equal(ours("nn.xor", [a, b])[0], runtime("Xor", [a, b])[0])
    x = np.array([0, -0.0, 1, np.inf, -np.inf, np.nan, -np.nan], np.float32)
    assert np.array_equal(ours("nn.is_nan", [x])[0], runtime("IsNaN", [x])[0])
    for negative in (0, 1):
        for positive in (0, 1):
            own = {"detect_negative": negative, "detect_positive": positive}
            (found,) = ours("nn.is_inf", [x], **own)
            assert np.array_equal(found, runtime("IsInf", [x], **own)[0])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
def test_lrn(size: int, rng: np.random.Generator, ours: Run, runtime: Run) -> None:
    x = rng.normal(size=(2, 5, 4, 3)).astype(np.float32)
    own: dict[str, Any] = {"size": size, "alpha": 0.5, "beta": 0.6, "bias": 2.0}
    (found,) = ours("nn.lrn", [x], **own)
    if size % 2:  # ONNX Runtime takes odd sizes only
        _near(found, runtime("LRN", [x], **own)[0])
    channel = 2
    before, behind = (size - 1) // 2, size // 2
    window = x[:, max(0, channel - before) : channel + behind + 1].astype(np.float64)
    by_hand = x[:, channel] / (2 + 0.5 / size * (window**2).sum(axis=1)) ** np.float32(0.6)
    assert np.abs(found[:, channel] - by_hand).max() <= 2 * EPSILON * np.abs(x).max()


def test_instance_norm_is_group_norm_of_single_channels(
    rng: np.random.Generator, ours: Run
) -> None:
    x = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
    scale, bias = (rng.normal(size=4).astype(np.float32) for _ in range(2))
    (found,) = ours("nn.instance_norm", [x, scale, bias], epsilon=1e-5)
    (grouped,) = ours("nn.group_norm", [x, scale, bias], epsilon=1e-5, groups=4)
    assert np.abs(found - grouped).max() <= 2 * EPSILON * np.abs(found).max()


@pytest.mark.parametrize("axes", [(0,), (-1, 1), (2, 0, 1)])
def test_more_reductions(
    axes: tuple[int, ...], rng: np.random.Generator, ours: Run, runtime: Run
) -> None:
    x = rng.normal(0, 3, (7, 8, 9)).astype(np.float32)
    for kind, op_type in (("l1", "ReduceL1"), ("log_sum_exp", "ReduceLogSumExp")):
        given = [x, np.array(axes, np.int64)]
        (theirs,) = runtime(op_type, given, keepdims=1)
        (found,) = ours(f"nn.reduce_{kind}", [x], axes=axes, keepdims=1)
        # at most one rounding for each of 504 positive numbers, and 8 eps of theirs
        bound = (504 / 2 + 8) * EPSILON * np.maximum(np.abs(found), 1)
        assert (np.abs(found - theirs) <= bound).all()


def test_reductions_of_nothing(ours: Run) -> None:
    x, whole = np.zeros((2, 0), np.float32), np.zeros((2, 0), np.int8)
    own: dict[str, Any] = {"axes": (1,), "keepdims": 0}
    assert ours("nn.reduce_max", [x], **own)[0].tolist() == [-np.inf, -np.inf]
    assert ours("nn.reduce_min", [x], **own)[0].tolist() == [np.inf, np.inf]
    assert ours("nn.reduce_max", [whole], **own)[0].tolist() == [-128, -128]
    assert ours("nn.reduce_min", [whole], **own)[0].tolist() == [127, 127]
    assert ours("nn.reduce_log_sum_exp", [x], **own)[0].tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize("dtype", ["f64", "f32", "f16", "bf16"])
def test_the_sign_of_a_zero_does_not_depend_on_the_order(dtype: str, ours: Run) -> None:
    rows = [[0.0, -0.0, -1.0], [-0.0, 0.0, -1.0], [-0.0, -0.0, -1.0]]
    own: dict[str, Any] = {"axes": (1,), "keepdims": 0}
    (most,) = ours("nn.reduce_max", [np.array(rows, DTYPES[dtype])], **own)
    assert np.signbit(most.astype(np.float64)).tolist() == [False, False, True]
    rows = [[0.0, -0.0, 1.0], [-0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    (least,) = ours("nn.reduce_min", [np.array(rows, DTYPES[dtype])], **own)
    assert np.signbit(least.astype(np.float64)).tolist() == [True, True, False]


def test_extremes_of_truths_are_or_and_and(ours: Run) -> None:
    x = np.array([[True, False], [True, True], [False, False]])
    own: dict[str, Any] = {"axes": (1,), "keepdims": 0}
    assert ours("nn.reduce_max", [x], **own)[0].tolist() == [True, True, False]
    assert ours("nn.reduce_min", [x], **own)[0].tolist() == [False, True, False]


def test_log_sum_exp_of_large_numbers(ours: Run) -> None:
    x = np.array([[1000, 1000], [-1000, -np.inf], [np.inf, 0]], np.float64)
    (found,) = ours("nn.reduce_log_sum_exp", [x], axes=(1,), keepdims=0)
    assert found.tolist() == [1000 + np.log(2), -1000, np.inf]


def test_arg_min_takes_the_first_of_equals(
    rng: np.random.Generator, ours: Run, runtime: Run
) -> None:
    x = rng.integers(0, 4, (50, 30)).astype(np.float32)
    for axis in (0, -1):
        (theirs,) = runtime("ArgMin", [x], axis=axis, keepdims=1)
        (found,) = ours("nn.arg_min", [x], axis=axis, keepdims=1)
        assert np.array_equal(found, theirs)


@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary_embedding(
    interleaved: int, rng: np.random.Generator, ours: Run, runtime: Run
) -> None:
    x = rng.normal(size=(2, 3, 5, 8)).astype(np.float32)
    angle = rng.uniform(0, 6, (5, 4))
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    places = np.tile(np.arange(5), (2, 1))
    given = [x, cos, sin, places]
    (theirs,) = runtime("RotaryEmbedding", given, opset=23, interleaved=interleaved)
    (found,) = ours("nn.rotary_embedding", [x, cos, sin], interleaved=interleaved)
    # two products and a sum: three roundings of numbers below 2 max |x|
    assert np.abs(found - theirs).max() <= 3 * EPSILON * 2 * np.abs(x).max()
    (some,) = ours("nn.rotary_embedding", [x, cos[:, :2], sin[:, :2]], interleaved=interleaved)
    assert np.array_equal(some[..., 4:], x[..., 4:])


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "f8E4M3FN", "f8E5M2", "f6E3M2FN"])
def test_rounding_is_one_rounding_to_nearest_even(dtype: str, rng: np.random.Generator) -> None:
    held = DTYPES[dtype]
    few = rounded(rng.uniform(0.3, 4, 400), held).astype(np.float64)
    bits = int(re.findall(r"M(\d)", dtype)[0]) if "M" in dtype else MANTISSA[dtype]
    half = np.ldexp(1.0, np.frexp(few)[1] - 1 - bits - 1)  # half a unit in the last place
    nudge = half * 2.0**-28
    assert np.array_equal(rounded(few + half - nudge, held).astype(np.float64), few)
    assert np.array_equal(rounded(few + half + nudge, held).astype(np.float64), few + 2 * half)
    even = np.rint(few / (4 * half)) * 4 * half == few
    tie = rounded(few + half, held).astype(np.float64)
    assert np.array_equal(tie, np.where(even, few, few + 2 * half))
    assert np.array_equal(rounded(-few - half, held).astype(np.float64), -tie)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize(
    ("kind", "attributes", "shapes"),
    [
        ("matmul", {"activation": "none"}, [(5, 300), (300, 4), (4,)]),
        ("softmax", {"axis": -1}, [(5, 300)]),
        ("batch_norm", {"epsilon": 1e-3}, [(5, 3, 4), (3,), (3,), (3,), (3,)]),
        ("exp", {}, [(500,)]),
        ("reduce_sum", {"axes": (1,), "keepdims": 0}, [(5, 300)]),
        ("global_average_pool", {}, [(2, 3, 5, 6)]),
        ("layer_norm", {"axis": -1, "epsilon": 1e-3}, [(5, 30), (30,), (30,)]),
        ("lrn", {"size": 3, "alpha": 0.5, "beta": 0.6, "bias": 2.0}, [(2, 5, 3)]),
        ("log_softmax", {"axis": -1}, [(5, 30)]),
        ("gelu", {"approximate": "none"}, [(500,)]),
        ("prelu", {}, [(5, 30), (30,)]),
        ("pow", {}, [(5, 30), (30,)]),
        ("cumulative_sum", {"axis": 1}, [(5, 300)]),
        ("group_norm", {"groups": 2, "epsilon": 1e-3}, [(2, 4, 3), (4,), (4,)]),
        ("conv2d", CONV | {"groups": 1, "activation": "relu"}, [(1, 4, 6, 6), (3, 4, 3, 3)]),
        (
            "conv_transpose2d",
            CONV | {"groups": 1, "output_padding": (0, 0)},
            [(1, 4, 6, 6), (4, 3, 3, 3)],
        ),
        (
            "max_pool2d",
            {"kernel": (3, 3), "strides": (1, 1), "pads": (1,) * 4, "dilations": (1, 1)},
            [(1, 2, 5, 6)],
        ),
        (
            "average_pool2d",
            {"kernel": (3, 3), "strides": (1, 1), "pads": (1,) * 4, "count_include_pad": 0},
            [(1, 2, 5, 6)],
        ),
        (
            "rnn",
            {"direction": "forward", "activations": "tanh", "clip": 0.0},
            [(1, 2, 3), (1, 4, 3), (1, 4, 4)],
        ),
    ],
)
def test_small_floats_are_computed_wide_and_rounded_once(
    kind: str,
    attributes: dict[str, Any],
    shapes: list[tuple[int, ...]],
    dtype: str,
    rng: np.random.Generator,
    ours: Run,
) -> None:
    operands = [rng.uniform(0.5, 1.5, shape).astype(DTYPES[dtype]) for shape in shapes]
    wide = [operand.astype(np.float32) for operand in operands]
    small, found = (ours(f"nn.{kind}", given, **attributes)[0] for given in (operands, wide))
    size = np.abs(small)
    spacing = np.nextafter(size, DTYPES[dtype].type(np.inf)).astype(np.float64) - size
    off = np.abs(small.astype(np.float64) - found)
    assert (off <= (0.5 + 1e-3) * spacing).all()  # 1e-3: a float32 in between may be rounded


def test_every_float_function_takes_every_float() -> None:
    missing: list[str] = []
    for kind, op in OPS.items():
        accepted = getattr(op, "accepted", ())
        if kind.startswith("nn.") and "f32" in accepted:
            missing += [kind for dtype in ("f64", "f16", "bf16") if dtype not in accepted]
    assert not missing
