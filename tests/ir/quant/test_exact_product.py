"""The product by BLAS is the integers' own product, whatever path it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.op import OPS, macs
from tetrapla.ir.quant.linear import LEAST_PART, integer_product


def _integers(rng: np.random.Generator, shape: tuple[int, ...], largest: int) -> Array:
    made = rng.integers(-largest, largest + 1, shape)
    made.flat[0] = largest
    return made


# which path: 2^24 / (a b) terms fit float32; fewer than LEAST_PART of them mean float64
@pytest.mark.parametrize(
    ("a", "b", "k", "path"),
    [
        (255, 128, 500, "one part"),
        (255, 255, 1000, "parts of 258"),
        (255, 127, 518 * 3 + 1, "parts, the last of 1"),
        (8, 8, 100_000, "one part"),
        (65535, 255, 300, "float64"),
        (65535, 65535, 3000, "float64"),
        (2**30, 2**30, 5, "integers"),
    ],
)
def test_equals_the_int64_product(
    a: int, b: int, k: int, path: str, rng: np.random.Generator
) -> None:
    fits = (2**24 - 1) // (a * b)
    found = (
        ("one part" if fits >= k else "parts")
        if fits >= min(k, LEAST_PART)
        else ("float64" if a * b * k < 2**53 else "integers")
    )
    assert path.startswith(found)
    left, right = _integers(rng, (3, 1, 5, k), a), _integers(rng, (2, k, 4), b)
    left[0, 0, 0] = a  # a row and a column of the largest sums
    right[0, :, 0] = b
    ours = integer_product(left, right)
    assert ours.dtype == np.int64
    assert np.array_equal(ours, np.matmul(left, right))


def test_no_terms_and_no_rows() -> None:
    assert integer_product(np.zeros((2, 0)), np.zeros((0, 3))).tolist() == [[0] * 3] * 2
    assert integer_product(np.zeros((0, 4)), np.zeros((4, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("x", "w"), [("i8", "i4"), ("ui8", "i2"), ("ui4", "ui4"), ("i16", "i8")]
)
def test_matmul_and_conv_of_other_widths(x: str, w: str, rng: np.random.Generator) -> None:
    """Int32 for narrow operands, int64 where one has 16 bits."""
    wanted = np.int64 if "16" in x else np.int32
    ranges = {"i2": (-2, 2), "i4": (-8, 8), "ui4": (0, 16), "i8": (-128, 128), "ui8": (0, 256)}
    ranges["i16"] = (-32768, 32768)
    a = rng.integers(*ranges[x], (7, 300)).astype(DTYPES[x])
    b = rng.integers(*ranges[w], (300, 5)).astype(DTYPES[w])
    zeros = {"x_zero_point": 3, "w_zero_point": -1 if w[0] == "i" else 1}
    exact = (a.astype(int) - 3) @ (b.astype(int) - zeros["w_zero_point"])
    ours = np.asarray(OPS["qnn.matmul"].evaluate(a, b, **zeros))
    assert ours.dtype == wanted
    assert np.array_equal(ours, exact)
    image, taps = a.reshape(1, 7, 15, 20), b.reshape(5, 1, 15, 20)[:, :, :5, :3]
    taps = np.repeat(taps, 7, 1)
    window: dict[str, Any] = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
    made = OPS["qnn.conv2d"].evaluate(image, taps, **window, groups=1, **zeros)
    single = (image[0, :, 2:7, 3:6].astype(int) - 3) * (
        taps[1].astype(int) - zeros["w_zero_point"]
    )
    assert np.asarray(made).dtype == wanted
    assert int(np.asarray(made)[0, 1, 2, 3]) == single.sum()


def test_a_sum_of_int16_products_does_not_wrap() -> None:
    # 1000 * 32767 * 127 = 4,161,409,000, over 2^31
    a, b = np.full((1, 1000), 32767, np.int16), np.full((1000, 1), 127, np.int8)
    made = OPS["qnn.matmul"].evaluate(a, b, x_zero_point=0, w_zero_point=0)
    assert np.asarray(made).tolist() == [[4_161_409_000]]


def test_its_accumulator_is_rounded_to_float32_before_it_is_scaled() -> None:
    """32769 * 2^16 is 16384.5 steps of 2^17, a tie; float32 drops 1 more, and rounds 129 up."""
    acc = np.array([0, 1, 129], np.int64) + 32769 * 2**16
    numbers = {"zero_point": 0, "low": -32768, "high": 32767, "axis": 0, "dtype": "i16"}
    y = OPS["qnn.requantize"].evaluate(acc, np.array([2.0**-17], np.float32), **numbers)
    assert np.asarray(y).tolist() == [16384, 16384, 16385]


def test_zero_points_per_row_and_per_column(rng: np.random.Generator) -> None:
    a = rng.integers(0, 256, (2, 4, 9)).astype(np.uint8)
    b = rng.integers(-128, 128, (2, 9, 3)).astype(np.int8)
    rows = rng.integers(0, 256, (2, 4, 1)).astype(np.uint8)
    columns = rng.integers(-128, 128, (2, 1, 3)).astype(np.int8)
    exact = (a.astype(int) - rows) @ (b.astype(int) - columns)
    evaluate = OPS["qnn.matmul_integer"].evaluate
    assert np.array_equal(np.asarray(evaluate(a, b, rows, columns)), exact)
    flat = (a.astype(int) - rows[0].astype(int)) @ (b.astype(int) - columns[0, 0].astype(int))
    assert np.array_equal(np.asarray(evaluate(a, b, rows[0, :, 0], columns[0, 0])), flat)


def test_a_zero_point_per_filter(rng: np.random.Generator) -> None:
    x = rng.integers(0, 256, (1, 2, 4, 4)).astype(np.uint8)
    w = rng.integers(-128, 128, (3, 2, 2, 2)).astype(np.int8)
    zeros = np.array([5, -7, 0], np.int8)
    window: dict[str, Any] = {"strides": (2, 2), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
    made = OPS["qnn.conv_integer"].evaluate(
        x, w, np.uint8(9).reshape(()), zeros, **window, groups=1
    )
    for f in range(3):
        product = (x[0, :, 2:4, :2].astype(int) - 9) * (w[f].astype(int) - int(zeros[f]))
        assert int(np.asarray(made)[0, f, 1, 0]) == product.sum()


@pytest.mark.parametrize("kind", ["qnn.matmul_integer", "qnn.conv_integer"])
def test_products_of_ones_count_their_multiplications(kind: str) -> None:
    build = ModuleBuilder("m")
    conv: dict[str, Any] = {"strides": (2, 1), "pads": (0, 0, 0, 0), "dilations": (1, 2)}
    conv["groups"] = 2
    shapes = [(2, 1, 4, 8), (5, 8, 3)] if "matmul" in kind else [(2, 4, 7, 9), (6, 2, 3, 2)]
    values = [build.input(f"in{i}", shape, "ui8") for i, shape in enumerate(shapes)]
    build.output("y", build.op(kind, values, conv if "conv" in kind else {}))
    ones = [np.ones(shape, np.uint8) for shape in shapes]
    made = OPS[kind].evaluate(*ones, **(conv if "conv" in kind else {}))
    assert macs(build.finish().graph.nodes) == int(np.asarray(made).sum())
