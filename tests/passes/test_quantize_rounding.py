"""How weights are rounded, and that calibration data makes good what rounding takes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, RegistryError
from tetrapla.ir.graph import Array, Attribute
from tetrapla.ir.interpret import evaluate, evaluate_many
from tetrapla.ir.module import Module
from tetrapla.passes.context_ import Context
from tetrapla.passes.moments_ import moments
from tetrapla.passes.pass_ import run
from tetrapla.passes.quantize import Quantize
from tetrapla.passes.rounding_ import as_weights, best_scales, repaired, rows_of, steps
from tetrapla.passes.text_ import parse

Floats = NDArray[np.float64]
NONE: dict[str, Attribute] = {"activation": "none"}
WINDOW: dict[str, Attribute] = {
    "strides": (2, 1),
    "pads": (1, 0, 1, 1),
    "dilations": (1, 2),
    "groups": 2,
    "activation": "none",
}


def _network(rng: np.random.Generator) -> Module:
    """A grouped convolution, a ReLU and a product, without biases."""
    build = ModuleBuilder("network")
    w = build.weight("w", rng.standard_normal((6, 2, 3, 2)).astype(np.float32))
    x = build.op("nn.conv2d", [build.input("x", (1, 4, 6, 5)), w], WINDOW, name="conv")
    x = build.op("nn.relu", [x])
    size = x.elements
    x = build.op("nn.reshape", [x], {"shape": (1, size)})
    v = build.weight("v", rng.standard_normal((size, 3)).astype(np.float32))
    build.output("y", build.op("nn.matmul", [x, v], {"activation": "none"}, name="fc"))
    return build.finish()


def _data(module: Module, rng: np.random.Generator, count: int) -> dict[str, Array]:
    (value,) = module.inputs.values()
    return {"x": rng.standard_normal((count, *value.shape)).astype(np.float32) + 0.5}


def _correlated(rng: np.random.Generator, taps: int) -> Floats:
    """The second moments of inputs that follow two common causes."""
    mixed = rng.standard_normal((500, 2)) @ rng.standard_normal((2, taps))
    x = mixed + 0.3 * rng.standard_normal((500, taps))
    return np.asarray(x.T @ x / 500)[None]


def _error(rows: Floats, made: Floats, scales: Floats, second: Floats) -> float:
    lost = rows - made * scales
    return float(((lost @ second) * lost).sum())


def test_two_inputs_that_are_one_share_their_rounding() -> None:
    # 0.4 + 0.4 is nearer to 1 than to 0: the second weight takes what the first one lost; the
    # damping of a hundredth leaves it just below 0.8
    rows = np.array([[[0.4, 0.4]]])
    scales = np.ones((1, 1, 2))
    assert steps(rows, scales, 7).tolist() == [[[0, 0]]]
    assert repaired(rows, scales, 7, np.ones((1, 2, 2))).tolist() == [[[0, 1]]]


def test_independent_inputs_are_rounded_to_nearest(rng: np.random.Generator) -> None:
    rows = rng.uniform(-7, 7, (2, 5, 9))
    scales = np.ones_like(rows)
    second = np.broadcast_to(np.eye(9), (2, 9, 9))
    assert (repaired(rows, scales, 7, second) == steps(rows, scales, 7)).all()


def test_inputs_that_are_always_zero_are_rounded_to_nearest() -> None:
    rows = np.array([[[0.4, 2.6, -1.7]]])
    made = repaired(rows, np.ones_like(rows), 7, np.zeros((1, 3, 3)))
    assert made.tolist() == [[[0, 3, -2]]]


@pytest.mark.parametrize("taps", [4, 16, 40])
def test_repair_beats_the_nearest_integers_on_correlated_inputs(
    taps: int, rng: np.random.Generator
) -> None:
    rows = rng.standard_normal((1, 20, taps))
    second = _correlated(rng, taps)
    scales = np.broadcast_to(np.abs(rows).max(axis=-1, keepdims=True) / 7, rows.shape)
    nearest, better = steps(rows, scales, 7), repaired(rows, scales, 7, second)
    assert _error(rows, better, scales, second) < _error(rows, nearest, scales, second)
    assert np.abs(better).max() <= 7


@pytest.mark.parametrize("weighed", [False, True])
def test_the_best_scales_are_no_worse_than_the_largest_weight_s(
    weighed: bool, rng: np.random.Generator
) -> None:
    rows = rng.standard_normal((2, 6, 12)) ** 3
    second = np.repeat(_correlated(rng, 12), 2, axis=0) if weighed else None
    found = best_scales(rows, 7, second)[..., None]
    whole = np.abs(rows).max(axis=-1, keepdims=True) / 7
    measure = np.broadcast_to(np.eye(12), (2, 12, 12)) if second is None else second
    assert _error(rows, steps(rows, found, 7), found, measure) < _error(
        rows, steps(rows, whole, 7), whole, measure
    )


def test_a_channel_of_zeros_has_scale_one() -> None:
    assert best_scales(np.zeros((1, 2, 3)), 7, None).tolist() == [[1, 1]]


def test_rows_and_weights_are_each_other_s_inverse(rng: np.random.Generator) -> None:
    filters, matrix = rng.standard_normal((6, 2, 3, 2)), rng.standard_normal((5, 4))
    rows = rows_of(filters, "nn.conv2d", 3)
    assert rows.shape == (3, 2, 12)
    assert (as_weights(rows, "nn.conv2d", filters.shape) == filters).all()
    assert (as_weights(rows_of(matrix, "nn.matmul"), "nn.matmul", (5, 4)) == matrix).all()


def test_moments_predict_a_layer_s_mean_and_power(rng: np.random.Generator) -> None:
    module = _network(rng)
    data = _data(module, rng, 5)
    found = moments(module, data)
    assert found.keys() == {"conv", "fc"}
    rows = rows_of(module.weights["w"], "nn.conv2d", 2)
    outputs = [_conv(module, x) for x in data["x"]]
    results = np.stack(outputs).transpose(2, 0, 1, 3, 4).reshape(2, 3, -1).astype(np.float64)
    second = found["conv"].second
    assert second is not None
    mean = np.einsum("gck,gk->gc", rows, found["conv"].mean)
    power = np.einsum("gck,gkj,gcj->gc", rows, second, rows)
    # the float32 results are sums of 12 products of numbers of order one
    assert np.abs(mean - results.mean(axis=-1)).max() < 1e-4
    assert np.abs(power / (results**2).mean(axis=-1) - 1).max() < 1e-4


def _conv(module: Module, x: Array) -> Array:
    build = ModuleBuilder("conv")
    operands = [build.input("x", x.shape), build.weight("w", module.weights["w"])]
    build.output("y", build.op("nn.conv2d", operands, WINDOW))
    return evaluate(build.finish(), {"x": x})["y"]


@pytest.mark.parametrize("weights", ["i4", "f8E5M2", "mxf4E2M1FN"])
def test_corrected_biases_keep_the_mean_of_the_first_layer(
    weights: str, rng: np.random.Generator
) -> None:
    build = ModuleBuilder("one")
    w = build.weight("w", rng.standard_normal((16, 4)).astype(np.float32))
    operands = [build.input("x", (1, 16)), w]
    build.output("y", build.op("nn.matmul", operands, {"activation": "none"}, name="fc"))
    module = build.finish()
    data = {"x": rng.uniform(0, 1, (50, 1, 16)).astype(np.float32)}

    def mean(correct_bias: bool) -> Array:
        scheme = Quantize(activations="f32", weights=weights, correct_bias=correct_bias)
        made = run(module, [scheme], Context(data))
        return np.asarray(evaluate_many(made, data)["y"].mean(axis=0))

    wanted = evaluate_many(module, data)["y"].mean(axis=0)
    assert np.abs(mean(False) - wanted).max() > 1e-3
    # float32 sums of 16 products and a bias: 17 roundings of numbers below 16
    assert np.abs(mean(True) - wanted).max() < 17 * 16 * 2.0**-24


def test_second_order_rounding_lowers_the_error_of_the_whole(rng: np.random.Generator) -> None:
    module = _network(rng)
    data = _data(module, rng, 60)
    wanted = evaluate_many(module, data)["y"]

    def error(rounding: str) -> float:
        scheme = Quantize(activations="f32", weights="i4", rounding=rounding)
        made = evaluate_many(run(module, [scheme], Context(data)), data)["y"]
        return float(((made - wanted) ** 2).mean())

    assert error("gptq") < error("mse") < error("nearest")


def test_a_group_s_scale_serves_the_inputs_that_count() -> None:
    # under scale 1 = 7 / 7 the weight 0.45 would be 0; half of that makes it 0.5, and 7 becomes
    # 3.5, which an input of a thousandth does not show
    build = ModuleBuilder("one")
    w = build.weight("w", np.array([[7], [0.45]], np.float32))
    build.output("y", build.op("nn.matmul", [build.input("x", (1, 2)), w], NONE))
    data = {"x": np.array([[[1e-3, 1]], [[-1e-3, 1]]], np.float32)}
    made = run(
        build.finish(), parse("quantize{weights=i4,group=2,rounding=gptq}"), Context(data)
    )
    assert made.weights["w.scale"].tolist() == [[0.5]]


def test_an_unknown_rounding_names_the_nearest() -> None:
    with pytest.raises(RegistryError) as caught:
        Quantize(rounding="gptk")
    assert str(caught.value) == (
        "no rounding 'gptk'; did you mean 'gptq'?; there are: nearest, mse, gptq"
    )


def test_second_order_rounding_without_data_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ModelError) as caught:
        Quantize(activations="f32", weights="i4", rounding="gptq")(_network(rng))
    assert str(caught.value) == (
        "model 'network' must have calibration data for gptq and for correcting biases, not "
        "none; run the pass in a context"
    )


def test_nan_in_the_data_of_second_order_rounding_is_refused(rng: np.random.Generator) -> None:
    module = _network(rng)
    data = _data(module, rng, 2)
    data["x"][1, 0, 0, 0, 0] = np.nan
    scheme = Quantize(activations="f32", weights="i4", rounding="gptq")
    with pytest.raises(ModelError) as caught:
        run(module, [scheme], Context(data))
    assert str(caught.value) == (
        "quantize: calibration data of input 'x' must be finite, not nan in sample 1; "
        "drop or mend that sample"
    )
