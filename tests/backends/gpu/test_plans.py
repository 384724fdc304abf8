"""Modules on the GPU: what is fused, what is refused, and that the values agree."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.backends.gpu.helpers import interpreted, needs_triton
from tetrapla.backends.gpu import TARGET, check
from tetrapla.backends.gpu.bounds.bound import LONGEST, error_bounds
from tetrapla.backends.gpu.bounds.verdict import cross_check, judged
from tetrapla.backends.gpu.lower import lower, plan, planned
from tetrapla.backends.gpu.tiles import depth
from tetrapla.backends.gpu.triton.functions import functions
from tetrapla.backends.gpu.triton.source import sources
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu import values as machine_values
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.values import Held, executed, values
from tetrapla.simulators.random_ import Key

GOLDEN = Path(__file__).parents[2] / "golden" / "gpu_small_kernels.txt"


def geometry(**changed: Attribute) -> dict[str, Attribute]:
    plain: dict[str, Attribute] = {
        "strides": (1, 1),
        "pads": (0, 0, 0, 0),
        "dilations": (1, 1),
        "groups": 1,
    }
    return {**plain, "activation": "none", **changed}


def small_cnn(rng: np.random.Generator, batch: int = 1) -> Module:
    """Convolution, pool, flatten, product, as the digits CNN, on 6 x 6 pixels."""
    build = ModuleBuilder("small")
    x = build.input("x", (batch, 1, 6, 6))
    w1, b1 = (build.weight(n, a) for n, a in _layer(rng, "conv", (5, 1, 3, 3), 5, 9))
    w2, b2 = (build.weight(n, a) for n, a in _layer(rng, "fc", (45, 4), 4, 45))
    padded = geometry(pads=(1, 1, 1, 1))
    y = build.op("nn.conv2d", [x, w1, b1], padded, "conv")
    y = build.op("nn.relu", [y], {}, "relu")
    window = {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
    y = build.op("nn.max_pool2d", [y], window, "pool")
    y = build.op("nn.reshape", [y], {"shape": (batch, 45)}, "flat")
    build.output("y", build.op("nn.matmul", [y, w2, b2], {"activation": "none"}, "fc"))
    return build.finish()


def _layer(
    rng: np.random.Generator, name: str, shape: tuple[int, ...], n: int, k: int
) -> list[tuple[str, Array]]:
    w = (rng.normal(size=shape) / np.sqrt(k)).astype(np.float32)
    return [(f"{name}.weight", w), (f"{name}.bias", rng.normal(size=n).astype(np.float32))]


def images(rng: np.random.Generator, count: int = 8, batch: int = 1) -> dict[str, Array]:
    return {"x": rng.random((count, batch, 1, 6, 6)).astype(np.float32)}


def test_a_relu_is_fused_and_a_flatten_costs_nothing(
    h100: GpuSpec, rng: np.random.Generator
) -> None:
    program = lower(small_cnn(rng), h100, None, Options()).program
    assert program.text() == (
        "gpu program small: fp16, 3 kernels\n"
        "  input   x: f16[1, 1, 6, 6]\n"
        # as the product reads it: the window's rows and columns, channels, filters
        "  weight  conv.weight.rows: f16[3, 3, 1, 5]\n"
        "  weight  conv.bias: f32[5]\n"
        "  scratch conv: f16[1, 5, 6, 6]\n"
        "  scratch pool: f16[1, 5, 3, 3]\n"
        "  weight  fc.bias: f32[4]\n"
        "  weight  fc.weight: f16[45, 4]\n"
        "  output  fc: f32[1, 4]\n"
        "  conv: conv = Conv(x, conv.weight.rows) | Bias | Relu; 1 x 36x5x9, "
        "tiles 64x16x16, grid 1x1x1\n"
        "  pool: pool = Pool(conv)\n"
        "  fc: fc = MatMul(pool, fc.weight) | Bias; 1 x 1x4x45, tiles 16x16x64, grid 1x1x1\n"
    )
    assert Program.from_dict(json.loads(json.dumps(program.to_dict()))) == program


def test_an_int8_network_is_bit_exact(h100: GpuSpec, rng: np.random.Generator) -> None:
    module, inputs = small_cnn(rng), images(rng)
    lowered = lower(module, h100, inputs, Options(quant="int8"))
    result = TARGET.run(lowered.program, h100, inputs, Key(0))
    reference = evaluate_many(lowered.module, inputs)
    verdict = cross_check(lowered, h100, inputs, result, reference)
    assert (verdict.kind, verdict.mismatches, verdict.passed) == ("bit_exact", 0, True)
    # quantise, convolution, pool, product: the requantisations are epilogues
    assert [type(k).__name__ for k in lowered.program.kernels] == [
        "Pointwise",
        "Conv",
        "Pool",
        "MatMul",
    ]


@pytest.mark.parametrize("batch", [1, 3])
def test_a_float_network_is_within_its_bound(
    h100: GpuSpec, rng: np.random.Generator, batch: int
) -> None:
    module, inputs = small_cnn(rng, batch), images(rng, batch=batch)
    lowered = lower(module, h100, None, Options())
    result = TARGET.run(lowered.program, h100, inputs, Key(0))
    reference = evaluate_many(lowered.module, inputs)
    verdict = cross_check(lowered, h100, inputs, result, reference)
    assert verdict.passed
    assert verdict.max_rel_error is not None
    assert verdict.bound is not None
    assert 0 < verdict.max_rel_error < verdict.bound < 0.05


@pytest.mark.parametrize("seed", range(12))
def test_ragged_convolutions_are_exact_in_integers_and_bounded_in_floats(
    h100: GpuSpec, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 4))
    channels, filters = groups * int(rng.integers(1, 9)), groups * int(rng.integers(1, 30))
    kernel = tuple(int(d) for d in rng.integers(1, 4, 2))
    size = tuple(int(d) for d in rng.integers(7, 14, 2))
    shape = (int(rng.integers(1, 3)), channels, *size)
    attributes = geometry(
        strides=tuple(int(d) for d in rng.integers(1, 4, 2)),
        pads=tuple(int(d) for d in rng.integers(0, 3, 4)),
        dilations=tuple(int(d) for d in rng.integers(1, 3, 2)),
        groups=groups,
        activation="relu",
    )
    build = ModuleBuilder("ragged")
    x = build.input("x", shape)
    w_shape = (filters, channels // groups, *kernel)
    w = build.weight("w", rng.normal(size=w_shape).astype(np.float32))
    b = build.weight("b", rng.normal(size=filters).astype(np.float32))
    build.output("y", build.op("nn.conv2d", [x, w, b], attributes, "conv"))
    module = build.finish()
    inputs = {"x": rng.normal(size=(4, *shape)).astype(np.float32)}
    for options in (Options(), Options(quant="int8")):
        lowered = lower(module, h100, inputs, options)
        held = executed(lowered.program, inputs)
        verdict = judged(lowered, inputs, held, evaluate_many(lowered.module, inputs))
        assert verdict.passed, verdict


@pytest.mark.parametrize("dtypes", [("ui8", "i8"), ("ui8", "ui8"), ("i8", "i8")])
@pytest.mark.parametrize("zeros", [(0, 0), (7, 0), (0, 5), (3, 9)])
def test_integer_products_take_any_zero_points(
    dtypes: tuple[str, str], zeros: tuple[int, int], rng: np.random.Generator
) -> None:
    module, inputs = integer_product(dtypes, zeros, rng)
    program = plan(module, "int8")
    y = values(program, inputs)["y"]
    assert np.array_equal(y, evaluate_many(module, inputs)["y"])


def integer_product(
    dtypes: tuple[str, str], zeros: tuple[int, int], rng: np.random.Generator
) -> tuple[Module, dict[str, Array]]:
    held = {"i8": np.int8, "ui8": np.uint8}
    build = ModuleBuilder("integers")
    x = build.input("x", (3, 37), dtypes[0])
    w = build.weight("w", rng.integers(0, 100, (37, 21)).astype(held[dtypes[1]]))
    attributes = {"x_zero_point": zeros[0], "w_zero_point": zeros[1]}
    build.output("y", build.op("qnn.matmul", [x, w], attributes, "product"))
    inputs = {"x": rng.integers(0, 120, (2, 3, 37)).astype(held[dtypes[0]])}
    return build.finish(), inputs


def attention(rng: np.random.Generator) -> tuple[Module, dict[str, Array]]:
    """softmax(q k^T) v for 2 heads of 5 tokens: batched products and a real transpose."""
    build = ModuleBuilder("attention")
    q, k, v = (build.input(name, (2, 5, 7)) for name in "qkv")
    turned = build.op("nn.transpose", [k], {"perm": (0, 2, 1)}, "turn")
    scores = build.op("nn.matmul", [q, turned], {"activation": "none"}, "scores")
    weights = build.op("nn.softmax", [scores], {"axis": -1}, "weights")
    build.output("y", build.op("nn.matmul", [weights, v], {"activation": "none"}, "mix"))
    return build.finish(), {n: rng.normal(size=(3, 2, 5, 7)).astype(np.float32) for n in "qkv"}


def test_attention_is_within_its_bound(rng: np.random.Generator) -> None:
    module, inputs = attention(rng)
    program = plan(module, "fp16")
    # the transpose is read by its strides
    assert [type(k).__name__ for k in program.kernels] == ["MatMul", "Softmax", "MatMul"]
    verdict = judged(
        Lowered(module, program),
        inputs,
        executed(program, inputs),
        evaluate_many(module, inputs),
    )
    assert verdict.passed, verdict


def test_a_dropped_tile_is_caught(
    h100: GpuSpec, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, inputs = small_cnn(rng), images(rng)
    whole = machine_values.tile

    def dropping(kernel, flat, z, row, column):  # type: ignore[no-untyped-def]
        total, where = whole(kernel, flat, z, row, column)
        return (total * 0 if kernel.name == "fc" else total), where

    monkeypatch.setattr(machine_values, "tile", dropping)
    for options in (Options(), Options(quant="int8")):
        lowered = lower(module, h100, inputs, options)
        held = executed(lowered.program, inputs)
        reference = evaluate_many(lowered.module, inputs)
        assert not judged(lowered, inputs, held, reference).passed


def test_a_value_that_overflows_fp16_has_no_bound(
    h100: GpuSpec, rng: np.random.Generator
) -> None:
    module, inputs = small_cnn(rng), images(rng)
    inputs = {"x": inputs["x"] * np.float32(1e5)}
    lowered = lower(module, h100, None, Options())
    _, layout = planned(lowered.module, "fp16")
    assert not np.isfinite(error_bounds(lowered.module.graph, layout, inputs)["y"]).all()
    reference = evaluate_many(lowered.module, inputs)
    verdict = judged(lowered, inputs, executed(lowered.program, inputs), reference)
    assert (verdict.bound, verdict.passed) == (None, False)


def test_the_bound_grows_with_k() -> None:
    found, third = [], float(np.float32(1 / 3))
    for k in (8, 64, 512):
        build = ModuleBuilder("k")
        x = build.input("x", (1, k))
        w = build.weight("w", np.full((k, 1), third, np.float32))
        build.output("y", build.op("nn.matmul", [x, w], {"activation": "none"}))
        ones = {"x": np.ones((1, 1, k), np.float32)}
        module = build.finish()
        _, layout = planned(module, "fp32")
        found.append(float(error_bounds(module.graph, layout, ones)["y"].item()) / (k * third))
    # both sides have the same exact sum, so what is left is (n_machine + n_reference) u of it:
    # min(K, 64) + ceil(K / 16) + 3 by the plan's tiles, K + ceil(K / 16) + 3 in any order
    counts = [12 + 12, 71 + 71, (64 + 32 + 3) + (512 + 32 + 3)]
    assert found == pytest.approx([n * 2.0**-24 for n in counts], rel=1e-3)


def test_a_float_tile_sums_no_more_products_than_the_bound_counts() -> None:
    for operand in ("f16", "bf16", "tf32", "f32"):
        depths = [depth(k, operand) for k in (1, 16, 100, 10_000)]
        assert 16 <= min(depths) <= max(depths) <= LONGEST
    assert depth(10_000, "f16") == LONGEST


def test_every_unsupported_node_is_named_at_once(rng: np.random.Generator) -> None:
    build = ModuleBuilder("odd")
    x = build.input("x", (2, 3), "f64")
    y = build.op("nn.relu", [x], {})
    y = build.op("nn.relu", [y], {})
    build.output("y", build.op("nn.softmax", [y], {"axis": 1}))
    with pytest.raises(UnsupportedError) as refused:
        plan(build.finish(), "fp16")
    message = str(refused.value)
    assert message.startswith(
        "gpu has no kernel for nn.relu of f64 (2), nn.softmax of f64 (1); compute the whole "
    )


def test_integers_made_of_inexact_floats_are_right_but_near_ties(
    rng: np.random.Generator,
) -> None:
    build = ModuleBuilder("doubt")
    x = build.input("x", (2, 3))
    w = build.weight("w", rng.normal(size=(3, 4)).astype(np.float32))
    scale = build.weight("scale", np.array([0.01], np.float32))
    attributes: dict[str, Attribute] = {"zero_point": 3, "axis": 0, "dtype": "i8"}
    y = build.op("nn.matmul", [x, w], {"activation": "none"}, "fc")
    build.output("q", build.op("qnn.quantize", [y, scale], attributes, "q"))
    s = build.op("nn.softmax", [x], {"axis": 1}, "softmax")
    build.output("r", build.op("qnn.quantize", [s, scale], attributes, "r"))
    module = build.finish()
    inputs = {"x": rng.normal(size=(20, 2, 3)).astype(np.float32)}
    program = plan(module, "int8")
    assert [[type(step).__name__ for step in k.steps] for k in program.kernels] == [
        ["Quantize"],
        ["Quantize"],
    ]
    held, reference = executed(program, inputs), evaluate_many(module, inputs)
    lowered = Lowered(module, program)
    assert judged(lowered, inputs, held, reference).passed
    # a step away where no tie is near
    wrong = {name: array.copy() for name, array in held.stored.items()}
    wrong["r"][0, 0] += 1
    outputs = {**held.outputs, "r": held.outputs["r"].copy()}
    outputs["r"][0, 0, 0] += 1
    verdict = judged(lowered, inputs, Held(outputs, held.probed, wrong), reference)
    assert (verdict.mismatches, verdict.passed) == (1, False)


def test_int8_needs_calibration(h100: GpuSpec, rng: np.random.Generator) -> None:
    with pytest.raises(ModelError) as refused:
        lower(small_cnn(rng), h100, None, Options(quant="int8"))
    assert str(refused.value) == (
        "model 'small' must have calibration data for int8, not none; give --calib F.npz, "
        "or --quant none"
    )


def test_another_number_format_is_refused(h100: GpuSpec, rng: np.random.Generator) -> None:
    with pytest.raises(UnsupportedError) as refused:
        lower(small_cnn(rng), h100, None, Options(quant="int5"))
    assert str(refused.value) == (
        "gpu: --quant must be fp32, tf32, fp16, bf16, int8, fp8, int4 or none, not int5"
    )


def test_the_emitted_text_is_the_golden_one(h100: GpuSpec) -> None:
    module = small_cnn(np.random.default_rng(0))
    files = sources(lower(module, h100, None, Options()).program)
    assert files["kernels.py"] == GOLDEN.read_text(encoding="utf-8")


def test_names_of_functions_are_distinct_and_no_words_of_python() -> None:
    build = ModuleBuilder("words")
    for size in (3, 5):
        operands = [build.input(f"{name}{size}", (size,), "i1") for name in "ab"]
        build.output(f"y{size}", build.op("nn.and", operands, {}))
    found, launched = functions(plan(build.finish(), "fp32"))
    assert [function.name for function in found] == ["k_and", "k_and_2"]
    assert launched == ("k_and", "k_and_2")


def test_without_triton_the_second_check_says_so(
    h100: GpuSpec, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, inputs = small_cnn(rng), images(rng)
    lowered = lower(module, h100, None, Options())

    def nothing(name: str) -> None:
        del name

    monkeypatch.setattr(check, "find_spec", nothing)
    verdict, said = check.second_check(lowered, inputs, evaluate_many(module, inputs))
    assert verdict is None
    assert said == "emitted kernels were not run: triton is not installed"


@needs_triton
@pytest.mark.parametrize("quant", [None, "int8"])
def test_the_emitted_kernels_agree_with_the_reference(
    h100: GpuSpec, rng: np.random.Generator, quant: str | None
) -> None:
    module, inputs = small_cnn(rng, 2), images(rng, 2, 2)
    lowered = lower(module, h100, inputs, Options(quant=quant))
    verdict, said = check.second_check(lowered, inputs, evaluate_many(lowered.module, inputs))
    assert verdict is not None
    assert verdict.passed, verdict
    assert said == "emitted kernels were run on 2 inputs under Triton's interpreter"


@needs_triton
@pytest.mark.parametrize("zeros", [(0, 0), (7, 0), (0, 5), (3, 9)])
def test_emitted_integer_products_take_any_zero_points(
    zeros: tuple[int, int], rng: np.random.Generator
) -> None:
    for dtypes in (("ui8", "i8"), ("ui8", "ui8"), ("i8", "i8")):
        module, inputs = integer_product(dtypes, zeros, rng)
        held = interpreted(plan(module, "int8"), inputs)
        assert np.array_equal(held.outputs["y"], evaluate_many(module, inputs)["y"])


@needs_triton
def test_emitted_attention_is_within_its_bound(rng: np.random.Generator) -> None:
    module, inputs = attention(rng)
    program = plan(module, "fp16")
    held = interpreted(program, inputs)
    assert judged(Lowered(module, program), inputs, held, evaluate_many(module, inputs)).passed
