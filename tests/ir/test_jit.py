"""The compiled model agrees with the interpreter: exactly, or within rounding of its sums.

Both compute in float32 in their own order. A sum of K products has K roundings of products
and K - 1 of sums; with the bias's, each result is within ``(K + 4) u sum |a||b|`` of the exact
one (u = 2^-24; the 4 takes the bias and the terms of higher order), and two results within
twice that. Through layers the counts add: rectifiers, maxima and moved values enlarge no error,
and ``sum |a||b|`` of the whole is the network of the magnitudes of its weights and inputs.
"""

from __future__ import annotations

import subprocess
import sys
from math import prod
from pathlib import Path

import numpy as np
import pytest

from tetrapla.frontend.onnx import load
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Array, Attribute, Node
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.jit import jit
from tetrapla.ir.lower_linalg import LOWERINGS
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS, Tensor
from tetrapla.passes.pipeline_ import canonical

DATA = Path(__file__).resolve().parents[2] / "tetrapla" / "data"
U = 2.0**-24

# the same operations in the same order, each rounded once
EXACT = (
    *("nn.add", "nn.batch_norm", "nn.max_pool2d", "nn.mul"),
    *("nn.relu", "nn.reshape", "nn.transpose"),
)
ATTRIBUTES: dict[str, Attribute] = {
    "strides": (1, 1),
    "pads": (0, 0, 0, 0),
    "dilations": (1, 1),
    "groups": 1,
    "activation": "none",
}


def built(kind: str, types: tuple[Tensor, ...], attributes: dict[str, Attribute]) -> Module:
    build = ModuleBuilder(kind)
    values = [build.input(f"in{i}", t.shape, t.dtype) for i, t in enumerate(types)]
    build.output("y", build.op(kind, values, attributes))
    return build.finish()


def inputs_of(module: Module, rng: np.random.Generator) -> dict[str, Array]:
    return {
        name: rng.standard_normal(value.shape).astype(np.float32)
        for name, value in module.inputs.items()
    }


def summed(node: Node) -> int:
    """K: how many terms stand in one sum; 0 where an operator adds no rounding."""
    match node.kind:
        case "nn.matmul":
            return node.operands[0].shape[-1]
        case "nn.conv2d":
            return prod(node.operands[1].shape[1:])
        case "nn.average_pool2d":
            return prod(node.ints("kernel"))
        case "nn.global_average_pool":
            return prod(node.operands[0].shape[2:])
        case "nn.relu" | "nn.max_pool2d" | "nn.reshape" | "nn.transpose":
            return 0
        case _:
            raise AssertionError(f"no count for {node.kind}")


def bound(module: Module, inputs: dict[str, Array]) -> dict[str, Array]:
    """How far two float32 evaluations may lie apart."""
    counts = [summed(node) for node in module.graph.nodes]
    roundings = sum(k + 4 for k in counts if k)
    positive = Module.parse(
        module.text(), {name: np.abs(array) for name, array in module.weights.items()}
    )
    magnitudes = evaluate(positive, {name: np.abs(array) for name, array in inputs.items()})
    return {name: 2 * roundings * U * array for name, array in magnitudes.items()}


def assert_within_bound(module: Module, inputs: dict[str, Array]) -> None:
    expected, found, allowed = (
        evaluate(module, inputs),
        jit(module)(inputs),
        bound(module, inputs),
    )
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype
        assert np.all(np.abs(found[name] - array) <= allowed[name])


@pytest.mark.parametrize("kind", EXACT)
def test_an_operator_without_sums_is_bit_exact(kind: str, rng: np.random.Generator) -> None:
    types, attributes = OPS[kind].example or ((), {})
    module = built(kind, types, attributes)
    inputs = {name: np.abs(array) + 1 for name, array in inputs_of(module, rng).items()}
    inputs["in0"] -= 2  # both signs where a variance does not stand
    assert np.array_equal(jit(module)(inputs)["y"], evaluate(module, inputs)["y"])


@pytest.mark.parametrize("kind", sorted({*LOWERINGS} - {*EXACT, "nn.softmax"}))
def test_an_operator_that_sums_keeps_the_bound(kind: str, rng: np.random.Generator) -> None:
    types, attributes = OPS[kind].example or ((), {})
    module = built(kind, types, attributes)
    assert_within_bound(module, inputs_of(module, rng))


def test_a_softmax_keeps_the_bound_of_its_exponentials(rng: np.random.Generator) -> None:
    # NumPy states 2.52 ulp <= 6 u for float32 exp, the C library less; numerator and
    # denominator each carry one, then K additions and a division: 2 (6 + 6 + K + 1) u
    for axis in (0, 1, -1):
        module = built("nn.softmax", (Tensor((3, 4, 5), "f32"),), {"axis": axis})
        inputs = inputs_of(module, rng)
        expected, found = evaluate(module, inputs)["y"], jit(module)(inputs)["y"]
        assert np.all(np.abs(found - expected) <= 2 * (13 + 5) * U * expected)


@pytest.mark.parametrize(
    ("image", "filters", "changes"),
    [
        ((1, 3, 7, 6), (4, 3, 3, 3), {"pads": (1, 1, 1, 1)}),
        ((2, 4, 6, 6), (4, 1, 3, 3), {"groups": 4, "strides": (2, 2), "pads": (0, 1, 1, 0)}),
        ((1, 4, 9, 8), (6, 2, 3, 2), {"groups": 2, "dilations": (2, 3), "activation": "relu"}),
        ((1, 5, 4, 4), (3, 5, 1, 1), {"strides": (3, 2)}),
    ],
    ids=["padded", "depthwise strided", "grouped dilated", "pointwise"],
)
def test_every_form_of_convolution_keeps_the_bound(
    image: tuple[int, ...],
    filters: tuple[int, ...],
    changes: dict[str, Attribute],
    rng: np.random.Generator,
) -> None:
    bias = Tensor((filters[0],), "f32")
    for types in (
        (Tensor(image, "f32"), Tensor(filters, "f32")),
        (Tensor(image, "f32"), Tensor(filters, "f32"), bias),
    ):
        module = built("nn.conv2d", types, ATTRIBUTES | changes)
        assert_within_bound(module, inputs_of(module, rng))


@pytest.mark.parametrize(
    ("a", "b"),
    [((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (6, 4, 5)), ((3, 4), (2, 4, 5)), ((1, 1), (1, 1))],
)
def test_a_batched_product_keeps_the_bound(
    a: tuple[int, ...], b: tuple[int, ...], rng: np.random.Generator
) -> None:
    module = built("nn.matmul", (Tensor(a, "f32"), Tensor(b, "f32")), {"activation": "none"})
    assert_within_bound(module, inputs_of(module, rng))


@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn"])
def test_a_trained_network_keeps_the_bound(name: str) -> None:
    # batch norm folded: a subtracted mean is no network of magnitudes
    module = canonical(load(DATA / f"{name}.onnx"))
    images = np.load(DATA / "digits.npz")
    array = next(v for v in images.values() if v.ndim >= 2)
    ((key, value),) = module.inputs.items()
    for image in array[:3]:
        assert_within_bound(module, {key: image.reshape(value.shape).astype(np.float32)})


def test_an_operator_without_a_lowering_is_refused_by_name() -> None:
    types, attributes = OPS["spike.encode"].example or ((), {})
    module = built("spike.encode", types, attributes)
    with pytest.raises(UnsupportedError) as caught:
        jit(module)
    assert str(caught.value) == (
        f"node 'encode' must be one of {', '.join(LOWERINGS)} to be lowered to linalg, "
        "not spike.encode"
    )


def test_a_value_of_integers_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        jit(built("nn.relu", (Tensor((2, 3), "i8"),), {}))
    assert str(caught.value) == (
        "values must be f32 or f64 with elements to be lowered to linalg, not tensor<2x3xi8>"
    )


def test_an_input_of_another_shape_is_refused() -> None:
    call = jit(built("nn.relu", (Tensor((2, 3), "f32"),), {}))
    with pytest.raises(ModelError) as caught:
        call({"in0": np.zeros((3, 2), np.float32)})
    assert str(caught.value) == (
        "input 'in0' must be float32 of shape (2, 3), not float32 of shape (3, 2)"
    )
    with pytest.raises(ModelError) as caught:
        call({"x": np.zeros((2, 3), np.float32)})
    assert str(caught.value) == "inputs must be named ['in0'], not ['x']"


def test_an_output_that_is_an_input_or_a_weight_is_copied(rng: np.random.Generator) -> None:
    build = ModuleBuilder("m")
    x = build.input("x", (2, 3))
    held = rng.standard_normal((4,)).astype(np.float32)
    build.output("same", x)
    build.output("held", build.weight("w", held))
    array = rng.standard_normal((2, 3)).astype(np.float32)
    found = jit(build.finish())({"x": array})
    assert np.array_equal(found["same"], array)
    assert np.array_equal(found["held"], held)
    assert not np.shares_memory(found["same"], array)


def test_a_call_leaves_its_inputs_and_weights_and_repeats(rng: np.random.Generator) -> None:
    module = canonical(load(DATA / "digits_mlp.onnx"))
    inputs = inputs_of(module, rng)
    before = [a.copy() for a in (*inputs.values(), *module.weights.values())]
    call = jit(module)
    first, second = call(inputs), call(inputs)
    after = [*inputs.values(), *module.weights.values()]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_one_value_may_be_two_outputs(rng: np.random.Generator) -> None:
    build = ModuleBuilder("m")
    value = build.op("nn.relu", [build.input("x", (2, 3), "f64")])
    build.output("a", value)
    build.output("b", value)
    array = rng.standard_normal((2, 3))
    found = jit(build.finish())({"x": array})
    assert np.array_equal(found["a"], np.maximum(array, 0))
    assert np.array_equal(found["b"], found["a"])


def test_the_compiler_is_not_imported_with_the_package() -> None:
    code = (
        "import sys, tetrapla; found = [m for m in sys.modules if 'execution_engine' in m or "
        "m.endswith('passmanager')]; sys.exit(str(found) if found else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
