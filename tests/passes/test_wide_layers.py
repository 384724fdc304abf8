"""Passes that change weights, and layers that hold more than a bias and a ReLU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes.calibrate_ import ranges
from tetrapla.passes.choose_layout import ChooseLayout
from tetrapla.passes.equalize import Equalize
from tetrapla.passes.fold_batch_norm import FoldBatchNorm
from tetrapla.passes.fold_scales import FoldScales
from tetrapla.passes.fuse_pool import FusePool
from tetrapla.passes.fuse_siblings import FuseSiblings
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.quantize import Quantize

Form = Callable[[ModuleBuilder, Value], Value]

WINDOW: dict[str, Attribute] = {
    "strides": (1, 1),
    "pads": (0, 0, 0, 0),
    "dilations": (1, 1),
    "groups": 1,
}


def drawn(module: Module) -> dict[str, Array]:
    draw = np.random.default_rng(0)
    return {
        name: draw.standard_normal(v.shape).astype(np.float32)
        for name, v in module.inputs.items()
    }


def kinds(module: Module) -> list[str]:
    return [node.kind for node in module.graph.nodes]


def equal(found: Module, module: Module) -> bool:
    """Whether the outputs have the same bits."""
    data = drawn(module)
    pairs = zip(evaluate(found, data).values(), evaluate(module, data).values(), strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


def _conv(
    build: ModuleBuilder, x: Value, *more: Value, activation: str = "none", size: float = 1.0
) -> Value:
    w = np.random.default_rng(0).standard_normal((3, 3, 1, 1)).astype(np.float32)
    w *= np.array([size, 1, 1 / size], np.float32).reshape(-1, 1, 1, 1)
    held = {**WINDOW, "activation": activation}
    return build.op("nn.conv2d", [x, build.weight("w", w), *more], held)


def _bias(build: ModuleBuilder) -> Value:
    return build.weight("b", np.arange(3, dtype=np.float32))


def _normalised(build: ModuleBuilder, y: Value) -> Value:
    parameters = [build.weight("p", np.full(3, 2, np.float32)) for _ in range(4)]
    return build.op("nn.batch_norm", [y, *parameters], {"epsilon": 0.0})


def _scaled(build: ModuleBuilder, y: Value) -> Value:
    return build.op("nn.mul", [y, build.weight("s", np.array(3, np.float32))])


def _pooled(build: ModuleBuilder, y: Value) -> Value:
    window: dict[str, Attribute] = {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0)}
    return build.op("nn.average_pool2d", [y], {**window, "count_include_pad": 0})


def _alone(build: ModuleBuilder, y: Value) -> Value:
    del build
    return y


@pytest.mark.parametrize(
    ("pass_", "behind"),
    [
        (FoldBatchNorm(), _normalised),
        (FoldScales(), _scaled),
        (FusePool(), _pooled),
        (FuseSiblings(), _alone),
        (ChooseLayout("channels_last"), _alone),
    ],
)
def test_a_residual_keeps_a_layer_as_it_is(pass_: Pass, behind: Form) -> None:
    """Though it is a constant, as a weight or bias would be."""
    build = ModuleBuilder("m")
    x = build.input("x", (1, 4, 4, 3))
    x = build.op("nn.transpose", [x], {"perm": (0, 3, 1, 2)})
    for name in ("y", "z"):
        residual = build.weight("r", np.ones((1, 3, 4, 4), np.float32))
        build.output(name, behind(build, _conv(build, x, _bias(build), residual)))
    module = build.finish()
    found = pass_(module)
    assert kinds(found) == kinds(module)
    assert equal(found, module)


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("residual", ["none", "before", "between"])
def test_channels_are_equalised_where_a_factor_can_pass(activation: str, residual: str) -> None:
    """Not through a residual, not around the consumer by one, and of activations a ReLU."""
    build = ModuleBuilder("m")
    x = build.input("x", (1, 3, 4, 4))
    held = [_bias(build), x] if residual == "before" else []
    z = _conv(build, x, *held, activation=activation, size=64.0)
    build.output("y", _conv(build, z, *([_bias(build), z] if residual == "between" else [])))
    module = build.finish()
    found = Equalize()(module)
    assert (found is module) == ((activation, residual) != ("relu", "none"))
    assert equal(found, module)


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_a_rectifying_activation_is_the_bound_of_a_requantisation(activation: str) -> None:
    build = ModuleBuilder("m")
    y = _conv(build, build.input("x", (1, 3, 4, 4)), _bias(build), activation=activation)
    build.output("y", y)
    module = build.finish()
    data = {name: 9 * array[None] for name, array in drawn(module).items()}
    found = Quantize(ranges(module, data))(module)
    wanted = ["qnn.quantize", "qnn.conv2d", "qnn.requantize", "qnn.dequantize"]
    assert kinds(found) == wanted
    assert found.graph.nodes[2].int("low") == found.graph.nodes[2].int("zero_point")
