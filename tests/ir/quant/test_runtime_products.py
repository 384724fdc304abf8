"""Integer products equal ONNX Runtime's kernels in at least 10^6 outputs per pair of types.

Half of the outputs have power-of-two scales, odd zero points and small values, so that many
are exact ties before rounding. On an x86 CPU without VNNI the runtime's u8 x s8 kernels
saturate the int16 sum of two products; the probe in `saturates` finds that out, and weights
then have 7 bits, which no pair of u8 can bring over (2 * 255 * 64 = 32,640).

int8 x uint8 has no kernel for QLinearMatMul, QLinearConv and QGemm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.op import OPS

PAIRS = [("ui8", "ui8"), ("ui8", "i8"), ("i8", "i8")]
ALL_PAIRS = [*PAIRS, ("i8", "ui8")]
RANGES = {"i8": (-128, 127), "ui8": (0, 255)}
MICROSOFT = "com.microsoft"

pytestmark = pytest.mark.slow  # each compares a million outputs
SMALL = 5  # magnitude of operands that are to make ties


class Draw:
    """Random operands of a pair of types, with their zero points."""

    def __init__(self, rng: np.random.Generator, pair: tuple[str, str], seven: bool) -> None:
        self.rng, self.pair = rng, pair
        self.x_zero, self.w_zero = (int(self.rng.integers(*RANGES[t])) | 1 for t in pair)
        low, high = RANGES[pair[1]]
        self.w_range = (-64, 63) if seven and pair == ("ui8", "i8") else (low, high)
        self.w_zero = int(np.clip(self.w_zero, *self.w_range))

    def _integers(self, dtype: str, shape: tuple[int, ...], low: int, high: int) -> Array:
        return self.rng.integers(low, high + 1, shape).astype(DTYPES[dtype])

    def x(self, shape: tuple[int, ...], small: bool) -> Array:
        return self._around(self.pair[0], shape, self.x_zero, RANGES[self.pair[0]], small)

    def w(self, shape: tuple[int, ...], small: bool) -> Array:
        return self._around(self.pair[1], shape, self.w_zero, self.w_range, small)

    def _around(
        self,
        dtype: str,
        shape: tuple[int, ...],
        zero: int,
        limits: tuple[int, int],
        small: bool,
    ) -> Array:
        low, high = limits
        if small:
            low, high = max(low, zero - SMALL), min(high, zero + SMALL)
        return self._integers(dtype, shape, low, high)

    def scales(self, channels: int, terms: int, small: bool) -> tuple[Any, Array, Any, int]:
        """Of x, w and y, and y's zero point, so that few results saturate."""
        zero = int(self.rng.integers(-20, 20)) | 1
        if self.pair[0] == "ui8":
            zero += 128
        if small:
            exponent = self.rng.integers(-2, 0, channels)
            return np.float32(0.5), np.exp2(exponent).astype(np.float32), np.float32(1), zero
        sx = np.float32(self.rng.uniform(0.005, 0.05))
        sw = self.rng.uniform(0.005, 0.05, channels).astype(np.float32)
        spread = sx * 0.05 * 74 * 74 * np.sqrt(terms) / 60
        return sx, sw, np.float32(self.rng.uniform(0.5, 1) * spread), zero


def _held(value: int, dtype: str) -> Array:
    return np.asarray(value, DTYPES[dtype])


def _requantised(
    acc: Array, scales: tuple[Any, Array, Any, int], axis: int, dtype: str
) -> tuple[Array, Array]:
    """The result, and its exact real value before rounding."""
    sx, sw, sy, zero = scales
    scale = (sx * sw) / sy
    low, high = RANGES[dtype]
    limits = {"zero_point": zero, "low": low, "high": high, "axis": axis, "dtype": dtype}
    ours = OPS["qnn.requantize"].evaluate(acc, scale, **limits)
    assert isinstance(ours, np.ndarray)
    shape = [1] * acc.ndim
    shape[axis] = scale.size
    return ours, acc.astype(np.float64) * scale.astype(np.float64).reshape(shape) + zero


@pytest.mark.parametrize("pair", PAIRS)
def test_qlinear_matmul(
    pair: tuple[str, str],
    kernel: Callable[..., Any],
    saturates: bool,
    tally: Any,
    rng: np.random.Generator,
) -> None:
    order = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy"]
    for small in (True, False):
        draw = Draw(rng, pair, saturates)
        for lead, m, k, n in [((), 900, 16, 500), ((4,), 33, 300, 77), ((2, 1), 200, 65, 129)]:
            x, w = draw.x((*lead, m, k), small), draw.w((k, n), small)
            sx, sw, sy, zero = scales = draw.scales(n, k, small)
            constants = {"sx": sx, "zx": _held(draw.x_zero, pair[0]), "w": w, "sw": sw}
            constants |= {"zw": np.full(n, draw.w_zero, w.dtype)}
            constants |= {"sy": sy, "zy": _held(zero, pair[0])}
            (theirs,) = kernel("QLinearMatMul", order, {"x": x}, constants)(x=x)
            zeros = {"x_zero_point": draw.x_zero, "w_zero_point": draw.w_zero}
            acc = OPS["qnn.matmul"].evaluate(x, w, **zeros)
            ours, real = _requantised(np.asarray(acc), scales, x.ndim - 1, pair[0])
            tally.add(ours, theirs, real)
    tally.agrees(ties=50_000)


def test_accumulators_that_float32_does_not_hold(
    kernel: Callable[..., Any], tally: Any, rng: np.random.Generator
) -> None:
    """Sums of 1.2e8, over 2^24: they are rounded to float32 before the scale is applied."""
    order = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy"]
    x = rng.integers(200, 256, (1000, 2400)).astype(np.uint8)
    w = rng.integers(200, 256, (2400, 1001)).astype(np.uint8)
    sx, sw = np.float32(0.1), np.full(1001, 0.1, np.float32)
    largest = 255 * 255 * 2400
    sy = np.float32(0.01 * largest / 255)
    constants = {"sx": sx, "zx": np.uint8(0), "w": w, "sw": sw, "zw": np.zeros(1001, np.uint8)}
    constants |= {"sy": sy, "zy": np.uint8(1)}
    (theirs,) = kernel("QLinearMatMul", order, {"x": x}, constants)(x=x)
    acc = OPS["qnn.matmul"].evaluate(x, w, x_zero_point=0, w_zero_point=0)
    assert np.asarray(acc).min() > 2**24
    ours, _ = _requantised(np.asarray(acc), (sx, sw, sy, 1), 1, "ui8")
    tally.add(ours, theirs)
    tally.agrees()


@pytest.mark.parametrize("pair", PAIRS)
def test_qgemm(
    pair: tuple[str, str],
    kernel: Callable[..., Any],
    saturates: bool,
    tally: Any,
    rng: np.random.Generator,
) -> None:
    order = ["x", "sx", "zx", "w", "sw", "zw", "b", "sy", "zy"]
    for small in (True, False):
        draw = Draw(rng, pair, saturates)
        for m, k, n in [(900, 16, 500), (300, 200, 301)]:
            x, w = draw.x((m, k), small), draw.w((k, n), small)
            bias = rng.integers(-9, 10, n).astype(np.int32)
            sx, sw, sy, zero = scales = draw.scales(n, k, small)
            constants = {"sx": sx, "zx": _held(draw.x_zero, pair[0]), "w": w, "sw": sw}
            constants |= {"zw": np.full(n, draw.w_zero, w.dtype), "b": bias}
            constants |= {"sy": sy, "zy": _held(zero, pair[0])}
            run = kernel("QGemm", order, {"x": x}, constants, MICROSOFT)
            zeros = {"x_zero_point": draw.x_zero, "w_zero_point": draw.w_zero}
            acc = OPS["qnn.matmul"].evaluate(x, w, bias, **zeros)
            ours, real = _requantised(np.asarray(acc), scales, 1, pair[0])
            tally.add(ours, run(x=x)[0], real)
    tally.agrees(ties=50_000)


# (x shape, filters, kernel, window)
CONVOLUTIONS: list[tuple[tuple[int, ...], int, tuple[int, int], dict[str, Any]]] = [
    ((4, 8, 40, 41), 16, (3, 3), {"pads": (1, 1, 1, 1)}),
    ((6, 16, 41, 40), 16, (3, 2), {"groups": 4, "pads": (0, 1, 2, 0)}),  # grouped
    ((6, 16, 41, 40), 16, (3, 3), {"groups": 16, "pads": (1, 1, 1, 1)}),  # depthwise
    ((10, 8, 61, 60), 16, (5, 3), {"strides": (2, 2), "pads": (2, 1, 2, 1)}),  # strided
    ((4, 8, 40, 41), 16, (3, 3), {"dilations": (2, 3), "pads": (2, 3, 2, 3)}),  # dilated
    ((4, 32, 40, 41), 16, (1, 1), {}),
]


def _window(own: dict[str, Any]) -> dict[str, Any]:
    plain = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "groups": 1}
    return plain | own


def _as_onnx(window: dict[str, Any]) -> dict[str, Any]:
    return {("group" if name == "groups" else name): value for name, value in window.items()}


@pytest.mark.parametrize("pair", PAIRS)
def test_qlinear_conv(
    pair: tuple[str, str],
    kernel: Callable[..., Any],
    saturates: bool,
    tally: Any,
    rng: np.random.Generator,
) -> None:
    order = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b"]
    for small in (True, False):
        draw = Draw(rng, pair, saturates)
        for shape, filters, size, own in CONVOLUTIONS:
            window = _window(own)
            per = shape[1] // window["groups"]
            x, w = draw.x(shape, small), draw.w((filters, per, *size), small)
            bias = rng.integers(-9, 10, filters).astype(np.int32)
            sx, sw, sy, zero = scales = draw.scales(filters, per * size[0] * size[1], small)
            constants = {"sx": sx, "zx": _held(draw.x_zero, pair[0]), "w": w, "sw": sw}
            constants |= {"zw": np.full(filters, draw.w_zero, w.dtype), "b": bias}
            constants |= {"sy": sy, "zy": _held(zero, pair[0])}
            run = kernel("QLinearConv", order, {"x": x}, constants, **_as_onnx(window))
            zeros = {"x_zero_point": draw.x_zero, "w_zero_point": draw.w_zero}
            acc = OPS["qnn.conv2d"].evaluate(x, w, bias, **window, **zeros)
            ours, real = _requantised(np.asarray(acc), scales, 1, pair[0])
            tally.add(ours, run(x=x)[0], real)
    tally.agrees(ties=50_000)


@pytest.mark.parametrize("pair", ALL_PAIRS)
def test_matmul_integer(
    pair: tuple[str, str],
    kernel: Callable[..., Any],
    saturates: bool,
    tally: Any,
    rng: np.random.Generator,
) -> None:
    """A zero point per column too; one per row the runtime refuses."""
    draw = Draw(rng, pair, saturates)
    for lead, m, k, n in [((), 1000, 64, 900), ((3,), 31, 700, 77), ((2, 1), 200, 65, 400)]:
        x, w = draw.x((*lead, m, k), False), draw.w((k, n), False)
        a_zero = _held(draw.x_zero, pair[0])
        for b_zero in (draw.w((n,), False), draw.w((), False)):
            constants = {"b": w, "za": a_zero, "zb": b_zero}
            run = kernel("MatMulInteger", ["a", "b", "za", "zb"], {"a": x}, constants)
            ours = OPS["qnn.matmul_integer"].evaluate(x, w, a_zero, b_zero)
            tally.add(np.asarray(ours), run(a=x)[0])
    tally.agrees()


def test_matmul_integer_without_zero_points_and_with_one(kernel: Callable[..., Any]) -> None:
    a, b = np.array([[1, 200]], np.uint8), np.array([[3], [-4]], np.int8)
    zero = np.array(5, np.uint8)
    (both,) = kernel("MatMulInteger", ["a", "b"], {"a": a}, {"b": b})(a=a)
    assert both.tolist() == OPS["qnn.matmul_integer"].evaluate(a, b).tolist() == [[-797]]  # type: ignore[union-attr]
    (one,) = kernel("MatMulInteger", ["a", "b", "z"], {"a": a}, {"b": b, "z": zero})(a=a)
    assert one.tolist() == OPS["qnn.matmul_integer"].evaluate(a, b, zero).tolist() == [[-792]]  # type: ignore[union-attr]


@pytest.mark.parametrize("pair", ALL_PAIRS)
def test_conv_integer(
    pair: tuple[str, str],
    kernel: Callable[..., Any],
    saturates: bool,
    tally: Any,
    rng: np.random.Generator,
) -> None:
    """The padding counts as x's zero point. A zero point per filter the runtime refuses."""
    draw = Draw(rng, pair, saturates)
    for _ in range(2):
        for shape, filters, size, own in CONVOLUTIONS:
            window = _window(own)
            x = draw.x(shape, False)
            w = draw.w((filters, shape[1] // window["groups"], *size), False)
            zeros = [_held(draw.x_zero, pair[0]), draw.w((), False)]
            constants = {"w": w, "zx": zeros[0], "zw": zeros[1]}
            order = ["x", "w", "zx", "zw"]
            run = kernel("ConvInteger", order, {"x": x}, constants, **_as_onnx(window))
            ours = OPS["qnn.conv_integer"].evaluate(x, w, *zeros, **window)
            tally.add(np.asarray(ours), run(x=x)[0])
    tally.agrees()


def test_a_sum_over_int32_wraps_as_the_kernel_does(kernel: Callable[..., Any]) -> None:
    # 140,000 * 255 * 127 = 4,533,900,000 = 2^32 + 238,932,704
    a, b = np.full((1, 140_000), 255, np.uint8), np.full((140_000, 1), 127, np.uint8)
    (theirs,) = kernel("MatMulInteger", ["a", "b"], {"a": a}, {"b": b})(a=a)
    ours = OPS["qnn.matmul"].evaluate(a, b, x_zero_point=0, w_zero_point=0)
    assert np.asarray(ours).tolist() == theirs.tolist() == [[238_932_704]]
