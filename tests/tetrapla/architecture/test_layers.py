"""The family's NumPy against the module's own interpreter and gradients."""

from __future__ import annotations

import numpy as np
import pytest

import tetrapla
from tetrapla.architecture.layers import (
    Weights,
    backward,
    cross_entropy,
    forward,
    images,
    rounded,
)
from tetrapla.frontend.zoo.digits import parse

SHAPES = (
    *("h0-b8", "h16-b8", "c8k3-c16k3p-c16k3p-h0-b8", "c6k5s2p-c4k1s2-h16-b8"),
    *("c4k1p-h0-b4", "c4k5s2-c6k3s2p-h0-b8"),
)


def weights_of(label: str, seed: int = 3) -> Weights:
    found = parse(label).module(seed=seed).weights
    rng = np.random.default_rng(seed)
    return {  # biases that are not zero
        name: np.array(array) if array.ndim > 1 else rng.random(array.shape, np.float32) - 0.3
        for name, array in found.items()
    }


@pytest.mark.parametrize("label", SHAPES)
def test_scores_and_gradients_are_the_modules(label: str) -> None:
    shape, weights = parse(label), weights_of(label)
    module = shape.module(4)
    x = np.random.default_rng(0).random((4, 1, 8, 8), np.float32)
    y = np.array([1, 5, 0, 9])
    passed = forward(shape, weights, images(x))
    held = tetrapla.training_step(
        module, "cross_entropy", list(weights), tetrapla.Optimizer("sgd", learning_rate=1.0)
    )
    found = tetrapla.evaluate(held, {**weights, "image": x, "target": y})
    loss, d_scores = cross_entropy(passed.scores, y, 0.0)
    assert loss == pytest.approx(float(found["loss"]), rel=1e-5)
    ours = backward(shape, weights, passed, d_scores)
    assert set(ours) == set(weights)
    for name, array in weights.items():
        theirs = array - found[f"new_{name}"]
        np.testing.assert_allclose(ours[name], theirs, atol=2e-6 * max(1, abs(array).max()))


def test_smoothed_labels_share_with_every_class() -> None:
    scores = np.zeros((1, 10), np.float32)
    _, d = cross_entropy(scores, np.array([2]), 0.1)
    # p = 0.1 each; wanted 0.9 + 0.01 at 2 and 0.01 elsewhere
    expected = np.full((1, 10), 0.09)
    expected[0, 2] = 0.1 - 0.91
    np.testing.assert_allclose(d, expected, atol=1e-6)


def test_weights_lie_on_the_grid_of_their_bits() -> None:
    held = {"last.weight": np.array([[7.0, 1.0], [3.4, -0.6]], np.float32)}
    found = rounded(held, 4)["last.weight"]
    # seven steps to the largest of a column: 1 in the first, 1 / 7 in the second
    np.testing.assert_allclose(found, [[7.0, 1.0], [3.0, -4 / 7]], atol=1e-6)


def test_a_bias_and_an_empty_channel_stay() -> None:
    held = {
        "conv1.weight": np.zeros((2, 1, 1, 1), np.float32),
        "conv1.bias": np.array([0.123, 4.5], np.float32),
    }
    found = rounded(held, 4)
    assert not found["conv1.weight"].any()
    np.testing.assert_array_equal(found["conv1.bias"], held["conv1.bias"])
