"""Formats other than int8: which operators and types they become, and their numbers."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, RegistryError, UnsupportedError
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.passes.calibrate_ import Ranges
from tetrapla.passes.context_ import Context
from tetrapla.passes.pass_ import Pass, run
from tetrapla.passes.pipeline_ import CANONICAL
from tetrapla.passes.quantize import Quantize
from tetrapla.passes.scheme_ import ACTIVATIONS, FORMATS
from tetrapla.passes.text_ import parse
from tetrapla.passes.text_ import text as printed

Images = Callable[[int], dict[str, Array]]
NONE: dict[str, Attribute] = {"activation": "none"}


def _kinds(module: Module) -> list[str]:
    return [node.kind for node in module.graph.nodes]


def _dtypes(module: Module) -> dict[str, str]:
    graph = module.graph
    named = {v.index: v.dtype for node in graph.nodes for v in node.operands}
    return {symbol: named[index] for index, symbol in graph.constants.items()}


def _product(rng: np.random.Generator, k: int = 40, n: int = 3) -> Module:
    build = ModuleBuilder("product")
    w = build.weight("w", rng.standard_normal((k, n)).astype(np.float32))
    b = build.weight("b", rng.standard_normal(n).astype(np.float32))
    build.output("y", build.op("nn.matmul", [build.input("x", (2, k)), w, b], NONE, "fc"))
    return build.finish()


def _quantised(module: Module, text: str, data: dict[str, Array]) -> Module:
    return run(module, parse(text), Context(data))


def _samples(rng: np.random.Generator, k: int = 40) -> dict[str, Array]:
    return {"x": rng.standard_normal((8, 2, k)).astype(np.float32)}


def test_four_bit_weights_are_stored_in_four_bits(network: Module, images: Images) -> None:
    module = _quantised(run(network, CANONICAL), "quantize{weights=i4}", images(4))
    found = _dtypes(module)
    assert [dtype for symbol, dtype in found.items() if ".int4" in symbol] == ["i4"] * 3
    assert {found["b3.int32"], found["conv1.requantize.scale"]} == {"i32", "f32"}
    assert np.abs(module.weights["w3.int4"].astype(np.int8)).max() == 7


def test_sixteen_bit_activations_sum_in_sixty_four(rng: np.random.Generator) -> None:
    module, data = _product(rng), _samples(rng)
    made = _quantised(module, "quantize{bits=16}", data)
    assert _kinds(made) == [
        "qnn.quantize",
        "qnn.matmul",
        "qnn.requantize",
        "qnn.dequantize",
    ]
    assert [node.result.dtype for node in made.graph.nodes] == ["i16", "i64", "i16", "f32"]
    assert _dtypes(made)["b.int64"] == "i64"


def test_the_operators_that_have_no_sixteen_bit_kernel_stay_float(
    network: Module, images: Images
) -> None:
    kinds = _kinds(_quantised(run(network, CANONICAL), "quantize{bits=16}", images(2)))
    assert {"nn.add", "nn.average_pool2d", "nn.global_average_pool", "qnn.conv2d"} <= set(kinds)
    assert not {"qnn.add", "qnn.average_pool2d"} & set(kinds)


@pytest.mark.parametrize(
    ("text", "kinds", "dtype"),
    [
        ("weights=f32,activations=f32", ["nn.matmul"], "f32"),
        ("weights=i4,activations=f32", ["qnn.dequantize", "nn.matmul"], "i4"),
        ("weights=i4,activations=f32,group=8", ["qnn.dequantize_blocks", "nn.matmul"], "i4"),
        (
            "weights=i4,group=8",
            ["qnn.quantize", "qnn.dequantize", "qnn.dequantize_blocks", "nn.matmul"],
            "i4",
        ),
        ("weights=f8E5M2,activations=f32", ["qnn.dequantize", "nn.matmul"], "f8E5M2"),
        (
            "weights=f8E4M3FN,activations=f8E4M3FN",
            ["qnn.quantize", "qnn.dequantize", "qnn.dequantize", "nn.matmul"],
            "f8E4M3FN",
        ),
        (
            "weights=mxf4E2M1FN,activations=mxf8E4M3FN",
            ["qnn.mx_quantize", "qnn.dequantize_blocks", "qnn.dequantize_blocks", "nn.matmul"],
            "f4E2M1FN",
        ),
        ("weights=bf16,activations=bf16", ["nn.cast", "nn.matmul", "nn.cast"], "bf16"),
        ("weights=bf16,activations=f32", ["nn.cast", "nn.matmul"], "bf16"),
        ("weights=f32,activations=f16", ["nn.cast", "nn.cast", "nn.matmul"], "f32"),
    ],
)
def test_a_format_is_read_before_a_float_product(
    text: str, kinds: list[str], dtype: str, rng: np.random.Generator
) -> None:
    made = _quantised(_product(rng), f"quantize{{{text}}}", _samples(rng))
    assert _kinds(made) == kinds
    found = _dtypes(made)
    assert found["w" if "w" in found else next(k for k in found if k.startswith("w."))] == dtype


@pytest.mark.parametrize(
    ("name", "held", "largest"),
    [
        # OCP 8-bit floating point specification 1.0 (2023), table 1
        ("f8E4M3FN", ml_dtypes.float8_e4m3fn, 448.0),
        ("f8E5M2", ml_dtypes.float8_e5m2, 57344.0),
    ],
)
def test_small_float_weights_reach_their_format_s_largest(
    name: str, held: type, largest: float, rng: np.random.Generator
) -> None:
    module = _product(rng)
    made = _quantised(module, f"quantize{{weights={name},activations=f32}}", _samples(rng))
    w = module.weights["w"]
    scales = np.abs(w).max(axis=0) / np.float32(largest)
    assert made.weights["w.scale"].tolist() == scales.astype(np.float32).tolist()
    expected = (w / scales).astype(held)
    assert made.weights[f"w.{name}"].tobytes() == expected.tobytes()
    assert np.abs(expected.astype(np.float32)).max(axis=0).tolist() == [largest] * 3


@pytest.mark.parametrize("activation", ["none", "relu"])
def test_dynamic_activations_are_read_by_their_own_range(
    activation: str, rng: np.random.Generator
) -> None:
    build = ModuleBuilder("product")
    w, b = rng.standard_normal((40, 3)), rng.standard_normal(3)
    weights = [build.weight("w", w.astype(np.float32)), build.weight("b", b.astype(np.float32))]
    operands = [build.input("x", (2, 40)), *weights]
    build.output("y", build.op("nn.matmul", operands, {"activation": activation}, "fc"))
    made = run(build.finish(), parse("quantize{activations=dynamic}"))
    assert _kinds(made)[:3] == ["qnn.dynamic_quantize", "qnn.matmul_integer", "nn.cast"]
    x = rng.standard_normal((2, 40)).astype(np.float32)
    low, high = x.min(), x.max()
    scale = (high - low) / np.float32(255)
    zero_point = np.rint(-low / scale)
    q = np.clip(np.rint(x / scale) + zero_point, 0, 255)
    tops = np.abs(w.astype(np.float32)).max(axis=0) / np.float32(127)
    acc = ((q - zero_point) @ made.weights["w.int8"]).astype(np.float32)
    expected = acc * (scale * tops) + b.astype(np.float32)
    expected = np.maximum(expected, 0) if activation == "relu" else expected
    assert evaluate(made, {"x": x})["y"].tobytes() == expected.astype(np.float32).tobytes()


def test_dynamic_activations_leave_weights_in_groups_to_float_products(
    rng: np.random.Generator,
) -> None:
    text = "quantize{activations=dynamic,weights=i4,group=8}"
    assert _kinds(run(_product(rng), parse(text))) == ["qnn.dequantize_blocks", "nn.matmul"]


def test_groups_have_a_scale_each(rng: np.random.Generator) -> None:
    module = _product(rng, k=20)
    made = _quantised(module, "quantize{weights=i4,activations=f32,group=8}", _samples(rng, 20))
    w, scales = module.weights["w"], made.weights["w.scale"]
    # 20 rows in groups of 8, 8 and 4
    tops = [np.abs(w[part]).max(axis=0) / 7 for part in (np.s_[:8], np.s_[8:16], np.s_[16:])]
    np.testing.assert_array_equal(scales, np.array(tops, np.float64).astype(np.float32))
    (node,) = (n for n in made.graph.nodes if n.kind == "qnn.dequantize_blocks")
    assert node.ints("blocks") == (8, 1)


@pytest.mark.parametrize("lead", [(2,), (3, 2)])
def test_a_stack_of_matrices_has_no_groups(
    lead: tuple[int, ...], rng: np.random.Generator
) -> None:
    build = ModuleBuilder("stack")
    w = build.weight("w", rng.standard_normal((*lead, 4, 5)).astype(np.float32))
    build.output("y", build.op("nn.matmul", [build.input("x", (*lead, 3, 4)), w], NONE))
    data = {"x": rng.standard_normal((2, *lead, 3, 4)).astype(np.float32)}
    text = "quantize{weights=i4,activations=f32,group=2}"
    made = _quantised(build.finish(), text, data)
    assert _kinds(made) == ["qnn.dequantize", "nn.matmul"]
    assert made.weights["w.scale"].shape == (1,)


def test_groups_of_a_convolution_hold_whole_kernels(rng: np.random.Generator) -> None:
    build = ModuleBuilder("conv")
    w = build.weight("w", rng.standard_normal((6, 5, 3, 3)).astype(np.float32))
    attributes: dict[str, Attribute] = {
        "strides": (1, 1),
        "pads": (0, 0, 0, 0),
        "dilations": (1, 1),
        "groups": 2,
        **NONE,
    }
    build.output("y", build.op("nn.conv2d", [build.input("x", (1, 10, 4, 4)), w], attributes))
    module = build.finish()
    data = {"x": rng.standard_normal((3, 1, 10, 4, 4)).astype(np.float32)}
    text = "quantize{weights=i4,activations=f32,group=2,rounding=gptq}"
    made = _quantised(module, text, data)
    assert made.weights["w.scale"].shape == (6, 3, 1, 1)
    # the nearest of 15 steps, clipped to no less than half of the largest weight
    real = evaluate(_weights_of(made), {})["w"]
    assert np.abs(real - module.weights["w"]).max() < np.abs(module.weights["w"]).max()


def _weights_of(module: Module) -> Module:
    """The module's dequantised weights alone."""
    build = ModuleBuilder("weights")
    (node,) = (n for n in module.graph.nodes if n.kind == "qnn.dequantize_blocks")
    operands = [
        build.weight(module.graph.constants[v.index], module.graph.weight(v))
        for v in node.operands
    ]
    build.output("w", build.op(node.kind, operands, node.attributes))
    return build.finish()


@pytest.mark.parametrize("activations", sorted(set(ACTIVATIONS) - {"f32", "dynamic"}))
@pytest.mark.parametrize("weights", sorted(FORMATS))
def test_every_pair_of_formats_stays_near_the_float_product(
    weights: str, activations: str, rng: np.random.Generator
) -> None:
    module, data = _product(rng), _samples(rng)
    text = f"quantize{{weights={weights},activations={activations}}}"
    made = _quantised(module, text, data)
    sample = {"x": data["x"][0]}
    wanted, found = (evaluate(m, sample)["y"] for m in (module, made))
    # e2m1 and int4 have steps of a quarter of the largest at worst: 40 products of two such
    # errors, uncorrelated, are far from the result's own size of sqrt(40)
    assert 0 < np.abs(found - wanted).max() < np.sqrt(40)


def test_both_operands_of_a_computed_product_are_blocked_along_the_sum(
    rng: np.random.Generator,
) -> None:
    build = ModuleBuilder("scores")
    operands = [build.input("a", (2, 3, 40)), build.input("b", (2, 40, 5))]
    build.output("y", build.op("nn.matmul", operands, NONE))
    data = {
        "a": rng.standard_normal((2, 2, 3, 40)).astype(np.float32),
        "b": rng.standard_normal((2, 2, 40, 5)).astype(np.float32),
    }
    made = _quantised(build.finish(), "quantize{activations=mxi8}", data)
    axes = [n.int("axis") for n in made.graph.nodes if n.kind == "qnn.mx_quantize"]
    assert axes == [2, 1]


def test_a_layer_can_have_a_format_of_its_own(network: Module, images: Images) -> None:
    fused, data = run(network, CANONICAL), images(3)
    scheme = Quantize(layers={"conv1": "i4", "logits": "f32"}).bound(fused, Context(data))
    module = scheme(fused)
    found = {node.name: node.kind for node in module.graph.nodes}
    dtypes = _dtypes(module)
    assert {dtypes["w2.int8"], dtypes["w3"]} == {"i8", "f32"}
    assert list(dtypes.values()).count("i4") == 1
    assert (found["conv1"], found["conv2"], found["logits"]) == (
        "qnn.conv2d",
        "qnn.conv2d",
        "nn.matmul",
    )


def test_a_relu6_becomes_the_bounds_of_a_requantisation(rng: np.random.Generator) -> None:
    build = ModuleBuilder("relu6")
    w = build.weight("w", rng.standard_normal((8, 4)).astype(np.float32))
    x = build.op("nn.matmul", [build.input("x", (1, 8)), w], NONE, name="fc")
    build.output("y", build.op("nn.clip", [x], {"low": -0.5, "high": 1.0}))
    module = build.finish()
    data = {"x": rng.standard_normal((20, 1, 8)).astype(np.float32)}
    made = _quantised(module, "quantize", data)
    assert _kinds(made) == ["qnn.quantize", "qnn.matmul", "qnn.requantize", "qnn.dequantize"]
    node = made.graph.nodes[2]
    # -0.5..1 in 255 steps: scale 1.5 / 255, zero point rint(-128 + 85) = -43
    assert (node.int("zero_point"), node.int("low"), node.int("high")) == (-43, -128, 127)
    tight = Quantize(_ranges(-1.0, 1.0))(module).graph.nodes[2]
    # -1..1: the scale is a little above 2 / 255, the zero point -1 (see test_quantize);
    # -0.5 is 64 steps (63.75) below it and 1 is 127 (127.49) above
    assert (tight.int("zero_point"), tight.int("low"), tight.int("high")) == (-1, -65, 126)


def _ranges(low: float, high: float) -> Ranges:
    return Ranges({"x": (low, high)}, {"fc": (low, high), "clip": (low, high)})


def _everything(rng: np.random.Generator) -> Module:
    build = ModuleBuilder("everything")
    x = build.input("x", (1, 6))
    w = build.weight("w", (rng.standard_normal((6, 6)) / 3).astype(np.float32))
    h = build.op("nn.matmul", [x, w], NONE, name="fc")
    for kind in ("nn.sigmoid", "nn.tanh", "nn.gelu", "nn.hard_swish", "nn.silu"):
        attributes = dict((OPS[kind].example or ((), {}))[1])
        h = build.op("nn.add", [build.op(kind, [h], attributes), h], name=f"after_{kind}")
    h = build.op("nn.leaky_relu", [h], {"alpha": 0.1})
    h = build.op("nn.mul", [h, x])
    h = build.op("nn.concat", [h, x], {"axis": 1})
    h = build.op("nn.clip", [h], {"low": -1.0, "high": 1.0})
    build.output("y", build.op("nn.softmax", [h], {"axis": -1}))
    return build.finish()


def test_all_operators_become_integer_when_asked_to(rng: np.random.Generator) -> None:
    module = _everything(rng)
    data = {"x": rng.standard_normal((200, 1, 6)).astype(np.float32)}
    usual = _kinds(_quantised(module, "quantize", data))
    assert {"nn.sigmoid", "nn.mul", "nn.concat", "nn.softmax", "nn.clip"} <= set(usual)
    made = _quantised(module, "quantize{all_operators=true}", data)
    kinds = _kinds(made)
    assert not [kind for kind in kinds if kind.startswith("nn.")]
    assert kinds.count("qnn.lookup") == 7
    sample = {"x": data["x"][0]}
    moved = np.abs(evaluate(made, sample)["y"] - evaluate(module, sample)["y"]).max()
    # a dozen roundings in a row of values of order one, 255 steps over a range of some 10,
    # move an exponent of the softmax by some 0.1; its results are below 1
    assert moved < 0.1


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "quantize{weights=f8E5M3}",
            RegistryError,
            "quantize: no weight format 'f8E5M3'; did you mean 'f8E5M2'?; there are: i4, i8, "
            "f32, bf16, f16, f8E4M3FN, f8E5M2, mxf8E4M3FN, mxf8E5M2, mxf6E2M3FN, mxf6E3M2FN, "
            "mxf4E2M1FN, mxi8",
        ),
        (
            "quantize{activations=f8E4M3}",
            RegistryError,
            "quantize: no activation format 'f8E4M3'; did you mean 'f8E4M3FN'?; there are: "
            "integer, dynamic, f32, bf16, f16, f8E4M3FN, f8E5M2, mxf8E4M3FN, mxf8E5M2, "
            "mxf6E2M3FN, mxf6E3M2FN, mxf4E2M1FN, mxi8",
        ),
        (
            "quantize{weight=i4}",
            RegistryError,
            "no option 'weight' of quantize; did you mean 'weights'?; there are: bits, "
            "weights, activations, method, percentile_pct, rounding, group, per_channel, "
            "correct_bias, all_operators, whole",
        ),
        (
            "quantize{bits=4}",
            UnsupportedError,
            "quantize: bits must be 8 or 16, not 4; weights of fewer are weights=i4",
        ),
        (
            "quantize{group=-1}",
            ModelError,
            "quantize: a group of weights must be 0 (a whole channel) or more, not -1",
        ),
    ],
)
def test_what_there_is_not_is_refused(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("activations", ["f16", "f32"])
def test_weights_beyond_a_format_are_refused(
    activations: str, rng: np.random.Generator
) -> None:
    module = _product(rng)
    module.weights["w"][3, 1] = 70000
    text = f"quantize{{weights=f16,activations={activations}}}"
    with pytest.raises(ModelError) as caught:
        _quantised(module, text, _samples(rng))
    assert str(caught.value) == (
        "quantize: weight @w must fit f16 to be quantised, not 70000.0; use bf16 or rescale it"
    )


def test_a_format_of_a_layer_is_checked_too() -> None:
    with pytest.raises(RegistryError, match=r"^no weight format 'int4'"):
        Quantize(layers={"fc": "int4"})


@pytest.mark.parametrize(
    "text", ["quantize{weights=i4,method=mse}", "quantize{weights=f8E4M3FN,group=32}"]
)
def test_options_keep_their_text(text: str) -> None:
    held: tuple[Pass, ...] = parse(text)
    assert sorted(printed(held)) == sorted(text)
    assert parse(printed(held)) == held
