"""Average pools, softmax and the activations by table equal ONNX Runtime's kernels.

At least 10^6 outputs per operator and type, with many exact ties. The average pool adds its
zero point before it rounds, the global one after: odd zero points tell the two apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.op import OPS
from tetrapla.ir.quant.table import leaky_relu, lookup_table, sigmoid

RANGES = {"i8": (-128, 127), "ui8": (0, 255)}
MICROSOFT = "com.microsoft"

pytestmark = pytest.mark.slow  # each compares a million outputs
POOLED = ["x", "sx", "zx", "sy", "zy"]

# exact ties; ties but for the roundings of the scales themselves; scales without structure
SCALES = [
    (2.0, 1.0),
    (2.5, 1.0),
    (3.0, 1.0),
    (0.5, 0.5),
    (0.25, 0.125),
    (0.3, 0.1),
    (0.7, 0.1),
    (0.1, 0.6),
    (0.037, 0.029),
]


def _parameters(
    dtype: str, sx: float, zx: int, sy: float, zy: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """For the operator, and for the node."""
    own = {"x_scale": sx, "x_zero_point": zx, "y_scale": sy, "y_zero_point": zy}
    held = DTYPES[dtype]
    node = {"sx": np.asarray(sx, np.float32), "zx": np.asarray(zx, held)}
    return own, node | {"sy": np.asarray(sy, np.float32), "zy": np.asarray(zy, held)}


def _image(rng: np.random.Generator, dtype: str, shape: tuple[int, ...], zero: int) -> Array:
    """Values around the zero point, so that means under a finer scale stay in range."""
    low, high = RANGES[dtype]
    return rng.integers(max(low, zero - 40), min(high, zero + 40) + 1, shape).astype(
        DTYPES[dtype]
    )


WINDOWS: list[dict[str, Any]] = [
    {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0)},
    {"kernel": (3, 2), "strides": (1, 2), "pads": (1, 0, 1, 1)},
    {"kernel": (4, 4), "strides": (3, 1), "pads": (2, 1, 0, 3)},
]


@pytest.mark.parametrize("dtype", RANGES)
def test_qlinear_average_pool(
    dtype: str, kernel: Callable[..., Any], tally: Any, rng: np.random.Generator
) -> None:
    for sx, sy in SCALES:
        for window in WINDOWS:
            for counted in (0, 1):
                zx, zy = (int(rng.integers(-20, 20)) | 1 for _ in range(2))
                if dtype == "ui8":
                    zx, zy = zx + 128, zy + 128
                x = _image(rng, dtype, (4, 16, 40, 41), zx)
                own, node = _parameters(dtype, sx, zx, sy, zy)
                run = kernel(
                    "QLinearAveragePool",
                    POOLED,
                    {"x": x},
                    node,
                    MICROSOFT,
                    kernel_shape=window["kernel"],
                    strides=window["strides"],
                    pads=window["pads"],
                    count_include_pad=counted,
                )
                ours = np.asarray(
                    OPS["qnn.average_pool2d"].evaluate(
                        x, **window, count_include_pad=counted, **own
                    )
                )
                steps = x.astype(np.float64) - zx
                mean = OPS["nn.average_pool2d"].evaluate(
                    steps, **window, count_include_pad=counted
                )
                tally.add(ours, run(x=x)[0], np.asarray(mean) * sx / sy + zy)
    tally.agrees(ties=50_000)


@pytest.mark.parametrize("dtype", RANGES)
def test_qlinear_global_average_pool(
    dtype: str, kernel: Callable[..., Any], tally: Any, rng: np.random.Generator
) -> None:
    for sx, sy in SCALES:
        for size in ((2, 2), (4, 2), (3, 5)):
            zx, zy = (int(rng.integers(-20, 20)) | 1 for _ in range(2))
            if dtype == "ui8":
                zx, zy = zx + 128, zy + 128
            x = _image(rng, dtype, (60, 1000, *size), zx)
            own, node = _parameters(dtype, sx, zx, sy, zy)
            run = kernel("QLinearGlobalAveragePool", POOLED, {"x": x}, node, MICROSOFT)
            ours = np.asarray(OPS["qnn.global_average_pool"].evaluate(x, **own))
            mean = (x.astype(np.float64) - zx).mean(axis=(2, 3), keepdims=True)
            tally.add(ours, run(x=x)[0], mean * sx / sy + zy)
    tally.agrees(ties=50_000)


def _softmax(x: Array, axis: int, sx: float, sy: float, zy: int) -> Array:
    y = OPS["qnn.softmax"].evaluate(x, axis=axis, x_scale=sx, y_scale=sy, y_zero_point=zy)
    return np.asarray(y)


@pytest.mark.parametrize("dtype", RANGES)
def test_qlinear_softmax(
    dtype: str, kernel: Callable[..., Any], tally: Any, rng: np.random.Generator
) -> None:
    """Two maxima far above the rest have probability 1/2 each: 127.5 at the scale 1/255."""
    low, high = RANGES[dtype]
    for classes in (2, 3, 10, 100, 201):
        feeds = {"x": np.zeros((6_000 // classes, classes), DTYPES[dtype])}
        _, node = _parameters(dtype, 1.0, 0, 1.0, 0)
        run = kernel("QLinearSoftmax", POOLED, feeds | node, {}, MICROSOFT, axis=-1, opset=13)
        for part in range(36):
            x = rng.integers(low, high + 1, feeds["x"].shape).astype(DTYPES[dtype])
            sx = float(np.float32(np.exp(rng.uniform(-5, 0))))
            sy = [1 / 256, 0.0077, 0.0039, 1 / 255, 0.02, 1 / 97][part % 6]
            zy = int(rng.integers(low, 1)) if part % 2 else low
            if part >= 6:
                sx = float(np.float32(rng.uniform(5, 9)))  # t differs, the quotient is 1/2
                x[:, :2] = high
                x[:, 2:] = np.minimum(x[:, 2:], high - 20)
            _, node = _parameters(dtype, sx, 3, float(np.float32(sy)), zy)
            ours = _softmax(x, -1, sx, float(np.float32(sy)), zy)
            (theirs,) = run(x=x, **node)
            half = np.floor(np.float32(1) / np.float32(sy)) / 2 + zy
            real = np.where((x == high) & (part >= 6), half, 0.0)
            tally.add(ours, theirs, real)
    tally.agrees(ties=10_000)


@pytest.mark.parametrize(
    ("row", "sx", "sy"),
    [
        ([74, 180, 173], 0.029210440814495087, 0.010309278033673763),
        ([209, 25, 40], 0.013957898132503033, 0.003921568859368563),
        (
            [120, 164, 224, 209, 14, 27, 56, 126, 216, 220],
            0.07658489793539047,
            0.007699999958276749,
        ),
    ],
)
def test_qlinear_softmax_where_the_logarithm_s_rounding_shows(
    row: list[int], sx: float, sy: float, kernel: Callable[..., Any]
) -> None:
    """Quotients next to a half: found among 6 * 10^7 with the logarithm in float64."""
    x = np.array([row], np.uint8)
    _, node = _parameters("ui8", sx, 3, sy, 0)
    more = {"axis": -1, "opset": 13}
    (theirs,) = kernel("QLinearSoftmax", POOLED, {"x": x}, node, MICROSOFT, **more)(x=x)
    assert _softmax(x, -1, sx, sy, 0).tolist() == theirs.tolist()


@pytest.mark.parametrize("axis", [0, 1])
def test_qlinear_softmax_along_another_axis(
    axis: int, kernel: Callable[..., Any], rng: np.random.Generator
) -> None:
    x = rng.integers(-128, 128, (7, 9, 11)).astype(np.int8)
    _, node = _parameters("i8", 0.05, 3, 1 / 256, -128)
    more = {"axis": axis, "opset": 13}
    (theirs,) = kernel("QLinearSoftmax", POOLED, {"x": x}, node, MICROSOFT, **more)(x=x)
    assert np.array_equal(_softmax(x, axis, 0.05, 1 / 256, -128), theirs)


def test_softmax_saturates_where_the_kernel_converts_an_infinity(
    kernel: Callable[..., Any],
) -> None:
    """One class: t is within e^5 of the largest float32, and t * 256 beyond it."""
    x = np.array([[7]], np.uint8)
    _, node = _parameters("ui8", 0.5, 3, 1 / 256, 9)
    more = {"axis": -1, "opset": 13}
    (theirs,) = kernel("QLinearSoftmax", POOLED, {"x": x}, node, MICROSOFT, **more)(x=x)
    assert theirs.tolist() == [[9]]  # as if the probability were 0
    assert _softmax(x, -1, 0.5, 1 / 256, 9).tolist() == [[255]]


@pytest.mark.parametrize("dtype", RANGES)
@pytest.mark.parametrize("name", ["QLinearSigmoid", "QLinearLeakyRelu"])
def test_activations_by_table(
    name: str, dtype: str, kernel: Callable[..., Any], tally: Any, rng: np.random.Generator
) -> None:
    """Every value of x under 4,000 pairs of scales and zero points."""
    low, high = RANGES[dtype]
    every = np.arange(low, high + 1).astype(DTYPES[dtype])
    alpha = 0.125
    more = {"alpha": alpha} if name == "QLinearLeakyRelu" else {}
    function = leaky_relu(alpha) if more else sigmoid
    _, node = _parameters(dtype, 1.0, 0, 1.0, 0)
    run = kernel(name, POOLED, {"x": every} | node, {}, MICROSOFT, **more)
    for part in range(4_000):
        sx, sy = (float(np.float32(np.exp(v))) for v in rng.uniform((-6, -6), (1, -3)))
        if part % 3 == 0:
            sx, sy = [(0.3, 0.1), (0.1, 0.6), (0.7, 0.2)][part % 9 // 3]
        if part % 2 and more:
            sx, sy = float(np.exp2(rng.integers(-4, 4))), float(np.exp2(rng.integers(-3, 4)))
        zx, zy = (int(rng.integers(low, high + 1)) | 1 for _ in range(2))
        own, node = _parameters(dtype, sx, zx, sy, zy)
        table = lookup_table(function, **own, x_dtype=dtype, y_dtype=dtype)
        real = (every.astype(np.float64) - zx) * sx
        leaked = np.where(real >= 0, real, alpha * real) / sy + zy
        ours = np.asarray(OPS["qnn.lookup"].evaluate(every, table))
        tally.add(ours, run(x=every, **node)[0], leaked if more else None)
    tally.agrees(ties=20_000 if more else 0)
