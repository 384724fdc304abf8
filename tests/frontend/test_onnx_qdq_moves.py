"""What moves values between Q, DQ and a product leaves the product an integer one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tetrapla.frontend.onnx import load
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate

Runtime = Callable[[bytes], Callable[[Mapping[str, Array]], list[Array]]]
SHAPE = (1, 4, 6, 6)
# by name: what stands before the product, on "d" and giving "m", and how many numbers
BEFORE: dict[str, tuple[str, int]] = {
    "flatten": ("m=Flatten(d)", 144),
    "reshape": ("m=Reshape(d, rows)", 144),
    "two moves": ("t=Transpose(d); m=Flatten(t)", 144),
    "pool": ("t=MaxPool(d); m=Flatten(t)", 36),
    "relu": ("t=Relu(d); m=Flatten(t)", 144),
    "slice": ("t=Slice(d, from, to); m=Flatten(t)", 72),
    "gather": ("t=Gather(d, picked); m=Flatten(t)", 72),
    "concat": ("t=Concat(d, d); m=Flatten(t)", 288),
}
AFTER = {
    "flatten": "p=Flatten(f)",
    "pool": "p=MaxPool(f)",
    "two moves": "t=Transpose(f); p=Flatten(t)",
    "pool and flatten": "t=MaxPool(f); p=Flatten(t)",
    "relu and flatten": "t=Relu(f); p=Flatten(t)",
}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "MaxPool": {"kernel_shape": [2, 2], "strides": [2, 2]},
    "Gather": {"axis": 1},
    "Concat": {"axis": 0},
    "Transpose": {"perm": [0, 2, 3, 1]},
}
DTYPES = [np.uint8, np.int8]


def parsed(text: str) -> list[onnx.NodeProto]:
    nodes: list[onnx.NodeProto] = []
    for line in text.split("; "):
        name, call = line.split("=")
        op, operands = call.rstrip(")").split("(")
        held = ATTRIBUTES.get(op, {})
        nodes.append(helper.make_node(op, operands.split(", "), [name], **held))
    return nodes


def model(
    nodes: list[onnx.NodeProto], weights: dict[str, Array], dtype: type, rows: int
) -> bytes:
    """x quantised, the nodes from "d" to the float "p", which is quantised and read."""
    shift = 128 if dtype is np.uint8 else 0
    # a sum below 2,585,000 is never exactly half a step of the result, as 0.0203 x 0.0107 /
    # 0.0517 is 21721 / 5170000: ONNX Runtime may pick float kernels, which round that otherwise
    held: dict[str, Array] = {
        **weights,
        "xs": np.array(0.0203, np.float32),
        "xz": np.array(-11 + shift, dtype),
        "ys": np.array(0.0517, np.float32),
        "yz": np.array(4 + shift, dtype),
        "ws": np.array(0.0107, np.float32),
        "wz": np.array(0, np.int8),
        "rows": np.array([rows, -1]),
        "from": np.array([0, 1, 0, 0]),
        "to": np.array([1, 3, 6, 6]),
        "picked": np.array([3, 0]),
    }
    made = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "xs", "xz"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
        *nodes,
        helper.make_node("QuantizeLinear", ["p", "ys", "yz"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "ys", "yz"], ["y"]),
    ]
    read = {name for node in made for name in node.input}
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, key) for key, array in held.items() if key in read],
    )
    opsets = [helper.make_opsetid("", 17)]
    made_model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(made_model.SerializeToString())


def has_the_runtimes_bits(
    data: bytes, path: Path, rng: np.random.Generator, runtime: Runtime
) -> set[str]:
    """The kinds of the operators of the module that is loaded."""
    path.write_bytes(data)
    module, computed = load(path), runtime(data)
    for _ in range(4):
        x = (2 * rng.standard_normal(SHAPE)).astype(np.float32)
        (expected,) = computed({"x": x})
        found = evaluate(module, {"x": x})["y"]
        np.testing.assert_array_equal(found, expected)
        assert np.unique(found).size > 2
    return {node.kind for node in module.graph.nodes}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BEFORE)
def test_a_product_behind_moves_is_an_integer_one(
    name: str, dtype: type, tmp_path: Path, rng: np.random.Generator, runtime: Runtime
) -> None:
    text, taps = BEFORE[name]
    rows = 2 if name == "concat" else 1
    # far from the 16 bits at which pairs of products saturate on x86 without VNNI
    w = rng.integers(-60, 61, (taps // rows, 5)).astype(np.int8)
    nodes = [*parsed(text), helper.make_node("MatMul", ["m", "wd"], ["p"])]
    data = model(nodes, {"w": w}, dtype, 1)
    kinds = has_the_runtimes_bits(data, tmp_path / "m.onnx", rng, runtime)
    assert "qnn.matmul" in kinds
    assert "nn.matmul" not in kinds


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", AFTER)
def test_a_product_before_moves_is_an_integer_one(
    name: str, dtype: type, tmp_path: Path, rng: np.random.Generator, runtime: Runtime
) -> None:
    w = rng.integers(-60, 61, (3, 4, 3, 3)).astype(np.int8)
    nodes = [helper.make_node("Conv", ["d", "wd"], ["f"]), *parsed(AFTER[name])]
    data = model(nodes, {"w": w}, dtype, 1)
    kinds = has_the_runtimes_bits(data, tmp_path / "m.onnx", rng, runtime)
    assert "qnn.conv2d" in kinds
    assert kinds & {"nn.conv2d", "nn.relu"} == set()
