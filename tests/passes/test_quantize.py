"""Quantisation: which operators become integer, and the numbers they are built from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes.calibrate_ import Ranges, ranges
from tetrapla.passes.pipeline_ import int8
from tetrapla.passes.quantize import Quantize
from tetrapla.passes.scales_ import (
    Affine,
    affine,
    integer_bias,
    integer_weights,
    least_scales,
    multipliers,
    weight_scales,
)

Images = Callable[[int], dict[str, Array]]


def test_everything_with_an_integer_form_becomes_integer(
    network: Module, images: Images
) -> None:
    module = int8(network, images(5))
    assert [(node.kind, node.name) for node in module.graph.nodes] == [
        ("qnn.quantize", "image.quantize"),
        ("qnn.conv2d", "conv1"),
        ("qnn.requantize", "conv1.requantize"),
        ("qnn.conv2d", "conv2"),
        ("qnn.requantize", "conv2.requantize"),
        ("qnn.add", "residual"),
        ("nn.max_pool2d", "maximum"),
        ("qnn.average_pool2d", "mean"),
        ("nn.reshape", "flatten"),
        ("qnn.matmul", "logits"),
        ("qnn.requantize", "logits.requantize"),
        ("qnn.dequantize", "logits.dequantize"),
        ("nn.softmax", "softmax"),
        ("qnn.global_average_pool", "global"),
        ("qnn.dequantize", "global.dequantize"),
    ]


def test_quantisation_moves_a_network_by_a_few_steps(network: Module, images: Images) -> None:
    data = images(30)
    module = int8(network, data)
    (step,) = module.weights["logits.dequantize.scale"]
    worst = max(
        np.abs(
            evaluate(network, {"image": image})["logits"]
            - evaluate(module, {"image": image})["logits"]
        ).max()
        for image in data["image"]
    )
    # six roundings lie before the logits, each of half a step of its own tensor, and every
    # layer keeps the variance: a dozen steps is far out, a wrong scale or sign is hundreds
    assert worst < 12 * step


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 2.55, Affine(float(np.float32(0.01)), -128)),
        (-2.55, 0.0, Affine(float(np.float32(0.01)), 127)),
        (1.0, 2.55, Affine(float(np.float32(0.01)), -128)),  # widened to zero
        # f32(2 / 255) is a little above 2 / 255, so -128 + 1 / scale a little below -0.5
        (-1.0, 1.0, Affine(float(np.float32(2 / 255)), -1)),
        (0.0, 0.0, Affine(1.0, -128)),
        (0.0, 1e-45, Affine(1.0, -128)),  # a subnormal scale is no scale
    ],
)
def test_a_range_gives_scale_and_zero_point(low: float, high: float, expected: Affine) -> None:
    assert affine(low, high) == expected


def test_weights_are_symmetric_per_channel_and_a_channel_of_zeros_has_scale_one() -> None:
    w = np.array([[1.27, 0, 0.635], [0, 0, -2.54]], np.float32)
    scales = weight_scales(w, 1)
    assert scales.tolist() == np.array([0.01, 1, 0.02], np.float32).tolist()
    # 0.635 / 0.02 = 31.75 rounds to 32
    assert integer_weights(w, scales, 1).tolist() == [[127, 0, 32], [0, 0, -127]]


def test_a_channel_of_almost_no_weight_keeps_its_bias() -> None:
    w = np.array([[1.0, 1e-20]], np.float32)
    bias = np.array([0.5, 0.5], np.float32)
    scales = weight_scales(w, 1, least_scales(bias, 0.1, 0.1))
    products = np.asarray(np.float32(0.1) * scales)
    # 0.5 / (0.1 / 127) = 635; the other channel's scale is raised until its bias is 2^30
    assert integer_bias("fc", bias, products).tolist() == pytest.approx([635, 2**30], rel=1e-6)
    assert integer_weights(w, scales, 1).tolist() == [[127, 0]]
    assert (multipliers("fc", products, 0.1) > 0).all()


def test_a_bias_beyond_int32_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        integer_bias("fc", np.array([1e6], np.float32), np.array([1e-6], np.float32))
    assert str(caught.value) == (
        "fc: a bias must fit int32 in steps of its accumulator's scale, not 1000000.0; "
        "calibrate on data that the layer's input really sees"
    )


def _product(array: Array) -> Module:
    build = ModuleBuilder("product")
    x = build.input("x", (1, 2))
    attributes: dict[str, Attribute] = {"activation": "none"}
    build.output("y", build.op("nn.matmul", [x, build.weight("w", array)], attributes, "fc"))
    return build.finish()


def test_nan_weights_are_refused() -> None:
    module = _product(np.array([[1, np.nan], [0, 1]], np.float32))
    with pytest.raises(ModelError) as caught:
        Quantize(Ranges({"x": (0, 1)}, {"fc": (0, 1)}))(module)
    assert str(caught.value) == (
        "weight @w must be finite to be quantised, not nan; train or export it again"
    )


def test_a_layer_that_was_not_calibrated_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        Quantize(Ranges({"x": (0, 1)}))(_product(np.eye(2, dtype=np.float32)))
    assert str(caught.value) == (
        "layer 'fc' must have a calibrated range and has none; "
        "calibrate on the module that is quantised"
    )


def test_other_widths_are_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        Quantize(bits=4)
    assert str(caught.value) == ("bits must be 8 or 16, not 4; weights of fewer are weights=i4")


def test_two_computed_matrices_multiply_as_integers(rng: np.random.Generator) -> None:
    build = ModuleBuilder("attention")
    x = build.input("x", (2, 4, 8))
    turned = build.op("nn.transpose", [x], {"perm": (0, 2, 1)})
    build.output("y", build.op("nn.matmul", [x, turned], {"activation": "none"}, "scores"))
    module = build.finish()
    data = {"x": rng.standard_normal((10, 2, 4, 8)).astype(np.float32)}
    quantised = int8(module, data)
    assert [node.kind for node in quantised.graph.nodes] == [
        "qnn.quantize",
        "nn.transpose",
        "qnn.matmul",
        "qnn.requantize",
        "qnn.dequantize",
    ]
    sample = {"x": data["x"][0]}
    moved = np.abs(evaluate(module, sample)["y"] - evaluate(quantised, sample)["y"]).max()
    (step,) = quantised.weights["scores.dequantize.scale"]
    x_step = float(quantised.weights["x.quantize.scale"][0])
    # half a step of the result, and 8 products with half a step of error in either factor
    top = float(np.abs(sample["x"]).max())
    assert moved <= step / 2 + 8 * (top * x_step + x_step**2 / 4)


def test_the_range_of_a_relu_starts_at_zero(network: Module, images: Images) -> None:
    found = ranges(network, images(3))
    assert found.node("relu1")[0] == 0.0
