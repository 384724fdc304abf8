"""The Python builder: the shortest way to a network, with errors where the mistake is."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.frontend.builder import Builder
from tetrapla.ir.errors import IRError
from tetrapla.ir.interpret import evaluate


def test_a_small_network_computes_what_numpy_computes(rng: np.random.Generator) -> None:
    w, bias = rng.normal(size=(3, 1, 3, 3)), rng.normal(size=3)
    w2, b2 = rng.normal(size=(12, 5)), rng.normal(size=5)
    b = Builder("lenet")
    x = b.input("x", (1, 1, 4, 4))
    y = b.conv2d(x, w, bias, pads=1, name="conv1").relu().max_pool2d(2)
    b.output("y", y.flatten() @ w2 + b2)
    module = b.build()
    assert [(n.kind, n.name) for n in module.graph.nodes] == [
        ("nn.conv2d", "conv1"),
        ("nn.relu", "relu"),
        ("nn.max_pool2d", "max_pool2d"),
        ("nn.reshape", "flatten"),
        ("nn.matmul", "matmul"),
        ("nn.add", "add"),
    ]
    assert set(module.weights) == {"conv1_weight", "conv1_bias", "matmul_weight", "add_1"}
    image = rng.normal(size=(1, 1, 4, 4)).astype(np.float32)
    padded = np.pad(image[0, 0], 1)
    maps = np.array(
        [
            [[(padded[i : i + 3, j : j + 3] * k[0]).sum() for j in range(4)] for i in range(4)]
            for k in w
        ]
    )
    maps = np.maximum(maps + bias[:, None, None], 0).reshape(3, 2, 2, 2, 2).max(axis=(2, 4))
    expected = maps.reshape(1, 12) @ w2 + b2
    # 17 float32 roundings of numbers near 10 at the worst
    np.testing.assert_allclose(
        evaluate(module, {"x": image})["y"], expected, rtol=1e-4, atol=1e-4
    )


def test_operators_of_python_are_operators_of_the_network() -> None:
    b = Builder()
    x, z = b.input("x", (2, 2)), b.input("z", (2, 2))
    b.output("sum", x + z)
    b.output("difference", 1 - x - z)
    b.output("product", 2 * x * z)
    b.output("negative", -x)
    b.output("left", np.eye(2) @ x)
    b.output("turned", x.transpose())
    b.output("column", x.reshape(-1, 1))
    values = {
        "x": np.array([[1, 2], [3, 4]], np.float32),
        "z": np.array([[5, 6], [7, 8]], np.float32),
    }
    found = {name: array.tolist() for name, array in evaluate(b.build(), values).items()}
    assert found == {
        "sum": [[6, 8], [10, 12]],
        "difference": [[-5, -7], [-9, -11]],
        "product": [[10, 24], [42, 64]],
        "negative": [[-1, -2], [-3, -4]],
        "left": [[1, 2], [3, 4]],
        "turned": [[1, 3], [2, 4]],
        "column": [[1], [2], [3], [4]],
    }


def test_pooling_softmax_and_normalisation_keep_their_meaning() -> None:
    b = Builder()
    x = b.input("x", (1, 2, 2, 2))
    half = np.full(2, 0.5)
    b.output("mean", x.global_average_pool())
    b.output("window", x.average_pool2d(2, strides=1, pads=(1, 0), count_include_pad=True))
    b.output("share", x.softmax(axis=1))
    b.output("normal", b.batch_norm(x, half, half, half, half, epsilon=0.0))
    ones = np.ones((1, 2, 2, 2), np.float32)
    found = evaluate(b.build(), {"x": ones})
    assert found["mean"].tolist() == [[[[1]], [[1]]]]
    # half of the outer windows is padding
    assert found["window"][0, 0].tolist() == [
        [0.5],
        [1],
        [0.5],
    ]
    assert np.all(found["share"] == 0.5)  # two equal channels
    # (1 - 0.5) / sqrt(0.5) * 0.5 + 0.5
    np.testing.assert_allclose(found["normal"], 0.5 + 0.25 / np.sqrt(0.5), rtol=1e-6)


def test_a_weight_may_be_used_twice() -> None:
    b = Builder()
    w = b.weight(np.eye(2), "shared")
    b.output("y", b.input("x", (1, 2)) @ w @ w)
    assert set(b.build().weights) == {"shared"}


def test_a_wrong_shape_is_reported_at_its_line_with_both_shapes() -> None:
    b = Builder()
    x = b.input("x", (4, 8))
    with pytest.raises(IRError) as caught:
        b.matmul(x, np.zeros((9, 3)), name="fc1")
    assert str(caught.value) == (
        "fc1: nn.matmul C2: inner dimensions differ in tensor<4x8xf32> @ tensor<9x3xf32>"
    )


def test_a_wrong_argument_is_reported() -> None:
    b = Builder()
    x = b.input("x", (1, 1, 4, 4))
    with pytest.raises(IRError) as caught:
        x.max_pool2d((2, 2, 2))
    assert str(caught.value) == "kernel must be one number or two, not 3"
    with pytest.raises(IRError) as caught:
        b.conv2d(x, np.zeros((1, 1, 3, 3)), pads=(1, 2, 3))
    assert str(caught.value) == "pads must be one number, two or four, not 3"
    with pytest.raises(IRError) as caught:
        x.flatten(9)
    assert str(caught.value) == "flatten: axis must lie in -4..4, not 9"
    with pytest.raises(IRError) as caught:
        b.input("x", (1,))
    assert str(caught.value) == "input 'x' is declared twice; give it another name"


def test_values_of_two_builders_do_not_mix() -> None:
    first, second = Builder(), Builder()
    x, z = first.input("x", (1,)), second.input("z", (1,))
    with pytest.raises(IRError) as caught:
        _ = x + z
    assert (
        str(caught.value) == "add_1: an operand must come from this builder, not from another"
    )


def test_a_network_without_output_is_refused() -> None:
    with pytest.raises(IRError) as caught:
        Builder("lenet").build()
    assert str(caught.value) == "model 'lenet' must have an output, not none"
