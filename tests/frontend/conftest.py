"""ONNX Runtime, the oracle of the ONNX tests, and how far two float32 networks may lie apart.

A network in float32 rounds once per operation and once per term of a sum. Along the longest
path these add up to R roundings; while no operator enlarges them, two evaluations in different
orders lie within ``2 R u`` of the largest magnitude in the network (u = 2^-24). A function such
as exp counts as eight, what vendors' libraries state for float32 (up to 4 ulp).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from math import prod
from typing import Any

import numpy as np
import pytest

from tetrapla.ir.graph import Array, Node
from tetrapla.ir.interpret import intermediates
from tetrapla.ir.module import Module

U = 2.0**-24
ROUNDS = 8  # of a loop that data end: none of the networks here runs longer
FUNCTION = 8  # roundings of an operator that is no sum: 4 ulp


@pytest.fixture
def runtime() -> Callable[[bytes], Callable[[Mapping[str, Array]], list[Array]]]:
    """A model's bytes to the function that ONNX Runtime computes."""
    onnxruntime: Any = import_module("onnxruntime")

    def prepared(data: bytes) -> Callable[[Mapping[str, Array]], list[Array]]:
        session = onnxruntime.InferenceSession(data)
        return lambda feeds: [*session.run(None, dict(feeds))]

    return prepared


@pytest.fixture
def near() -> Callable[[Module, dict[str, Array], Array, Array], None]:
    """Check a module's result against another evaluation: integers exactly, floats within."""
    return _check_near


def _check_near(
    module: Module, inputs: dict[str, Array], found: Array, expected: Array
) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    if expected.dtype.kind != "f":
        assert np.array_equal(found, expected)
        return
    close = np.abs(found - expected) <= _allowed(module, inputs)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    assert np.all(close | same), np.abs(found - expected).max()


def _path(nodes: Sequence[Node]) -> int:
    """How many roundings stand one behind the other in any value that nodes make."""
    longest: dict[int, int] = {}
    for node in nodes:
        before = max((longest.get(value.index, 0) for value in node.operands), default=0)
        longest.update({value.index: before + _terms(node) for value in node.results})
    return max(longest.values(), default=0)


def _terms(node: Node) -> int:
    """How many roundings stand in one element of a node's result."""
    if node.bodies:  # a round is as long as its longest body
        rounds = {"nn.scan": node.attributes.get("trips"), "nn.if": 1}.get(node.kind, ROUNDS)
        assert isinstance(rounds, int)
        return rounds * max(_path(body.nodes) for body in node.bodies)
    x = node.operands[0]
    match node.kind:
        case "nn.matmul":
            return x.shape[-1] + FUNCTION
        case "nn.conv2d":
            return prod(node.operands[1].shape[1:]) + FUNCTION
        case "nn.average_pool2d":
            return prod(node.ints("kernel")) + FUNCTION
        case "nn.global_average_pool":
            return prod(x.shape[2:]) + FUNCTION
        case "nn.reduce_sum" | "nn.reduce_prod" | "nn.reduce_mean":
            return prod(x.shape[axis] for axis in node.ints("axes")) + FUNCTION
        case "nn.softmax" | "nn.log_softmax" | "nn.layer_norm" | "nn.rms_norm":
            return 2 * max(x.shape) + 4 * FUNCTION
        case _:
            return FUNCTION


def _allowed(module: Module, inputs: dict[str, Array]) -> float:
    """How far two float32 evaluations may lie apart."""
    values = [*inputs.values(), *intermediates(module, inputs).values()]
    finite = [array[np.isfinite(array)] for array in values if array.dtype.kind == "f"]
    largest = max(float(np.abs(array).max()) for array in finite if array.size)
    return 2 * _path(module.graph.nodes) * U * largest
