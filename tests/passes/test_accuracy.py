"""What quantisation costs networks trained on the digits: three kinds, three training seeds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tetrapla.frontend.onnx import load
from tetrapla.ir.graph import BITS, Array
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes.choose_precision_ import choose
from tetrapla.passes.context_ import Context
from tetrapla.passes.pass_ import run
from tetrapla.passes.pipeline_ import CANONICAL
from tetrapla.passes.quantize import Quantize
from tetrapla.passes.text_ import parse

MODELS = Path(__file__).parent / "models"
DIGITS = Path(__file__).parents[2] / "tetrapla" / "data" / "digits.npz"
SEEDS = range(3)
CALIBRATION = 256
INTEGER_LAYERS = ("qnn.matmul", "qnn.conv2d")
# what makes four bits work: scales of least error, second-order rounding, corrected biases
REPAIRED = "quantize{weights=i4,rounding=gptq,correct_bias=true}"


@cache
def digits() -> dict[str, Array]:
    with np.load(DIGITS) as file:
        return dict(file)


def images(part: str) -> Array:
    """The whole of a part as one batch, float32 in 0..1."""
    held = digits()
    return (held["x"][held[part]][:, None] / np.float32(16)).astype(np.float32)


def calibration() -> dict[str, Array]:
    """The first training images as one invocation."""
    return {"image": images("train")[None, :CALIBRATION]}


@cache
def network(kind: str, seed: int, batch: int) -> Module:
    return run(load(MODELS / f"{kind}_{seed}.onnx", batch=batch), CANONICAL)


@cache
def right_pct(kind: str, seed: int, text: str) -> float:
    """The share of right answers on the test set after a pipeline, calibrated on others."""
    context = Context(calibration())
    # the batch of the test is another than that of the calibration, so passes are bound first
    calibrated = network(kind, seed, CALIBRATION)
    module = network(kind, seed, len(digits()["test"]))
    for pass_ in parse(text):
        ready = pass_.bound(calibrated, context)
        calibrated, module = run(calibrated, [ready]), run(module, [ready])
    return _right_pct(module)


def _right_pct(module: Module) -> float:
    held = digits()
    (scores,) = evaluate(module, {"image": images("test")}).values()
    return float(100 * np.mean(scores.argmax(axis=1) == held["y"][held["test"]]))


def losses(kind: str, text: str) -> list[float]:
    """Percentage points lost, by training seed."""
    return [right_pct(kind, seed, "") - right_pct(kind, seed, text) for seed in SEEDS]


@pytest.mark.parametrize(("kind", "least_pct"), [("mlp", 95), ("cnn", 97), ("dwcnn", 97.5)])
def test_the_networks_are_worth_quantising(kind: str, least_pct: float) -> None:
    assert min(right_pct(kind, seed, "") for seed in SEEDS) >= least_pct


@pytest.mark.parametrize("kind", ["mlp", "cnn", "dwcnn"])
@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy", "mse"])
def test_eight_bits_cost_at_most_0_7_points(kind: str, method: str) -> None:
    assert np.mean(losses(kind, f"quantize{{method={method}}}")) <= 0.7


@pytest.mark.parametrize("kind", ["mlp", "cnn", "dwcnn"])
def test_sixteen_bit_activations_cost_no_more_than_the_weights_do(kind: str) -> None:
    # 65,535 steps leave the int8 weights as the only rounding that can be seen
    text = "quantize{activations=f32}"
    assert np.mean(losses(kind, "quantize{bits=16}")) == pytest.approx(
        np.mean(losses(kind, text)), abs=100 / 450 / 3
    )  # one image of one seed


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
@pytest.mark.parametrize(
    "text",
    [
        "quantize{weights=i4}",
        "quantize{weights=i4,rounding=mse,correct_bias=true}",
        REPAIRED,
        "quantize{weights=i4,group=16,rounding=gptq,correct_bias=true}",
        "quantize{weights=i4,activations=f32,group=32}",
    ],
)
def test_four_bit_weights_cost_at_most_one_point(kind: str, text: str) -> None:
    assert np.mean(losses(kind, text)) <= 1.0


@pytest.mark.parametrize("kind", ["mlp", "cnn", "dwcnn"])
@pytest.mark.parametrize(
    "text",
    [
        "quantize{weights=f8E4M3FN,activations=f8E4M3FN}",
        "quantize{weights=f8E4M3FN,activations=f8E4M3FN,correct_bias=true}",
        "quantize{weights=f8E4M3FN,activations=f32}",
        "quantize{weights=mxi8,activations=mxi8}",
        "quantize{weights=bf16,activations=bf16}",
    ],
)
def test_small_floats_cost_at_most_0_4_points(kind: str, text: str) -> None:
    assert np.mean(losses(kind, text)) <= 0.4


@pytest.mark.parametrize("kind", ["mlp", "cnn", "dwcnn"])
def test_mxfp8_costs_at_most_one_and_a_half_points(kind: str) -> None:
    text = "quantize{weights=mxf8E4M3FN,activations=mxf8E4M3FN,correct_bias=true}"
    assert np.mean(losses(kind, text)) <= 1.5


def test_a_depthwise_network_of_four_bit_weights_owes_its_accuracy_to_the_rounding() -> None:
    # one scale per tensor and the nearest integer: lost
    assert np.mean(losses("dwcnn", "quantize{weights=i4,per_channel=false}")) > 17.6
    # one scale per channel is not enough
    assert np.mean(losses("dwcnn", "quantize{weights=i4}")) > 3
    for text in (
        "quantize{weights=i4,rounding=mse,correct_bias=true}",
        "quantize{weights=i4,rounding=gptq}",
        REPAIRED,
    ):
        assert np.mean(losses("dwcnn", text)) <= 3


def test_the_scales_of_least_error_alone_help_a_depthwise_network() -> None:
    naive = np.mean(losses("dwcnn", "quantize{weights=i4}"))
    assert np.mean(losses("dwcnn", "quantize{weights=i4,rounding=mse}")) < naive


def _weight_bits(module: Module) -> float:
    weights = [n.operands[1] for n in module.graph.nodes if n.kind in INTEGER_LAYERS]
    return float(sum(BITS[value.dtype] * value.elements for value in weights))


def test_two_bits_more_for_the_right_layers_spare_a_depthwise_network_all_repair() -> None:
    lost: list[float] = []
    for seed in SEEDS:
        module, data = network("dwcnn", seed, CALIBRATION), calibration()
        whole = _weight_bits(run(module, parse("quantize"), Context(data)))
        # six bits a weight on average, four or eight each, all rounded to nearest
        found = choose(module, data, _weight_bits, whole * 6 / 8)
        assert found.cost <= whole * 6 / 8
        scheme = replace(Quantize().bound(module, Context(data)), layers=found.layers)
        tested = scheme(network("dwcnn", seed, len(digits()["test"])))
        lost.append(right_pct("dwcnn", seed, "") - _right_pct(tested))
    assert np.mean(lost) <= 1 < np.mean(losses("dwcnn", "quantize{weights=i4}"))


@pytest.mark.parametrize("kind", ["mlp", "cnn", "dwcnn"])
def test_smoothing_costs_at_most_a_point_more(kind: str) -> None:
    text = f"relax-clips,fuse-epilogue,smooth-quant,{REPAIRED}"
    assert np.mean(losses(kind, text)) <= np.mean(losses(kind, REPAIRED)) + 1
