"""Every compiled program computes the reference's values, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.backends.systolic.conftest import KEY, Net, check, chip, digits, verdict
from tetrapla.backends.systolic import TARGET
from tetrapla.backends.target_ import Options
from tetrapla.ir.graph import Attribute, Value
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.spec import SystolicSpec

# rows, cols, accumulator rows, weight tiles: square, tall, wide, tiny memories, large
ARRAYS = [(8, 8, 64, 4), (16, 4, 64, 2), (5, 12, 7, 1), (9, 6, 1, 3), (256, 256, 4096, 4)]
QUICK = settings(max_examples=150, deadline=None, derandomize=True)

sizes = st.integers(1, 9)
chips = st.builds(chip, sizes, sizes, st.integers(1, 40), st.integers(1, 5))
dtypes = st.sampled_from(["i8", "ui8"])
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def pair(most: int, least: int = 1) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def pads_of(draw: st.DrawFn, kernel: tuple[int, int], dilations: tuple[int, int]) -> Any:
    """Asymmetric: top, left, bottom, right, each less than the window."""
    most = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)] * 2
    return tuple(draw(st.integers(0, m)) for m in most)


@QUICK
@given(st.data(), chips, seeds, dtypes)
def test_random_convolutions_are_exact(
    data: st.DataObject, spec: SystolicSpec, rng: np.random.Generator, dtype: str
) -> None:
    groups, per_group, share = data.draw(st.tuples(*[st.integers(1, 3)] * 3))
    kernel, strides, dilations = data.draw(pair(3)), data.draw(pair(3)), data.draw(pair(2))
    pads = data.draw(pads_of(kernel, dilations))
    batch, (height, width) = data.draw(st.integers(1, 3)), data.draw(pair(6, least=2))
    assume(height + pads[0] + pads[2] > (kernel[0] - 1) * dilations[0])
    assume(width + pads[1] + pads[3] > (kernel[1] - 1) * dilations[1])
    net = Net(rng, (batch, groups * per_group, height, width), dtype)
    window = {"strides": strides, "dilations": dilations, "pads": pads, "groups": groups}
    check(
        net.finish(net.conv(net.x, groups * share, kernel, "a", **window)), spec, net.inputs()
    )


@QUICK
@given(chips, seeds, dtypes, st.tuples(sizes, st.integers(1, 40), st.integers(1, 20)))
def test_random_matrix_products_are_exact(
    spec: SystolicSpec, rng: np.random.Generator, dtype: str, shape: tuple[int, int, int]
) -> None:
    m, k, n = shape
    net = Net(rng, (m, k), dtype)
    check(net.finish(net.product(net.product(net.x, n, "a"), 3, "b")), spec, net.inputs())


def _pooled(net: Net, x: Value, data: st.DataObject) -> Value:
    kernel, strides = data.draw(pair(3)), data.draw(pair(3))
    window: dict[str, Any] = {"kernel": kernel, "strides": strides}
    mean = {"x_scale": 0.75, "x_zero_point": 3, "y_scale": 0.5, "y_zero_point": 7}
    match data.draw(st.sampled_from(["maximum", "average", "global"])):
        case "maximum":
            dilations = data.draw(pair(2))
            window |= {"pads": data.draw(pads_of(kernel, (1, 1))), "dilations": dilations}
            return net.builder.op("nn.max_pool2d", [x], window)
        case "average":
            counted = {"count_include_pad": data.draw(st.integers(0, 1))}
            window |= {"pads": data.draw(pads_of(kernel, (1, 1)))}
            return net.builder.op("qnn.average_pool2d", [x], {**window, **mean, **counted})
        case _:
            return net.builder.op("qnn.global_average_pool", [x], mean)


@QUICK
@given(st.data(), chips, seeds, dtypes)
def test_random_pools_and_sums_are_exact(
    data: st.DataObject, spec: SystolicSpec, rng: np.random.Generator, dtype: str
) -> None:
    channels = data.draw(st.integers(1, 5))
    height, width = data.draw(pair(7, least=5))
    net = Net(rng, (data.draw(st.integers(1, 2)), channels, height, width), dtype)
    other = net.conv(net.x, channels, (1, 1), "a")
    low, high = (-128, 127) if dtype == "i8" else (0, 255)
    zeros = {f"{v}_zero_point": data.draw(st.integers(low, high)) for v in "aby"}
    scales = {f"{v}_scale": float(rng.random() + 0.1) for v in "aby"}
    total = net.builder.op("qnn.add", [net.x, other], {**scales, **zeros})
    y = _pooled(net, net.builder.op("nn.relu", [total]), data)
    check(net.finish(y, total), spec, net.inputs())


@pytest.mark.parametrize(("dtype", "least"), [("i8", -128), ("ui8", 0)])
def test_the_padding_of_a_maximum_is_the_least_value(dtype: str, least: int) -> None:
    net = Net(np.random.default_rng(0), (1, 3, 4, 4), dtype)
    window: dict[str, Attribute] = {
        "kernel": (2, 2),
        "strides": (1, 1),
        "pads": (1, 1, 0, 0),
        "dilations": (1, 1),
    }
    pooled = net.builder.op("nn.max_pool2d", [net.x], window)
    module = net.finish(pooled, net.conv(net.x, 2, (1, 1), "beside"))
    x = np.full_like(net.inputs(1)["x"], least)
    result, _ = check(module, chip(8, 8), {"x": x})
    assert np.all(result.outputs["y0"] == least)


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("dtype", ["i8", "ui8"])
def test_a_residual_network_is_exact_on_every_array(
    rng: np.random.Generator, array: tuple[int, int, int, int], dtype: str
) -> None:
    net = Net(rng, (1, 2, 7, 6), dtype)
    op = net.builder.op
    a = net.conv(net.x, 6, (3, 3), "a", pads=(1, 1, 1, 1))
    b = net.conv(a, 6, (3, 3), "b", pads=(1, 1, 1, 1), groups=6)
    scales = {"a_scale": 0.5, "b_scale": 0.25, "y_scale": 0.75}
    zeros = {"a_zero_point": 5, "b_zero_point": 5, "y_zero_point": 3}
    y = op("qnn.add", [a, b], {**scales, **zeros}, name="add")
    windows = {"kernel": (3, 2), "strides": (2, 1), "pads": (1, 1, 1, 0)}
    y = op("nn.max_pool2d", [y], {**windows, "dilations": (1, 1)}, name="max")
    mean = {"x_scale": 0.75, "x_zero_point": 3, "y_scale": 0.5, "y_zero_point": 5}
    z = op("qnn.global_average_pool", [y], mean, name="global")
    y = op("nn.reshape", [y], {"shape": (1, y.elements)}, name="flat")
    y = net.product(y, 7, "fc")
    check(net.finish(y, op("nn.reshape", [z], {"shape": (6,)})), chip(*array), net.inputs())


@pytest.mark.parametrize("array", ARRAYS)
def test_matrix_products_follow_views_of_their_operand(
    rng: np.random.Generator, array: tuple[int, int, int, int]
) -> None:
    net = Net(rng, (2, 3, 4, 5))
    y = net.conv(net.x, 6, (1, 1), "a")  # lies channels last: [2, 4, 5, 6]
    moved = net.builder.op("nn.transpose", [y], {"perm": (0, 2, 3, 1)})
    rows = net.product(net.builder.op("nn.reshape", [moved], {"shape": (2, 20, 6)}), 9, "b")
    whole = net.product(net.builder.op("nn.reshape", [y], {"shape": (2, 120)}), 4, "c")
    check(net.finish(rows, whole, moved), chip(*array), net.inputs())


def test_a_convolution_of_one_pixel_follows_views_too(rng: np.random.Generator) -> None:
    net = Net(rng, (2, 3, 4, 5))
    y = net.conv(net.x, 6, (1, 1), "a")  # lies channels last: [2, 4, 5, 6]
    pixel = net.builder.op("nn.reshape", [y], {"shape": (2, 120, 1, 1)})
    module = net.finish(net.conv(pixel, 7, (1, 1), "b", strides=(2, 3)))
    check(module, chip(8, 8, 64, 4), net.inputs())


def test_sums_beyond_int32_wrap_as_the_reference_does(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 8))
    w = net.builder.weight("w", np.full((8, 2), 127, np.int8))
    bias = net.builder.weight("b", np.array([2**31 - 1, -(2**31)], np.int32))
    zeros = {"x_zero_point": -128, "w_zero_point": 0}
    acc = net.builder.op("qnn.matmul", [net.x, w, bias], zeros, name="product")
    result, _ = check(net.finish(acc), chip(3, 2), {"x": np.full((1, 1, 8), 127, np.int8)})
    # 8 x 255 x 127 = 259080 beyond the largest, and above the smallest
    wanted = [[[-(2**31) - 1 + 259080, -(2**31) + 259080]]]
    assert np.array_equal(result.outputs["y0"], np.array(wanted, np.int32))


def test_accumulators_that_the_host_wants_are_written_raw(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 2, 4, 4))
    w = net.weights((3, 2, 3, 3), "w")
    window = {"strides": (1, 1), "pads": (1, 0, 0, 1), "dilations": (1, 1)}
    numbers = {"groups": 1, "x_zero_point": -4, "w_zero_point": 0}
    acc = net.builder.op("qnn.conv2d", [net.x, w], {**window, **numbers}, name="conv")
    y = net.requantize(acc, 1, "conv")
    scale = net.builder.weight("s", np.array([0.5, 0.25, 2], np.float32))
    real = net.builder.op("qnn.dequantize", [acc, scale], {"zero_point": 0, "axis": 1})
    result, program = check(net.finish(acc, y, real), chip(8, 8), net.inputs())
    assert [step.kind for step in program.after] == ["qnn.dequantize"]
    assert result.warnings == (
        "the host computes dequantize (qnn.dequantize); its time and energy are not counted",
    )


def test_weights_with_a_zero_point_are_centred_where_they_fit(rng: np.random.Generator) -> None:
    net = Net(rng, (3, 10))
    w = net.builder.weight("w", rng.integers(0, 256, (10, 4)).astype(np.uint8))
    zeros = {"x_zero_point": 7, "w_zero_point": 128}
    acc = net.builder.op("qnn.matmul", [net.x, w], zeros, name="product")
    check(net.finish(acc), chip(4, 4), net.inputs())


def test_a_constant_operand_of_add_is_loaded(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 4, 3, 3))
    y = net.conv(net.x, 4, (1, 1), "a")
    shift = net.weights((1, 4, 3, 3), "shift")
    scales = {"a_scale": 0.5, "b_scale": 0.25, "y_scale": 0.75}
    zeros = {"a_zero_point": 5, "b_zero_point": 5, "y_zero_point": 3}
    y = net.builder.op("qnn.add", [y, shift], {**scales, **zeros})
    check(net.finish(y), chip(8, 8), net.inputs())


def test_the_digits_cnn_is_exact(rng: np.random.Generator) -> None:
    images = {"x": rng.random((450, 1, 1, 8, 8)).astype(np.float32)}
    spec = chip(256, 256)
    lowered = TARGET.lower(digits(rng), spec, images, Options())
    result = run(lowered.program, spec, images, KEY)
    assert verdict(lowered, spec, images, result).passed
    names = [layer.name for layer in result.layers]
    assert names == ["(input)", "conv1", "conv2", "pool", "fc", "softmax", "(output)"]
    assert [s.kind for s in lowered.program.before] == ["qnn.quantize"]
    assert lowered.program.after == ()
    assert run(lowered.program, spec, images, KEY).cycles == result.cycles
