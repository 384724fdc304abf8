"""The bounds on spectral norms against the operators written out as matrices."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.backends.gpu.bounds import norms
from tetrapla.backends.gpu.bounds.norms import matrix_norm, operator_norms
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute, Graph
from tetrapla.ir.op import evaluated

GEOMETRIES: list[dict[str, Attribute]] = [
    {"strides": (1, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1), "groups": 1},
    {"strides": (2, 1), "pads": (0, 2, 1, 0), "dilations": (1, 2), "groups": 2},
    {"strides": (1, 3), "pads": (3, 3, 3, 3), "dilations": (2, 1), "groups": 4},
]


def convolution(
    rng: np.random.Generator, attributes: dict[str, Attribute]
) -> tuple[Graph, Array]:
    """A graph of one convolution, and its operator as a matrix [inputs, outputs]."""
    groups = attributes["groups"]
    assert isinstance(groups, int)
    w = rng.normal(size=(8, 4 // groups, 3, 2))
    everything = {**attributes, "activation": "none"}
    build = ModuleBuilder("norm")
    x = build.input("x", (1, 4, 6, 5))
    filters = build.weight("w", w.astype(np.float32))
    build.output("y", build.op("nn.conv2d", [x, filters], everything, "conv"))
    one_hot = np.eye(4 * 6 * 5).reshape(-1, 4, 6, 5)
    held = w.astype(np.float32).astype(np.float64)
    images = evaluated("nn.conv2d", [one_hot, held], everything)
    return build.finish().graph, images.reshape(len(images), -1)


@pytest.mark.parametrize("attributes", GEOMETRIES)
def test_the_bound_of_a_convolution_holds_and_is_close(
    attributes: dict[str, Attribute], rng: np.random.Generator
) -> None:
    graph, matrix = convolution(rng, attributes)
    bound = operator_norms(graph, np.asarray)["conv"]
    exact = float(np.linalg.norm(matrix, 2))
    # a stride leaves outputs out, so the whole convolution's norm may be larger
    assert exact <= bound <= 2 * exact


@pytest.mark.parametrize("attributes", GEOMETRIES)
def test_schurs_bound_serves_where_the_transform_is_too_large(
    attributes: dict[str, Attribute], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, matrix = convolution(rng, attributes)
    transformed = operator_norms(graph, np.asarray)["conv"]
    monkeypatch.setattr(norms, "MOST_ELEMENTS", 0)
    bound = operator_norms(graph, np.asarray)["conv"]
    assert float(np.linalg.norm(matrix, 2)) <= transformed <= bound


def test_the_bound_of_a_matrix_holds(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = rng.normal(size=(20, 7))
    exact = float(np.linalg.norm(w, 2))
    assert exact <= matrix_norm(w) <= exact * (1 + 1e-8)
    monkeypatch.setattr(norms, "MOST_WORK", 0)
    assert exact <= matrix_norm(w) <= 4 * exact
