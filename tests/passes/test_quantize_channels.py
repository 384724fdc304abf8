"""Factors that move between layers: equalisation, smoothing, and clips that become ReLUs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.interpret import evaluate, evaluate_many
from tetrapla.ir.module import Module
from tetrapla.passes.channels_ import power_of_two, sites
from tetrapla.passes.context_ import Context
from tetrapla.passes.equalize import Equalize
from tetrapla.passes.pass_ import run
from tetrapla.passes.relax_clips import RelaxClips
from tetrapla.passes.smooth_quant import SmoothQuant
from tetrapla.passes.text_ import parse

NONE: dict[str, Attribute] = {"activation": "none"}
# a channel's share of the network's size: 64 apart, as a badly normalised network has it
UNEQUAL = np.exp2(np.arange(8) - 4).astype(np.float32)


def _conv(groups: int, size: int) -> dict[str, Attribute]:
    pad = size // 2
    return {
        "strides": (1, 1),
        "pads": (pad,) * 4,
        "dilations": (1, 1),
        "groups": groups,
        "activation": "none",
    }


class _Draft:
    """A builder whose weights are drawn, times factors."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.build = ModuleBuilder("draft")
        self.rng = rng

    def weight(self, name: str, shape: tuple[int, ...], factor: Array | float = 1.0) -> Value:
        drawn = self.rng.standard_normal(shape) * factor
        return self.build.weight(name, drawn.astype(np.float32))


def _unequal_mlp(rng: np.random.Generator) -> Module:
    """A network whose hidden channels are small before the ReLU and large behind it."""
    draft = _Draft(rng)
    build = draft.build
    w, b = draft.weight("w", (16, 8), UNEQUAL), draft.weight("b", (8,), UNEQUAL)
    x = build.op("nn.matmul", [build.input("x", (4, 16)), w, b], NONE, name="first")
    v = draft.weight("v", (8, 5), 1 / UNEQUAL[:, None])
    x = build.op("nn.matmul", [build.op("nn.relu", [x]), v], NONE, name="second")
    build.output("y", x)
    return build.finish()


def _depthwise(rng: np.random.Generator) -> Module:
    """1x1, depthwise 3x3 and 1x1 convolutions, pooling, and a product on the flattened rest."""
    draft = _Draft(rng)
    build = draft.build
    column = UNEQUAL[:, None, None, None]
    x = build.input("x", (1, 4, 4, 4))
    operands = [x, draft.weight("w1", (8, 4, 1, 1), column), draft.weight("b1", (8,), UNEQUAL)]
    x = build.op("nn.conv2d", operands, _conv(1, 1), name="wide")
    x = build.op("nn.leaky_relu", [x], {"alpha": 0.25})
    w = draft.weight("w2", (8, 1, 3, 3), column[::-1])
    x = build.op("nn.conv2d", [x, w], _conv(8, 3), name="depthwise")
    x = build.op("nn.relu", [x])
    x = build.op("nn.conv2d", [x, draft.weight("w3", (6, 8, 1, 1))], _conv(1, 1), name="narrow")
    window: dict[str, Attribute] = {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0)}
    x = build.op("nn.max_pool2d", [x], {**window, "dilations": (1, 1)})
    x = build.op("nn.reshape", [x], {"shape": (1, 24)})
    x = build.op("nn.matmul", [x, draft.weight("w4", (24, 3))], NONE, name="head")
    build.output("y", x)
    return build.finish()


def _normed(rng: np.random.Generator) -> Module:
    """Layer normalisation with a few outlying channels, read by three products."""
    draft = _Draft(rng)
    build = draft.build
    gain = np.where(np.arange(32) % 16 == 3, 64, 1)
    operands = [build.input("x", (6, 32)), draft.weight("gain", (32,), gain)]
    operands.append(draft.weight("shift", (32,), gain))
    x = build.op("nn.layer_norm", operands, {"axis": -1, "epsilon": 1e-5}, name="norm")
    for name in "qkv":
        made = build.op("nn.matmul", [x, draft.weight(f"w{name}", (32, 8))], NONE, name=name)
        build.output(name, made)
    return build.finish()


def _data(module: Module, rng: np.random.Generator, count: int = 20) -> dict[str, Array]:
    return {
        name: rng.standard_normal((count, *value.shape)).astype(np.float32)
        for name, value in module.inputs.items()
    }


def _rel_error(module: Module, text: str, data: dict[str, Array]) -> float:
    """Of the outputs after a pipeline, as a root of mean squares."""
    wanted = evaluate_many(module, data)
    found = evaluate_many(run(module, parse(text), Context(data)), data)
    lost = sum(float(((found[k] - wanted[k]) ** 2).sum()) for k in wanted)
    return float(np.sqrt(lost / sum(float((v**2).sum()) for v in wanted.values())))


def test_sites_reach_through_what_keeps_a_factor(rng: np.random.Generator) -> None:
    found = [
        (site.producer.name, [node.name for node in site.consumers], site.repeats)
        for site in sites(_depthwise(rng).graph)
    ]
    assert found == [
        ("wide", ["depthwise"], 1),
        ("depthwise", ["narrow"], 1),
        ("narrow", ["head"], 4),
    ]


def test_all_readers_of_a_norm_are_one_site(rng: np.random.Generator) -> None:
    (site,) = sites(_normed(rng).graph)
    assert (site.producer.name, [n.name for n in site.consumers]) == ("norm", ["q", "k", "v"])


@pytest.mark.parametrize("between", ["nn.clip", "nn.sigmoid", "an output"])
def test_what_does_not_keep_a_factor_ends_a_site(
    between: str, rng: np.random.Generator
) -> None:
    draft = _Draft(rng)
    build = draft.build
    x = build.op("nn.matmul", [build.input("x", (1, 4)), draft.weight("w", (4, 4))], NONE)
    if between == "an output":
        build.output("seen", x)
    else:
        more = {"low": 0.0, "high": 6.0} if between == "nn.clip" else {}
        x = build.op(between, [x], more)
    build.output("y", build.op("nn.matmul", [x, draft.weight("v", (4, 4))], NONE))
    assert sites(build.finish().graph) == []


def test_a_residual_of_the_same_value_ends_a_site(rng: np.random.Generator) -> None:
    draft = _Draft(rng)
    build = draft.build
    operands = [build.input("x", (4, 8)), draft.weight("w", (8, 8), UNEQUAL)]
    x = build.op("nn.relu", [build.op("nn.matmul", operands, NONE)])
    operands = [x, draft.weight("v", (8, 8)), draft.weight("b", (8,)), x]
    build.output("y", build.op("nn.matmul", operands, NONE))
    assert sites(build.finish().graph) == []


def test_a_pool_that_mixes_the_channels_ends_a_site(rng: np.random.Generator) -> None:
    draft = _Draft(rng)
    build = draft.build
    operands = [build.input("x", (1, 4, 4, 8)), draft.weight("w", (8, 8), UNEQUAL)]
    x = build.op("nn.matmul", operands, NONE)  # its channels are the last axis
    window: dict[str, Attribute] = {"kernel": (1, 3), "strides": (1, 1), "pads": (0, 1, 0, 1)}
    x = build.op("nn.max_pool2d", [x], {**window, "dilations": (1, 1)})
    build.output("y", build.op("nn.matmul", [x, draft.weight("v", (8, 5))], NONE))
    assert sites(build.finish().graph) == []


def test_factors_are_powers_of_two_and_dead_channels_have_none() -> None:
    given = np.array([1.4, 1.5, 0.3, 0.0, np.inf, np.nan, 1e30])
    assert power_of_two(given).tolist() == [1, 2, 0.25, 1, 1, 1, 1]


@pytest.mark.parametrize("make", [_unequal_mlp, _depthwise])
def test_equalising_moves_no_bit_and_makes_the_channels_alike(
    make: Callable[[np.random.Generator], Module], rng: np.random.Generator
) -> None:
    module = make(rng)
    made = Equalize()(module)
    assert made is not module
    sample = {name: array[0] for name, array in _data(module, rng).items()}
    assert evaluate(made, sample)["y"].tobytes() == evaluate(module, sample)["y"].tobytes()
    assert Equalize()(made) is made


def test_equalised_channels_are_within_a_factor_of_two(rng: np.random.Generator) -> None:
    made = Equalize()(_unequal_mlp(rng))
    before = np.abs(made.weights["w"]).max(axis=0)
    behind = np.abs(made.weights["v"]).max(axis=1)
    # s is within sqrt 2 of sqrt(r1 / r2), so r1 / s and r2 s are within a factor of 2
    assert np.abs(np.log2(before / behind)).max() <= 1 + 1e-6


def test_equalising_rescues_one_scale_per_tensor(rng: np.random.Generator) -> None:
    module = _unequal_mlp(rng)
    data = _data(module, rng)
    naive = "quantize{weights=i4,activations=f32,per_channel=false}"
    plain, equal = (_rel_error(module, text, data) for text in (naive, f"equalize,{naive}"))
    # channels 128 apart share seven steps: all but the largest are lost
    assert plain > 2 * equal


def test_smoothing_moves_no_bit_and_rescues_outlying_activations(
    rng: np.random.Generator,
) -> None:
    module = _normed(rng)
    data = _data(module, rng)
    made = run(module, [SmoothQuant()], Context(data))
    sample = {"x": data["x"][0]}
    wanted, found = (evaluate(m, sample) for m in (module, made))
    assert [found[k].tobytes() for k in "qkv"] == [wanted[k].tobytes() for k in "qkv"]
    plain = _rel_error(module, "quantize", data)
    assert plain > 2 * _rel_error(module, "smooth-quant,quantize", data)


def test_alpha_says_who_bears_the_size(rng: np.random.Generator) -> None:
    module = _normed(rng)
    data = _data(module, rng)

    def spread(alpha: float) -> float:
        made = run(module, [SmoothQuant(alpha)], Context(data))
        gains = np.abs(made.weights["gain"])
        return float(gains.max() / np.median(gains))

    # at 1 all activations are of one size; at 0 all weights are, and the norm stays unequal
    assert spread(1.0) < spread(0.5) < spread(0.0)


def _diagonal(first: list[float], second: list[float]) -> Module:
    build = ModuleBuilder("diagonal")
    w = build.weight("w", np.diag(first).astype(np.float32))
    x = build.op("nn.matmul", [build.input("x", (1, 2)), w], NONE, name="first")
    v = build.weight("v", np.diag(second).astype(np.float32))
    build.output("y", build.op("nn.matmul", [x, v], NONE))
    return build.finish()


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_a_factor_weighs_activation_against_weight(alpha: float) -> None:
    data = Context({"x": np.ones((1, 1, 2), np.float32)})

    def moved(first: list[float], second: list[float]) -> list[float]:
        made = run(_diagonal(first, second), [SmoothQuant(alpha)], data)
        return [float(v) for v in np.diag(made.weights["v"]) / second]

    # a channel of 16 that meets a weight of 1: s = 16^alpha; the other has 1 and 1
    assert moved([16, 1], [1, 1]) == [16**alpha, 1]
    # a channel of 1 that meets a weight of 16: s = 1 / 16^(1 - alpha)
    assert moved([1, 1], [16, 1]) == [16 ** (alpha - 1), 1]


def test_a_share_beyond_one_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        SmoothQuant(alpha=1.5)
    assert str(caught.value) == "alpha must lie in 0..1, not 1.5"


def test_smoothing_without_data_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ModelError) as caught:
        SmoothQuant()(_normed(rng))
    assert str(caught.value) == (
        "model 'draft' must have calibration data to be smoothed, not none; "
        "run the pass in a context"
    )


def _clipped(high: float) -> Module:
    build = ModuleBuilder("clipped")
    x = build.op("nn.clip", [build.input("x", (3,))], {"low": 0.0, "high": high}, name="clip")
    build.output("y", x)
    return build.finish()


@pytest.mark.parametrize(("high", "kind"), [(6.0, "nn.relu"), (2.0, "nn.clip")])
def test_a_clip_that_data_does_not_reach_becomes_a_relu(high: float, kind: str) -> None:
    data = {"x": np.array([[-1, 2, 5]], np.float32)}
    made = run(_clipped(high), [RelaxClips()], Context(data))
    assert [node.kind for node in made.graph.nodes] == [kind]
    for name, array in evaluate_many(_clipped(high), data).items():
        assert (evaluate_many(made, data)[name] == array).all()


def test_relaxing_without_data_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        RelaxClips()(_clipped(6.0))
    assert str(caught.value) == (
        "clip: a clip must have a calibrated range to be relaxed, not none; "
        "run the pass in a context"
    )
