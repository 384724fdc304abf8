"""Proxies by hand numbers."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.architecture.layers import Weights
from tetrapla.architecture.proxies import (
    grad_norm,
    naswot,
    rank_correlation,
    ranks,
    synflow,
)
from tetrapla.frontend.zoo.digits import parse

LINEAR = parse("h0-b8")
X = np.zeros((2, 64), np.float32)
Y = np.array([0, 1])


def linear(value: float) -> Weights:
    return {
        "last.weight": np.full((64, 10), value, np.float32),
        "last.bias": np.zeros(10, np.float32),
    }


def test_synflow_of_one_layer_is_the_sum_of_its_weights() -> None:
    # R = sum |w| of an image of ones, and w dR/dw sums to R: 640 weights of 1/2
    assert synflow(LINEAR, linear(-0.5), X, Y) == pytest.approx(np.log(320))
    assert synflow(LINEAR, linear(0.0), X, Y) == -np.inf


def test_synflow_of_two_layers_counts_both() -> None:
    shape = parse("h16-b8")
    weights = {
        "hidden.weight": np.full((64, 16), 2.0, np.float32),
        "hidden.bias": np.zeros(16, np.float32),
        "last.weight": np.full((16, 10), 3.0, np.float32),
        "last.bias": np.zeros(10, np.float32),
    }
    # R = 10 * 16 * 64 * 2 * 3, once for each layer
    assert synflow(shape, weights, X, Y) == pytest.approx(np.log(2 * 61440))


def test_naswot_counts_what_relus_switch_alike() -> None:
    shape = parse("h16-b8")
    weights = {
        "hidden.weight": np.zeros((64, 16), np.float32),
        "hidden.bias": np.full(16, -0.5, np.float32),
        "last.weight": np.zeros((16, 10), np.float32),
        "last.bias": np.zeros(10, np.float32),
    }
    weights["hidden.weight"][0, :4] = 1.0  # pixel 0 switches four of sixteen
    x = np.zeros((2, 64), np.float32)
    x[1, 0] = 1.0
    # K = [[16, 12], [12, 16]]: determinant 112
    assert naswot(shape, weights, x, Y) == pytest.approx(np.log(112))
    assert naswot(shape, weights, X, Y) == -np.inf  # two images that look the same
    assert naswot(LINEAR, linear(1.0), x, Y) == -np.inf  # nothing switches


def test_grad_norm_of_equal_scores() -> None:
    # p = 1/10 each, so d = (0.1 - 1[y]) / 2; with dark images only the biases have any
    d = np.full((2, 10), 0.05)
    d[0, 0] = d[1, 1] = -0.45
    expected = np.sqrt((d.sum(0) ** 2).sum())
    assert grad_norm(LINEAR, linear(0.0), X, Y) == pytest.approx(expected)


def test_ranks_and_their_correlation() -> None:
    assert ranks([3.0, 1.0, 3.0]).tolist() == [2.5, 1.0, 2.5]
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 5]) == pytest.approx(-0.2)
    assert rank_correlation([1, 2, 3], [4, 5, 9]) == pytest.approx(1)
    assert rank_correlation([1, 1, 1], [4, 5, 9]) is None
    assert rank_correlation([1, 2], [4, 5]) is None
    assert rank_correlation([-np.inf, 1, 2], [1, 2, 3]) == pytest.approx(1)
