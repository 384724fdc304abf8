"""Branches and loops that come from ONNX files: the compiled form equals the interpreter's.

Inputs are small integers, and bodies add, double, halve, negate and square them: every number
is exact in float32 in any order of summation, so equal means bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tetrapla.frontend.onnx import load
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.jit import jit

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Check = Callable[..., list[str]]  # nodes, inputs, names of outputs, feeds, weights; the kinds


def info(name: str, dtype: int = FLOAT, shape: Sequence[int] | None = None) -> Any:
    return helper.make_tensor_value_info(name, dtype, shape)


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def held(weights: Mapping[str, Array]) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(array, name) for name, array in weights.items()]


def body(
    nodes: list[onnx.NodeProto], inputs: list[Any], outputs: list[Any], **weights: Array
) -> onnx.GraphProto:
    return helper.make_graph(nodes, "body", inputs, outputs, held(weights))


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Hold the compiled model to the interpreter's; the kinds of its nodes."""

    def agree(
        nodes: list[onnx.NodeProto],
        inputs: list[Any],
        outputs: list[str],
        feeds: Sequence[Mapping[str, Array]],
        **weights: Array,
    ) -> list[str]:
        given = [info(name) for name in outputs]
        graph = helper.make_graph(nodes, "g", inputs, given, held(weights))
        opsets = [helper.make_opsetid("", 17)]
        path = tmp_path / "m.onnx"
        made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        path.write_bytes(made.SerializeToString())
        module = load(path)
        call = jit(module)
        for feed in feeds:
            expected, found = evaluate(module, feed), call(feed)
            assert list(found) == list(expected)
            for name, array in expected.items():
                assert found[name].dtype == array.dtype
                assert np.array_equal(found[name], array), name
        return [each.kind for each in module.graph.nodes]

    return agree


X = [info("x", FLOAT, [2, 3])]
NUMBERS = np.array([[1, -2, 3], [0, 5, -4]], np.float32)


def test_an_if(check: Check) -> None:
    branches = {
        "then_branch": body(
            [node("Mul", "x w", "t")], [], [info("t")], w=np.full(3, 2, np.float32)
        ),
        "else_branch": body([node("Neg", "x", "e")], [], [info("e")]),
    }
    feeds = [{"x": NUMBERS, "c": np.array(truth)} for truth in (True, False)]
    inputs = [*X, info("c", BOOL, [])]
    assert check([node("If", "c", "y", **branches)], inputs, ["y"], feeds) == ["nn.if"]


def test_a_loop_of_known_length(check: Check) -> None:
    nodes = [
        node("Identity", "go", "on"),
        node("Add", "s x", "a"),
        node("Relu", "a", "t"),
        node("Cast", "i", "f", to=FLOAT),
        node("Add", "t f", "k"),
    ]
    states = [info("i", INT64, []), info("go", BOOL, []), info("s", FLOAT, [2, 3])]
    inner = body(nodes, states, [info("on", BOOL, []), info("t"), info("k")])
    loop = node("Loop", "n go0 zero", "last all", body=inner)
    weights = {
        "n": np.array(4, np.int64),
        "go0": np.array(True),
        "zero": np.zeros((2, 3), np.float32),
    }
    kinds = check([loop], X, ["last", "all"], [{"x": NUMBERS}], **weights)
    assert kinds == ["nn.scan"]


@pytest.mark.parametrize("limit", [2**62, 3])
def test_a_loop_that_data_end(limit: int, check: Check) -> None:
    nodes = [
        node("Add", "s s", "d"),
        node("ReduceSumSquare", "d", "q", keepdims=0),
        node("Less", "q hundred", "on"),
    ]
    states = [info("i", INT64, []), info("go", BOOL, []), info("s", FLOAT, [2, 3])]
    outputs = [info("on", BOOL, []), info("d")]
    inner = body(nodes, states, outputs, hundred=np.array(100, np.float32))
    loop = node("Loop", "n go0 x", "y", body=inner)
    weights = {"n": np.array(limit, np.int64), "go0": np.array(True)}
    feeds = [{"x": NUMBERS * scale} for scale in (np.float32(0.125), np.float32(1))]
    assert check([loop], X, ["y"], feeds, **weights) == ["nn.while"]


@pytest.mark.parametrize("attributes", [
    {},
    {"scan_input_directions": [1], "scan_output_directions": [1]},
    {"scan_input_axes": [1], "scan_output_axes": [1]},
])  # fmt: skip
def test_a_scan(attributes: dict[str, Any], check: Check) -> None:
    size = 2 if attributes.get("scan_input_axes") else 3
    nodes = [node("Add", "s e", "a"), node("Mul", "a w", "t"), node("Identity", "t", "k")]
    rows = [info("s", FLOAT, [size]), info("e", FLOAT, [size])]
    inner = body(nodes, rows, [info("t"), info("k")])
    scan = node("Scan", "zero x", "last all", body=inner, num_scan_inputs=1, **attributes)
    weights = {"zero": np.zeros(size, np.float32), "w": np.array(0.5, np.float32)}
    assert "nn.scan" in check([scan], X, ["last", "all"], [{"x": NUMBERS}], **weights)
