"""The ONNX import computes what ONNX Runtime computes, and says what it cannot import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tetrapla.frontend.onnx import load
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate

EXAMPLES = Path(__file__).parents[2] / "examples"
Weights = Mapping[str, Array]
Runtime = Callable[[bytes], Callable[[Mapping[str, Array]], list[Array]]]


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    weights: Weights | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A float32 model whose output is y, of a shape that it does not declare."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, s) for k, s in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), k) for k, a in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def node(op: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node; the inputs are separated by spaces, `-` is absent."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, [output], **attributes)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[onnx.ModelProto], Path]:
    def save(made: onnx.ModelProto) -> Path:
        path = tmp_path / "m.onnx"
        path.write_bytes(made.SerializeToString())
        return path

    return save


SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "image": {"x": (2, 3, 7, 6)},
    "matrix": {"x": (4, 6)},
    "pair": {"x": (2, 3, 4), "z": (3, 1)},
}


def _weights(rng: np.random.Generator) -> dict[str, Array]:
    shapes = {
        "w": (4, 3, 3, 2),
        "depthwise": (6, 1, 3, 3),
        "b": (4,),
        "b6": (6,),
        "m": (6, 5),
        "mt": (5, 6),
        "v": (6,),
        "u": (4,),
        "c": (1, 5),
        "column": (4, 1),
        "gain": (3,),
        "shift": (3,),
        "mean": (3,),
    }
    found: dict[str, Array] = {
        k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()
    }
    found["variance"] = rng.random(3).astype(np.float32) + np.float32(0.5)
    found["zero"], found["flat"] = np.array(0, np.float32), np.array([2, -1], np.int64)
    found["keep"], found["one"] = np.array([0, 0, -1], np.int64), np.array([1], np.int64)
    found["hw"] = np.array([2, -1], np.int64)
    return found


# (operator, which inputs, inputs of the node, attributes)
CASES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("Conv", "image", "x w b", {}),
    ("Conv", "image", "x w", {"pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2]}),
    ("Conv", "image", "x w", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", "image", "x w", {"auto_pad": "SAME_LOWER", "kernel_shape": [3, 2]}),
    ("Conv", "image", "x w", {"auto_pad": "VALID"}),
    ("Conv", "image", "x depthwise b6", {"group": 3}),
    (
        "MaxPool",
        "image",
        "x",
        {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 1, 1, 0]},
    ),
    ("MaxPool", "image", "x", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", "image", "x", {"kernel_shape": [2, 2], "dilations": [2, 2]}),
    ("AveragePool", "image", "x", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    (
        "AveragePool",
        "image",
        "x",
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1},
    ),
    ("AveragePool", "image", "x", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("GlobalAveragePool", "image", "x", {}),
    ("GlobalLpPool", "image", "x", {}),
    ("GlobalMaxPool", "image", "x", {}),
    ("ReduceMean", "image", "x", {"axes": [2, 3]}),
    ("ReduceMean", "image", "x", {"axes": [-1, -2], "keepdims": 0}),
    ("Gemm", "matrix", "x m c", {"alpha": 0.5, "beta": 2.0}),
    ("Gemm", "matrix", "x mt column", {"transB": 1}),
    ("Gemm", "matrix", "x m", {}),
    ("Gemm", "matrix", "m x", {"transA": 1, "transB": 1}),
    ("MatMul", "matrix", "x m", {}),
    ("MatMul", "matrix", "x v", {}),
    ("MatMul", "matrix", "u x", {}),
    ("Add", "pair", "x z", {}),
    ("Sub", "pair", "x z", {}),
    ("Mul", "pair", "x z", {}),
    ("Sum", "pair", "x z x", {}),
    ("Neg", "matrix", "x", {}),
    ("Relu", "matrix", "x", {}),
    ("Clip", "matrix", "x zero", {}),
    ("Softmax", "image", "x", {"axis": 1}),
    ("Softmax", "matrix", "x", {}),
    ("BatchNormalization", "image", "x gain shift mean variance", {"epsilon": 1e-3}),
    ("Flatten", "image", "x", {"axis": 2}),
    ("Flatten", "image", "x", {"axis": -1}),
    ("Reshape", "image", "x flat", {}),
    ("Reshape", "image", "x keep", {}),
    ("Squeeze", "pair", "z one", {}),
    ("Squeeze", "pair", "z", {}),
    ("Unsqueeze", "pair", "x hw", {}),
    ("Transpose", "image", "x", {"perm": [0, 2, 3, 1]}),
    ("Transpose", "matrix", "x", {}),
    ("Identity", "matrix", "x", {}),
    ("Dropout", "matrix", "x", {}),
]


@pytest.mark.parametrize(("op", "shape", "operands", "attributes"), CASES)
@pytest.mark.parametrize("opset", [13, 17])
def test_every_operator_computes_what_onnx_runtime_computes(
    op: str,
    shape: str,
    operands: str,
    attributes: dict[str, Any],
    opset: int,
    rng: np.random.Generator,
    saved: Callable[[onnx.ModelProto], Path],
    runtime: Runtime,
) -> None:
    used = operands.split()
    weights = {k: a for k, a in _weights(rng).items() if k in used}
    inputs = {k: s for k, s in SHAPES[shape].items() if k in used}
    made = model([node(op, operands, **attributes)], inputs, weights, opset)
    feeds = {k: rng.normal(size=s).astype(np.float32) for k, s in inputs.items()}
    (expected,) = runtime(made.SerializeToString())(feeds)
    found = evaluate(load(saved(made)), feeds)["y"]
    assert found.shape == expected.shape
    # float32 sums of at most 42 terms of size 1 in another order: 42 * 2^-24 < 3e-6
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=3e-6)


# what an operator meant in an older opset: operator, opset, inputs of the node, attributes
OLD: list[tuple[str, int, str, dict[str, Any]]] = [
    ("Softmax", 11, "x", {"axis": 1}),
    ("LogSoftmax", 11, "x", {"axis": 2}),
    ("Hardmax", 11, "x", {"axis": 1}),
    ("Squeeze", 11, "thin", {"axes": [1]}),
    ("Unsqueeze", 11, "x", {"axes": [0, 3]}),
    ("ReduceSum", 11, "x", {"axes": [1, 3], "keepdims": 0}),
    ("ReduceMax", 17, "x", {"axes": [-1]}),
    ("Clip", 7, "x", {"min": -0.5, "max": 0.25}),
    ("Clip", 7, "x", {"max": 0.25}),
    ("Dropout", 7, "x", {"ratio": 0.3}),
    ("Slice", 9, "x", {"starts": [1, -3], "ends": [3, 100], "axes": [1, 3]}),
    ("Pad", 10, "x", {"pads": [0, 0, 1, 2, 0, 0, 0, 1], "value": 0.5}),
    ("Pad", 10, "x", {"pads": [0, 0, 1, 2, 0, 0, 0, 1], "mode": "reflect"}),
    ("Upsample", 7, "x", {"scales": [1.0, 1.0, 2.0, 1.5], "mode": "nearest"}),
    ("Upsample", 9, "x scales", {"mode": "linear"}),
    ("Resize", 10, "x scales", {"mode": "nearest"}),
    ("BatchNormalization", 7, "x gain shift mean variance", {}),
    ("BatchNormalization", 9, "x gain shift mean variance", {"momentum": 0.5}),
    ("Gemm", 9, "m m2 c", {}),
    ("AveragePool", 7, "x", {"kernel_shape": [2, 2], "count_include_pad": 1}),
    ("MaxPool", 8, "x", {"kernel_shape": [2, 3], "storage_order": 1}),
    ("Reshape", 7, "x flat", {}),
    ("GroupNormalization", 18, "x per_group per_group", {"num_groups": 3}),
    ("GroupNormalization", 21, "x gain shift", {"num_groups": 3}),
]


@pytest.mark.parametrize(("op", "opset", "operands", "attributes"), OLD)
def test_an_older_opset_means_what_it_meant(
    op: str,
    opset: int,
    operands: str,
    attributes: dict[str, Any],
    rng: np.random.Generator,
    saved: Callable[[onnx.ModelProto], Path],
    runtime: Runtime,
) -> None:
    shapes = {"x": (2, 3, 4, 6), "thin": (2, 1, 4), "m": (4, 6)}
    weights = _weights(rng)
    weights["scales"] = np.array([1, 1, 2, 1.5], np.float32)
    weights["m2"] = rng.normal(size=(6, 5)).astype(np.float32)
    weights["per_group"] = rng.normal(size=3).astype(np.float32)
    used = operands.split()
    inputs = {name: shape for name, shape in shapes.items() if name in used}
    held = {
        name: array for name, array in weights.items() if name in used and name not in inputs
    }
    made = model([node(op, operands, **attributes)], inputs, held, opset)
    feeds = {name: rng.normal(size=s).astype(np.float32) for name, s in inputs.items()}
    (expected,) = runtime(made.SerializeToString())(feeds)
    found = evaluate(load(saved(made)), feeds)["y"]
    assert found.shape == expected.shape
    # float32 sums of at most 48 terms of size 1 in another order: 48 * 2^-24 < 3e-6
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("equation", [
    "ij,jk->ik", "bij,bjk->bik", "bi,bj->bij", "bij->bji", "ii->i", "...ij,...jk->...ik",
    "bij,bij->b", "bi,ij,bj->b", "ij,jk",
])  # fmt: skip
def test_einsum_is_numpys(
    equation: str, rng: np.random.Generator, saved: Callable[[onnx.ModelProto], Path]
) -> None:
    sizes = {"b": 2, "i": 3, "j": 4, "k": 5}
    terms = equation.split("->")[0].split(",")
    shapes = [tuple(sizes[letter] for letter in term.replace("...", "b")) for term in terms]
    inputs = {f"x{index}": shape for index, shape in enumerate(shapes)}
    made = model([node("Einsum", " ".join(inputs), equation=equation)], inputs)
    feeds = {name: rng.normal(size=s).astype(np.float32) for name, s in inputs.items()}
    found = evaluate(load(saved(made)), feeds)["y"]
    expected = np.einsum(equation, *(array.astype(np.float64) for array in feeds.values()))
    assert found.shape == expected.shape
    # sums of at most 12 products of size 1, each rounded to float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=3e-6)


def test_a_constant_node_and_shape_arithmetic_are_folded_away(
    rng: np.random.Generator, saved: Callable[[onnx.ModelProto], Path]
) -> None:
    # what an exporter writes for x.reshape(x.shape[0], -1)
    made = model(
        [
            node("Shape", "x", "s"),
            node("Constant", "", "zero", value_int=0),
            node("Gather", "s zero", "n", axis=0),
            node("Unsqueeze", "n axis", "n1"),
            node("Constant", "", "rest", value_ints=[-1]),
            node("Concat", "n1 rest", "shape", axis=0),
            node("Reshape", "x shape"),
        ],
        {"x": ("batch", 3, 4)},
        {"axis": np.array([0], np.int64)},
    )
    module = load(saved(made), batch=5)
    assert [found.kind for found in module.graph.nodes] == ["nn.reshape"]
    assert module.outputs["y"].shape == (5, 12)


@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn"])
def test_the_example_networks_compute_what_onnx_runtime_computes(
    name: str, rng: np.random.Generator, runtime: Runtime
) -> None:
    path = EXAMPLES / f"{name}.onnx"
    x = rng.random((1, 1, 8, 8), dtype=np.float32)
    (expected,) = runtime(path.read_bytes())({"image": x})
    found = evaluate(load(path), {"image": x})["logits"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_leading_symbol_is_the_batch() -> None:
    path = EXAMPLES / "digits_cnn.onnx"
    assert load(path, batch=3).inputs["image"].shape == (3, 1, 8, 8)
    assert load(path, dims={"batch": 4}).inputs["image"].shape == (4, 1, 8, 8)


def test_another_symbol_needs_a_value(saved: Callable[[onnx.ModelProto], Path]) -> None:
    path = saved(model([node("Relu", "x")], {"x": ("n", "seq")}))
    with pytest.raises(ModelError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}: input 'x' has the symbolic dimension 'seq' at axis 1, which needs a value; "
        f"pass --dim seq=128, for instance"
    )
    assert load(path, dims={"seq": 5}).inputs["x"].shape == (1, 5)
    with pytest.raises(ModelError) as caught:
        load(path, dims={"sec": 5})
    assert str(caught.value) == (
        f"{path}: there is no dimension 'sec', the model has n, seq; did you mean 'seq'?"
    )


def test_one_message_lists_every_unsupported_node(
    saved: Callable[[onnx.ModelProto], Path],
) -> None:
    made = model(
        [
            node("RandomNormalLike", "x", "a", name="first"),
            node("Relu", "a", "b"),
            node("Cast", "x", "shape", to=TensorProto.INT64),
            node("Reshape", "x shape", "c", name="dynamic"),
            node("RandomNormalLike", "c", "d"),
            node("Add", "b d", "e"),
            node("__class__", "e", "y"),
        ],
        {"x": (2, 3)},
    )
    path = saved(made)
    with pytest.raises(UnsupportedError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}: 4 nodes cannot be imported: RandomNormalLike x2 (node 'first'), "
        f"Reshape (only with a constant shape) x1 (node 'dynamic'), "
        f"__class__ x1 (node 'y'); replace them before exporting the model"
    )


def test_a_shape_only_import_reads_no_weights() -> None:
    module = load(EXAMPLES / "digits_cnn.onnx", shape_only=True)
    assert module.shape_only
    assert module.graph.weights == {}
    assert module.outputs["logits"].shape == (1, 10)


def test_a_shape_only_import_needs_no_external_file(
    saved: Callable[[onnx.ModelProto], Path],
) -> None:
    made = model([node("MatMul", "x w")], {"x": (2, 3)})
    tensor = made.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[3, 2**20])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="not_here.bin")
    module = load(saved(made), shape_only=True)
    assert module.outputs["y"].shape == (2, 2**20)


def test_external_data_beside_the_model_is_read(
    saved: Callable[[onnx.ModelProto], Path], tmp_path: Path
) -> None:
    made = model([node("Add", "x w")], {"x": (4,)}, {"w": np.zeros(4, np.float32)})
    values = np.arange(4, dtype=np.float32)
    (tmp_path / "w.bin").write_bytes(b"head" + values.tobytes())
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": "w.bin", "offset": "4", "length": "16"}.items():
        tensor.external_data.add(key=key, value=text)
    found = evaluate(load(saved(made)), {"x": np.ones(4, np.float32)})["y"]
    assert found.tolist() == [1, 2, 3, 4]


def test_names_become_safe(saved: Callable[[onnx.ModelProto], Path]) -> None:
    made = model([node("Relu", "x", name="'); DROP")], {"x": (2,)})
    made.graph.output[0].name = made.graph.node[0].output[0] = "y\n'); import os #"
    module = load(saved(made))
    assert list(module.outputs) == ["y_import_os"]
    assert [found.name for found in module.graph.nodes] == ["DROP"]
