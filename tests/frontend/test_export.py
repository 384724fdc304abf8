"""What is exported runs in ONNX Runtime with the same values, and comes back the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, cast

import ml_dtypes
import numpy as np
import onnx
import pytest

from tetrapla.datasets import load_data
from tetrapla.frontend.mlir_text import load as load_text
from tetrapla.frontend.mlir_text import save as save_text
from tetrapla.frontend.onnx import load
from tetrapla.frontend.onnx.export import WRITERS, export, reason
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import DTYPES, Array, Attribute, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS, Example, Tensor
from tetrapla.passes.context_ import Context
from tetrapla.passes.pass_ import Pass, run
from tetrapla.passes.pipeline_ import INT4, INT8

Runtime = Callable[[bytes], Callable[[Mapping[str, Array]], list[Array]]]

EXAMPLES = Path(__file__).parents[2] / "examples"
CONV: dict[str, Attribute] = {
    "strides": (2, 1),
    "pads": (1, 0, 1, 1),
    "dilations": (1, 2),
    "groups": 2,
}
EXAMPLES_OF = {
    kind: op.example
    for kind, op in sorted(OPS.items())
    if kind.split(".")[0] in ("nn", "qnn") and op.example
}
KINDS = [kind for kind in EXAMPLES_OF if kind in WRITERS]


# operators whose example is one that ONNX cannot say: another one
OTHER: dict[str, Example] = {
    "nn.average_pool3d": (
        (Tensor((1, 2, 3, 5, 6), "f32"),),
        {
            "kernel": (2, 3, 2),
            "strides": (1, 2, 1),
            "pads": (1, 1, 0, 0, 1, 1),
            "dilations": (1, 1, 2),
            "overhang": (0, 0, 0),
            "count_include_pad": 1,
        },
    ),
    "nn.shift_left": ((Tensor((2, 3), "ui8"), Tensor((2, 1), "ui8")), {}),
    "nn.shift_right": ((Tensor((2, 3), "ui8"), Tensor((2, 1), "ui8")), {}),
    "qnn.dequantize_blocks": (
        (Tensor((2, 7), "i8"), Tensor((2, 2), "f32"), Tensor((2, 2), "i8")),
        {"blocks": (1, 4)},
    ),
}
# operators whose example ONNX Runtime 1.31.1 has no kernel for; the round trip judges them
NO_KERNEL: dict[str, str] = {
    "nn.cast_unsaturated": "its results of 8-bit floats do not reach NumPy",
    "nn.lrn": "only rank 4",
    "qnn.conv_integer": "only one zero point of the weights",
    "qnn.quantize_blocks": "its results of 4 bits do not reach NumPy",
}
# operators that are written as several in float32, which round in between
SPELLED_OUT = ("nn.silu", "nn.attention", "nn.rotary_embedding")


def example_of(kind: str) -> Example:
    return OTHER.get(kind, EXAMPLES_OF[kind])


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    if dtype == "f32":
        return rng.normal(size=shape).astype(np.float32)
    if dtype == "i1":
        return rng.random(shape) < 0.5
    limits = cast(Any, ml_dtypes).iinfo(DTYPES[dtype])
    low, high = (-5000, 5000) if dtype == "i32" else (int(limits.min), int(limits.max))
    return rng.integers(low, high, shape, endpoint=True).astype(DTYPES[dtype])


def operand(rng: np.random.Generator, kind: str, place: int, tensor: Tensor) -> Array:
    """Values that the operator takes: indices inside, steps below the width."""
    if kind.startswith("nn.shift") and place == 1:
        return rng.integers(0, 8, tensor.shape).astype(DTYPES[tensor.dtype])
    if tensor.dtype == "i64" or (kind == "nn.one_hot" and place == 0):
        # no index twice in a column, for a scatter has one result then
        rows = [rng.permutation(3)[: tensor.shape[0]] for _ in range(prod(tensor.shape[1:]))]
        return np.stack(rows, axis=1).reshape(tensor.shape).astype(np.int64)
    if kind in ("nn.mod", "nn.idiv") and place == 1:
        return rng.integers(1, 50, tensor.shape).astype(DTYPES[tensor.dtype])
    return numbers(rng, tensor.shape, tensor.dtype)


def feeds(module: Module, rng: np.random.Generator) -> dict[str, Array]:
    return {name: numbers(rng, v.shape, v.dtype) for name, v in module.inputs.items()}


def single(kind: str, rng: np.random.Generator) -> tuple[Module, dict[str, Array]]:
    """A module of the operator's example, and values of its inputs."""
    operands, attributes = example_of(kind)
    b = ModuleBuilder("one")
    values: list[Value] = []
    inputs: dict[str, Array] = {}
    for i, tensor in enumerate(operands):
        array = operand(rng, kind, i, tensor)
        if i == 0 or kind.endswith((".add", ".mul", ".where", ".attention")):
            values.append(b.input(f"x{i}", tensor.shape, tensor.dtype))
            inputs[f"x{i}"] = array
            continue
        # scales and variances are positive
        array = np.abs(array) / 50 + np.float32(1e-3) if "f32" == tensor.dtype else array
        values.append(b.weight(f"w{i}", array))
    for place, made in enumerate(b.ops(kind, values, attributes, name="layer")):
        b.output(f"y{place}", made)
    return b.finish(), inputs


@pytest.mark.parametrize("kind", KINDS)
def test_every_operator_runs_in_onnx_runtime(
    kind: str, rng: np.random.Generator, runtime: Runtime, tmp_path: Path
) -> None:
    module, inputs = single(kind, rng)
    data = export(module)
    model = onnx.load_from_string(data)
    cast(Any, onnx.checker).check_model(model, full_check=True)
    assert all(node.name for node in model.graph.node)
    expected = evaluate(module, inputs)
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    back = evaluate(load(path), inputs)
    found = {} if kind in NO_KERNEL else dict(zip(expected, runtime(data)(inputs), strict=True))
    for name, want in expected.items():
        _agree(back[name], want, exact=kind not in SPELLED_OUT)
        if found:
            exact = want.dtype != np.float32 or not kind.startswith("nn.")
            _agree(found[name], want, exact=exact)


def _agree(found: Array, expected: Array, *, exact: bool) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if exact:
        np.testing.assert_array_equal(found, expected)
    else:
        # sums of at most 36 float32 products of size 1 in another order
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=3e-6)


def test_every_other_operator_is_refused_by_name() -> None:
    assert set(KINDS) == {kind for kind in WRITERS if kind in EXAMPLES_OF}
    for kind in sorted(set(EXAMPLES_OF) - set(WRITERS)):
        operands, attributes = EXAMPLES_OF[kind]
        b = ModuleBuilder("one")
        values = [b.input(f"x{i}", t.shape, t.dtype) for i, t in enumerate(operands)]
        b.output("y", b.ops(kind, values, attributes, name="layer")[0])
        with pytest.raises(UnsupportedError) as caught:
            export(b.finish())
        assert reason(kind), f"{kind} has neither a writer nor a reason"
        assert str(caught.value) == (
            f"the ONNX exporter has no form of {kind} (node 'layer'); "
            "compile for a target whose lowered module has none of them"
        )


@pytest.mark.parametrize(
    ("kind", "bias", "relu", "dtype", "kept", "per_channel"),
    list(
        product(
            ("conv2d", "matmul", "batched"),
            (False, True),
            (False, True),
            ("i8", "ui8"),
            (False, True),
            (False, True),
        )
    ),
)
def test_integer_layers_are_exact_in_every_form(
    kind: str,
    bias: bool,
    relu: bool,
    dtype: str,
    kept: bool,
    per_channel: bool,
    rng: np.random.Generator,
    runtime: Runtime,
) -> None:
    b = ModuleBuilder("layer")
    shape = {"conv2d": (1, 4, 6, 5), "matmul": (4, 8), "batched": (2, 4, 8)}[kind]
    x = b.input("x", shape, dtype)
    w = b.weight("w", numbers(rng, (6, 2, 3, 2) if kind == "conv2d" else (8, 6), "i8"))
    operands = [x, w, *([b.weight("b", numbers(rng, (6,), "i32"))] if bias else [])]
    points: dict[str, Attribute] = {"x_zero_point": 3, "w_zero_point": 0}
    attributes = {**CONV, **points} if kind == "conv2d" else points
    name = "qnn.conv2d" if kind == "conv2d" else "qnn.matmul"
    acc = b.op(name, operands, attributes, name="layer")
    scale = rng.random(6 if per_channel else 1).astype(np.float32) / 100 + np.float32(1e-4)
    low, high = np.iinfo(DTYPES[dtype]).min, np.iinfo(DTYPES[dtype]).max
    limits: dict[str, Attribute] = {
        "zero_point": 5,
        "low": 5 if relu else int(low),
        "high": int(high),
        "axis": 1 if kind == "conv2d" else -1,
        "dtype": dtype,
    }
    b.output("y", b.op("qnn.requantize", [acc, b.weight("s", scale)], limits, name="r"))
    if kept:  # the accumulator is read twice, so nothing is fused
        b.output("acc", acc)
    module = b.finish()
    inputs = feeds(module, rng)
    found = runtime(export(module))(inputs)
    for array, expected in zip(found, evaluate(module, inputs).values(), strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn"])
@pytest.mark.parametrize("pipeline", [INT8, INT4], ids=["int8", "int4"])
def test_the_quantised_network_equals_onnx_runtime_on_the_whole_test_split(
    name: str, pipeline: tuple[Pass, ...], tmp_path: Path, runtime: Runtime
) -> None:
    data = load_data("digits")
    calibration = data.reshaped((1, 1, 8, 8), data.train[:256])
    context = Context({"image": calibration})
    module = run(load(EXAMPLES / f"{name}.onnx"), pipeline, context)
    path = tmp_path / "quantised.onnx"
    path.write_bytes(export(module))
    computed = runtime(path.read_bytes())
    again = load(path)
    differing = 0
    for image in data.reshaped((1, 1, 8, 8), data.test):
        expected = evaluate(module, {"image": image})["logits"]
        (found,) = computed({"image": image})
        differing += int(np.count_nonzero(found != expected))
        differing += int(
            np.count_nonzero(evaluate(again, {"image": image})["logits"] != expected)
        )
    assert differing == 0


def test_the_same_module_gives_the_same_bytes() -> None:
    path = EXAMPLES / "digits_cnn.onnx"
    assert export(load(path)) == export(load(path))


def test_a_module_without_weights_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        export(load(EXAMPLES / "digits_mlp.onnx", shape_only=True))
    assert str(caught.value) == (
        "model 'digits_mlp' must have weights to be exported, not only shapes"
    )


def test_text_and_weights_come_back_the_same(tmp_path: Path, rng: np.random.Generator) -> None:
    module = load(EXAMPLES / "digits_cnn.onnx")
    save_text(module, tmp_path / "cnn.mlir")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cnn.mlir", "cnn.npz"]
    again = load_text(tmp_path / "cnn.mlir")
    assert again.text() == module.text()
    inputs = feeds(module, rng)
    np.testing.assert_array_equal(
        evaluate(again, inputs)["logits"], evaluate(module, inputs)["logits"]
    )
    assert load_text(tmp_path / "cnn.mlir", shape_only=True).shape_only


def test_broken_weights_beside_a_text_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "m.mlir"
    save_text(load(EXAMPLES / "digits_mlp.onnx"), path)
    (tmp_path / "m.npz").write_bytes(b"PK\3\4 no archive")
    with pytest.raises(ModelError) as caught:
        load_text(path)
    assert str(caught.value) == (
        f"{tmp_path / 'm.npz'}: must be an .npz archive of the weights, but cannot be read; "
        f"save the module again"
    )
