"""Epilogues fused and taken out again: every bit stays, and all that reads them agrees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.random_graphs import FAMILIES, sampled
from tetrapla.frontend.onnx.export import export as export_onnx
from tetrapla.frontend.stablehlo.export import export as export_stablehlo
from tetrapla.frontend.tosa.export import export as export_tosa
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import SpecError, UnsupportedError
from tetrapla.ir.graph import DTYPES, Array, Attribute, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.jit import jit_all
from tetrapla.ir.module import Module
from tetrapla.ir.nn.epilogue import ACTIVATIONS, FUNCTIONS
from tetrapla.ir.unfuse import is_narrow, unfused
from tetrapla.passes.calibrate_ import ranges
from tetrapla.passes.fuse_epilogue import FuseEpilogue
from tetrapla.passes.pass_ import run
from tetrapla.passes.pipeline_ import FUSED, canonical, int8
from tetrapla.passes.quantize import Quantize
from tetrapla.passes.text_ import parse, text

Case = tuple[str, str, int]  # kind, activation, operands

BOUNDS = ("none", "relu", "relu6")  # activations that round nothing
WIDE = FuseEpilogue("all", residual=True)
WINDOW: dict[str, Attribute] = {
    "strides": (1, 1),
    "pads": (0, 0, 0, 0),
    "dilations": (1, 1),
    "groups": 1,
}
CASES: list[Case] = list(product(("matmul", "conv2d"), ACTIVATIONS, (2, 3, 4)))
NARROW = [(activation, count) for activation in ("none", "relu") for count in (2, 3)]
# shapes of x, of the weights, of the result; the bias has four numbers
SHAPES = {
    "matmul": ((2, 5, 3), (3, 4), (2, 5, 4)),
    "conv2d": ((2, 3, 4, 3), (4, 3, 2, 1), (2, 4, 3, 3)),
}


def layer(case: Case, apart: bool, dtype: str = "f32") -> Module:
    """One layer with its epilogue inside, or as the operators that it means."""
    kind, activation, count = case
    build, draw = ModuleBuilder("m"), np.random.default_rng(len(activation))
    x_shape, w_shape, y_shape = SHAPES[kind]
    w, b = (draw.standard_normal(shape).astype(DTYPES[dtype]) for shape in (w_shape, (4,)))
    operands = [build.input("x", x_shape, dtype), build.weight("w", w)]
    operands += [build.weight("b", b)] if count > 2 else []
    residual = [build.input("r", y_shape, dtype)] if count > 3 else []
    window = WINDOW if kind == "conv2d" else {}
    if not apart:
        held = {**window, "activation": activation}
        y = build.op(f"nn.{kind}", [*operands, *residual], held, "layer")
    else:
        y = build.op(f"nn.{kind}", operands, {**window, "activation": "none"}, "layer")
        if residual:
            y = build.op("nn.add", [y, *residual], {}, "layer.residual")
        if activation != "none":
            y = build.op(*_function(activation, y), f"layer.{activation}")
    build.output("y", y)
    return build.finish()


def _function(activation: str, y: Value) -> tuple[str, list[Value], Mapping[str, Attribute]]:
    kind, attributes = FUNCTIONS[activation]
    return kind, [y], attributes


def drawn(module: Module, seed: int = 0) -> dict[str, Array]:
    """Numbers up to the bends of every activation, a fifth of them zero."""
    draw = np.random.default_rng(seed)
    return {
        name: np.asarray(
            draw.standard_normal(v.shape) * 3 * (draw.random(v.shape) > 0.2)
        ).astype(DTYPES[v.dtype])
        for name, v in module.inputs.items()
    }


def bits(values: Mapping[str, Array]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in values.items()}


def kinds(module: Module) -> list[str]:
    return [node.kind.removeprefix("nn.") for node in module.graph.nodes]


@pytest.mark.parametrize("dtype", ["f64", "f32", "f16", "bf16"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_epilogue_is_its_operators_bit_for_bit(case: Case, dtype: str) -> None:
    inside, apart = (layer(case, held, dtype) for held in (False, True))
    data = drawn(inside)
    wanted = evaluate(apart, data)
    assert np.isfinite(wanted["y"].astype(np.float64)).all()
    assert bits(evaluate(inside, data)) == bits(wanted)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fusing_and_unfusing_are_each_other_s_reverse(case: Case) -> None:
    inside, apart = (layer(case, held) for held in (False, True))
    assert unfused(inside, (), False).text() == apart.text()
    fused = WIDE(apart)
    assert kinds(fused) == [case[0]]
    assert fused.text() == inside.text()
    assert unfused(apart) is apart


@pytest.mark.parametrize("case", [c for c in CASES if c[2] == 4], ids=str)
def test_a_bias_and_a_residual_and_an_activation_come_in_one_after_another(
    case: Case,
) -> None:
    kind, activation, _ = case
    build, draw = ModuleBuilder("m"), np.random.default_rng(0)
    x_shape, w_shape, y_shape = SHAPES[kind]
    w, b = (draw.standard_normal(shape).astype(np.float32) for shape in (w_shape, (4,)))
    held = {**(WINDOW if kind == "conv2d" else {}), "activation": "none"}
    y = build.op(f"nn.{kind}", [build.input("x", x_shape), build.weight("w", w)], held)
    b = b.reshape(-1, 1, 1) if kind == "conv2d" else b
    y = build.op("nn.add", [build.weight("b", b), y])
    y = build.op("nn.add", [build.input("r", y_shape), y])
    y = y if activation == "none" else build.op(*_function(activation, y))
    build.output("y", y)
    module = build.finish()
    found = WIDE(module)
    (node,) = found.graph.nodes
    assert (node.kind, node.str("activation"), len(node.operands)) == (
        f"nn.{kind}",
        activation,
        4,
    )
    data = drawn(module)
    assert bits(evaluate(found, data)) == bits(evaluate(module, data))


def test_compiled_forms_are_the_same() -> None:
    modules = [layer(case, held) for case in CASES for held in (False, True)]
    calls = jit_all(modules, 0)
    for i in range(0, len(modules), 2):
        data = drawn(modules[i])
        assert bits(calls[i](data)) == bits(calls[i + 1](data)), CASES[i // 2]


@pytest.mark.parametrize("case", [c for c in CASES if c[1:] not in NARROW], ids=str)
def test_written_forms_are_the_same(case: Case) -> None:
    inside, apart = (layer(case, held) for held in (False, True))
    assert export_onnx(inside) == export_onnx(apart)
    for export in (export_stablehlo, export_tosa):
        assert _said(export, inside) == _said(export, apart)


@pytest.mark.parametrize("case", [c for c in CASES if c[1] in BOUNDS], ids=str)
def test_onnx_runtime_computes_an_epilogue(case: Case) -> None:
    """Sums of n terms and two more are within (n + 2) u of their magnitudes on either side.

    The activation is exact, and no steeper than 1; test_export judges the others by themselves.
    """
    module = layer(case, False)
    data = drawn(module)
    session = onnxruntime.InferenceSession(export_onnx(module))
    found = np.asarray(session.run(None, data)[0])
    largest = {name: np.abs(array).max() for name, array in {**data, **module.weights}.items()}
    terms = int(np.prod(SHAPES[case[0]][1])) // 4
    size = terms * largest["x"] * largest["w"] + largest.get("b", 0) + largest.get("r", 0)
    moved = np.abs(found - evaluate(module, data)["y"].astype(np.float64)).max()
    assert moved <= 2 * (terms + 2) * 2.0**-24 * size


def _said(export: Callable[[Module], str], module: Module) -> str:
    try:
        return export(module)
    except UnsupportedError as error:
        return str(error)


@pytest.mark.parametrize("case", [c for c in CASES if c[2] == 4], ids=str)
def test_quantisation_takes_an_epilogue_apart(case: Case) -> None:
    inside, apart = (layer(case, held) for held in (False, True))
    rows = [drawn(inside, seed) for seed in range(3)]
    data = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    wanted = int8(apart, data)
    assert int8(inside, data).text() == wanted.text()
    quantised = [Quantize(ranges(module, data))(module) for module in (inside, apart)]
    assert quantised[0].text() == quantised[1].text()
    assert {"qnn." + case[0], "qnn.requantize"} <= {n.kind for n in quantised[0].graph.nodes}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_canonical_form_has_a_bias_and_a_relu_alone(case: Case) -> None:
    inside = layer(case, False)
    found = canonical(inside)
    assert all(map(is_narrow, found.graph.nodes))
    data = drawn(inside)
    assert bits(evaluate(found, data)) == bits(evaluate(inside, data))


Form = Callable[[ModuleBuilder, Value], Value]


def _conv(build: ModuleBuilder, x: Value, *more: Value) -> Value:
    w = np.random.default_rng(0).standard_normal((3, 3, 1, 1)).astype(np.float32)
    return build.op(
        "nn.conv2d", [x, build.weight("w", w), *more], {**WINDOW, "activation": "none"}
    )


def _broadcast(build: ModuleBuilder, x: Value) -> Value:
    return build.op("nn.add", [_conv(build, x), build.input("r", (1, 3, 4, 1))])


def _widened(build: ModuleBuilder, x: Value) -> Value:
    return build.op("nn.add", [_conv(build, x), build.input("r", (5, 1, 3, 4, 4))])


def _read_twice(build: ModuleBuilder, x: Value) -> Value:
    y = _conv(build, x)
    return build.op("nn.mul", [build.op("nn.add", [y, x]), y])


def _doubled(build: ModuleBuilder, x: Value) -> Value:
    y = _conv(build, x)
    return build.op("nn.add", [y, y])


def _given(build: ModuleBuilder, x: Value) -> Value:
    y = _conv(build, x)
    build.output("p", y)
    return build.op("nn.add", [y, x])


def _computed(build: ModuleBuilder, x: Value) -> Value:
    y = build.op("nn.matmul", [x, x], {"activation": "none"})
    return build.op("nn.add", [y, x])


def _rectified_before(build: ModuleBuilder, x: Value) -> Value:
    return build.op("nn.add", [build.op("nn.relu", [_conv(build, x)]), x])


@pytest.mark.parametrize(
    ("form", "left"),
    [
        (_broadcast, ["conv2d", "add"]),
        (_widened, ["conv2d", "add"]),
        (_read_twice, ["conv2d", "add", "mul"]),
        (_doubled, ["conv2d", "add"]),
        (_given, ["conv2d", "add"]),
        (_computed, ["matmul", "add"]),
        (_rectified_before, ["conv2d", "add"]),
    ],
)
def test_an_addend_that_is_no_residual_stays(form: Form, left: list[str]) -> None:
    build = ModuleBuilder("m")
    build.output("y", form(build, build.input("x", (1, 3, 4, 4))))
    assert kinds(WIDE(build.finish())) == left


def test_a_residual_without_a_bias_gets_one_that_changes_no_bit() -> None:
    build = ModuleBuilder("m")
    x = build.input("x", (1, 3, 4, 4))
    build.output("y", build.op("nn.add", [x, _conv(build, x)]))
    module = build.finish()
    found = WIDE(module)
    (node,) = found.graph.nodes
    bias = found.graph.weight(node.operands[2])
    assert np.signbit(bias).all()
    assert not bias.any()
    data = drawn(module)
    assert bits(evaluate(found, data)) == bits(evaluate(module, data))


def test_a_model_of_shapes_alone_gets_a_bias_of_a_shape_alone() -> None:
    build = ModuleBuilder("m")
    x, w = build.input("x", (2, 3)), build.shape_of_weight("w", (3, 3), "f32")
    y = build.op("nn.matmul", [x, w], {"activation": "none"})
    build.output("y", build.op("nn.add", [y, x]))
    found = WIDE(build.finish())
    assert found.shape_only
    (node,) = found.graph.nodes
    assert [value.shape for value in node.operands] == [(2, 3), (3, 3), (3,), (2, 3)]


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_a_bias_stays_out_where_the_product_would_round_once_for_both(dtype: str) -> None:
    build, draw = ModuleBuilder("m"), np.random.default_rng(0)
    w, b = (draw.standard_normal(s).astype(DTYPES[dtype]) for s in ((3, 4), (4,)))
    y = [build.input("x", (9, 3), dtype), build.weight("w", w)]
    product_ = build.op("nn.matmul", y, {"activation": "none"})
    build.output("y", build.op("nn.add", [product_, build.weight("b", b)]))
    module = build.finish()
    assert kinds(WIDE(module)) == ["matmul", "add"]


def test_the_options_say_what_comes_in_and_what_goes_out() -> None:
    apart, inside = (layer(("conv2d", "silu", 4), held) for held in (True, False))
    for options, left in (
        ("", ["conv2d", "add", "silu"]),
        ("{activations=all}", ["conv2d", "add", "silu"]),
        ("{residual=true}", ["conv2d", "silu"]),
        ("{activations=none,residual=true}", ["conv2d", "silu"]),
        ("{activations=relu+silu,residual=true}", ["conv2d"]),
    ):
        passes = parse(f"fuse-epilogue{options}")
        assert [kinds(run(module, passes)) for module in (apart, inside)] == [left, left]
        assert text(passes) == f"fuse-epilogue{options}"
    with pytest.raises(SpecError) as caught:
        FuseEpilogue("relu+sillu")
    assert str(caught.value) == (
        "activations must be all, none or some of "
        f"{'+'.join(FUNCTIONS)}, not 'sillu'; did you mean 'silu'?"
    )


def test_the_fused_pipeline_makes_one_operator_of_a_residual_block() -> None:
    build = ModuleBuilder("m")
    x = build.input("x", (1, 3, 4, 4))
    y = build.op("nn.relu", [_conv(build, x)])
    y = build.op("nn.relu", [build.op("nn.add", [_conv(build, y), x])])
    build.output("y", y)
    found = run(build.finish(), FUSED)
    first, second = found.graph.nodes
    assert (len(first.operands), first.str("activation")) == (2, "relu")
    assert (len(second.operands), second.str("activation")) == (4, "relu")


@st.composite
def networks(draw: st.DrawFn) -> tuple[Module, dict[str, Array]]:
    """A random network and one invocation's inputs."""
    build, steps = FAMILIES[draw(st.sampled_from(sorted(FAMILIES)))]
    seed = draw(st.integers(0, 2**16))
    module = build(draw(st.lists(st.sampled_from(steps), max_size=8)), seed)
    return module, {name: array[0] for name, array in sampled(module, seed).items()}


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(networks())
def test_random_graphs_keep_every_bit(given_: tuple[Module, dict[str, Array]]) -> None:
    module, data = given_
    wanted = bits(evaluate(module, data))
    fused = WIDE(module)
    assert bits(evaluate(fused, data)) == wanted
    assert WIDE(fused).text() == fused.text()
    apart = unfused(fused)
    assert bits(evaluate(apart, data)) == wanted
    assert all(map(is_narrow, apart.graph.nodes))
