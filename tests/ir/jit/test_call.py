"""The compiled model as a function: what it takes, refuses, keeps, and leaves alone."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tetrapla.frontend.onnx import load
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import DTYPES, Array, Attribute
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.jit import BUFFERS, jit, jit_all
from tetrapla.ir.linalg.lower import NodeFunctions, lowered
from tetrapla.ir.mlir import passed
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS, Tensor
from tetrapla.passes.pipeline_ import canonical, int8

DATA = Path(__file__).resolve().parents[3] / "tetrapla" / "data"
Judge = Callable[..., list[str]]  # modules and their inputs; what is wrong
WINDOW: dict[str, Attribute] = {
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


def drawn(module: Module, rng: np.random.Generator) -> dict[str, Array]:
    return {
        name: rng.standard_normal(value.shape).astype(DTYPES[value.dtype])
        for name, value in module.inputs.items()
    }


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
def test_every_form_of_convolution_agrees(
    image: tuple[int, ...],
    filters: tuple[int, ...],
    changes: dict[str, Attribute],
    judge: Judge,
    rng: np.random.Generator,
) -> None:
    types = Tensor(image, "f32"), Tensor(filters, "f32"), Tensor((filters[0],), "f32")
    modules = [built("nn.conv2d", types[:n], WINDOW | changes) for n in (2, 3)]
    assert judge(modules, [drawn(module, rng) for module in modules]) == []


def test_every_form_of_product_agrees(judge: Judge, rng: np.random.Generator) -> None:
    forms = [
        *(((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (6, 4, 5)), ((3, 4), (2, 4, 5))),
        ((1, 1), (1, 1)),
    ]
    modules = [
        built("nn.matmul", (Tensor(a, "f32"), Tensor(b, "f32")), {"activation": "none"})
        for a, b in forms
    ]
    assert judge(modules, [drawn(module, rng) for module in modules]) == []


@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn"])
def test_a_trained_network_agrees(name: str, judge: Judge) -> None:
    module = canonical(load(DATA / f"{name}.onnx"))
    images = digits(module)
    assert judge([module] * len(images), images) == []


@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn"])
def test_a_quantised_network_agrees_bit_for_bit(name: str) -> None:
    module = load(DATA / f"{name}.onnx")
    images = digits(module)
    (key,) = module.inputs
    quantised = int8(module, {key: np.stack([image[key] for image in images])})
    assert any(node.kind.startswith("qnn.") for node in quantised.graph.nodes)
    call = jit(quantised)
    for image in images:
        expected, found = evaluate(quantised, image), call(image)
        assert all(np.array_equal(found[name], array) for name, array in expected.items())


def digits(module: Module) -> list[dict[str, Array]]:
    """Images for a model of one input."""
    ((key, value),) = module.inputs.items()
    images = next(a for a in np.load(DATA / "digits.npz").values() if a.ndim >= 2)
    return [{key: image.reshape(value.shape).astype(np.float32)} for image in images[:20]]


def test_an_operator_without_a_lowering_is_refused_by_name() -> None:
    types, attributes = OPS["spike.encode"].example or ((), {})
    with pytest.raises(UnsupportedError) as caught:
        jit(built("spike.encode", types, attributes))
    assert str(caught.value) == (
        "operators must have a lowering to linalg, not spike.encode; "
        "compute this model with the interpreter"
    )


def test_a_value_without_elements_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        jit(built("nn.relu", (Tensor((2, 0), "f32"),), {}))
    assert str(caught.value) == (
        "values must have elements to be lowered to linalg, not tensor<2x0xf32>; "
        "compute this model with the interpreter"
    )


def test_a_number_that_nothing_rounds_to_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        jit(built("nn.cast", (Tensor((2,), "f32"),), {"dtype": "f8E8M0FNU"}))
    assert str(caught.value) == (
        "numbers must be rounded to another type than f8E8M0FNU in linalg; "
        "compute this model with the interpreter"
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


def test_a_shape_only_model_is_refused() -> None:
    build = ModuleBuilder("m")
    weight = build.shape_of_weight("w", (3,), "f32")
    build.output("y", build.op("nn.add", [build.input("x", (3,)), weight]))
    with pytest.raises(ModelError) as caught:
        jit(build.finish())
    assert str(caught.value) == (
        "model 'm' must have weights to be computed, not their shapes alone; "
        "export it with its weights"
    )


@pytest.mark.parametrize("place", [-5, 4])
def test_an_index_outside_is_refused_as_the_interpreter_does(place: int) -> None:
    call = jit(built("nn.gather", (Tensor((4, 3), "f32"), Tensor((2,), "i64")), {"axis": 0}))
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    with pytest.raises(ModelError) as caught:
        call({"in0": x, "in1": np.array([0, place])})
    assert str(caught.value) == "nn.gather indices must lie in -4..3, not outside"
    found = call({"in0": x, "in1": np.array([-4, 3])})  # and the next call is well
    assert np.array_equal(found["y"], x[[0, 3]])


def test_an_input_that_is_not_contiguous_is_read_right(rng: np.random.Generator) -> None:
    call = jit(built("nn.neg", (Tensor((2, 3), "f32"),), {}))
    array = rng.standard_normal((3, 2)).astype(np.float32).T
    assert np.array_equal(call({"in0": array})["y"], -array)


def test_an_output_that_is_an_input_or_a_weight_is_copied(rng: np.random.Generator) -> None:
    build = ModuleBuilder("m")
    x = build.input("x", (2, 3))
    held = rng.standard_normal((4,)).astype(np.float32)
    build.output("same", x)
    build.output("flat", build.op("nn.reshape", [x], {"shape": (6,)}))
    build.output("held", build.weight("w", held))
    array = rng.standard_normal((2, 3)).astype(np.float32)
    found = jit(build.finish())({"x": array})
    assert np.array_equal(found["same"], array)
    assert np.array_equal(found["flat"], array.ravel())
    assert np.array_equal(found["held"], held)
    assert not any(np.shares_memory(each, array) for each in found.values())


def test_a_call_leaves_its_inputs_and_weights_and_repeats(rng: np.random.Generator) -> None:
    module = canonical(load(DATA / "digits_cnn.onnx"))
    inputs = drawn(module, rng)
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


def stack(layers: int, width: int) -> Module:
    """Equal layers of a product, an activation and a residual sum, each with its weights."""
    build = ModuleBuilder("stack")
    x = build.input("x", (4, width))
    for i in range(layers):
        w, b = (
            build.weight(f"{name}{i}", np.full(shape, i, np.float32))
            for name, shape in (("w", (width, width)), ("b", (width,)))
        )
        y = build.op("nn.matmul", [x, w, b], {"activation": "none"})
        y = build.op("nn.gelu", [y], {"approximate": "none"})
        x = build.op("nn.add", [x, y])
    build.output("y", x)
    return build.finish()


def test_equal_nodes_are_one_function() -> None:
    shared = NodeFunctions()
    texts = [lowered(stack(n, 8).graph, shared).text for n in (2, 5)]
    assert re.findall(r"func\.func private @(\w+)\(", shared.text) == [
        *("nn_matmul_0", "nn_gelu_1", "nn_add_2")
    ]
    assert [text.count("func.call") for text in texts] == [6, 15]


def test_weights_stay_out_of_the_text_and_are_not_copied() -> None:
    shared, module = NodeFunctions(), stack(6, 50)
    text = lowered(module.graph, shared).text + shared.text
    assert len(text) < 12_000  # six weights of 2500 numbers would be more than 30,000
    buffers = passed(text, f"builtin.module({BUFFERS})")
    assert "memref.alloc" in buffers
    assert "memref<50x50xf32>" in buffers  # as an argument
    assert not re.search(r"memref\.alloc.*memref<50x50xf32>", buffers)
    # the result alone is copied, into the caller's array
    assert re.findall(r"memref\.copy .* : (\S+) to", buffers) == ["memref<4x50xf32>"]


def test_what_is_allocated_is_freed() -> None:
    # the pass frees each buffer behind its last use; two layers more, no buffer more at a time
    shared = NodeFunctions()
    text = lowered(stack(4, 8).graph, shared).text + shared.text
    buffers = passed(text, f"builtin.module({BUFFERS})")
    alive = most = 0
    for step in re.findall(r"memref\.(alloc|dealloc)\b", buffers.partition("@main")[2]):
        alive += 1 if step == "alloc" else -1
        most = max(most, alive)
    assert alive == 0
    assert most <= 4


def test_models_compiled_together_are_each_their_own(rng: np.random.Generator) -> None:
    modules = [stack(n, 3) for n in (1, 2)]
    x = rng.standard_normal((4, 3)).astype(np.float32)
    together = [call({"x": x})["y"] for call in jit_all(modules)]
    alone = [jit(module)({"x": x})["y"] for module in modules]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


def test_the_compiler_is_not_imported_with_the_package() -> None:
    code = (
        "import sys, tetrapla; found = [m for m in sys.modules if 'execution_engine' in m or "
        "m.endswith('passmanager')]; sys.exit(str(found) if found else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
