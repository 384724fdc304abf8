"""A network with every kind of layer that quantisation knows, and data for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.module import Module

PADDED: dict[str, Attribute] = {
    "strides": (1, 1),
    "pads": (1, 1, 1, 1),
    "dilations": (1, 1),
    "groups": 1,
    "activation": "none",
}
HALVING: dict[str, Attribute] = {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0)}


@pytest.fixture
def images(rng: np.random.Generator) -> Callable[[int], dict[str, Array]]:
    """Return calibration or test data of so many invocations."""

    def made(count: int) -> dict[str, Array]:
        return {"image": rng.standard_normal((count, 1, 3, 12, 12)).astype(np.float32)}

    return made


@pytest.fixture
def network(rng: np.random.Generator) -> Module:
    """Every kind of layer that has an integer form, and a softmax, which has none."""
    build = ModuleBuilder("network")

    def normal(symbol: str, *shape: int) -> Value:
        # variance 1 / fan-in keeps the values' size from layer to layer
        fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
        array = rng.standard_normal(shape) / np.sqrt(fan_in)
        return build.weight(symbol, array.astype(np.float32))

    x = build.input("image", (1, 3, 12, 12))
    operands = [x, normal("w1", 8, 3, 3, 3), normal("b1", 8)]
    x = build.op("nn.conv2d", operands, PADDED, name="conv1")
    variance = build.weight("variance", rng.uniform(0.5, 2, 8).astype(np.float32))
    parameters = [normal("gain", 8), normal("shift", 8), normal("mean", 8), variance]
    x = build.op("nn.batch_norm", [x, *parameters], {"epsilon": 1e-5})
    x = skip = build.op("nn.relu", [x], name="relu1")
    x = build.op("nn.conv2d", [x, normal("w2", 8, 8, 3, 3)], PADDED, name="conv2")
    x = build.op("nn.relu", [build.op("nn.add", [x, skip], name="residual")], name="relu2")
    pooled = build.op("nn.max_pool2d", [x], {**HALVING, "dilations": (1, 1)}, name="maximum")
    x = build.op(
        "nn.average_pool2d", [pooled], {**HALVING, "count_include_pad": 0}, name="mean"
    )
    x = build.op("nn.reshape", [x], {"shape": (1, 72)}, name="flatten")
    operands = [x, normal("w3", 72, 10), normal("b3", 10)]
    x = build.op("nn.matmul", operands, {"activation": "none"}, name="logits")
    build.output("logits", x)
    build.output("probabilities", build.op("nn.softmax", [x], {"axis": -1}))
    build.output("mean", build.op("nn.global_average_pool", [pooled], name="global"))
    return build.finish()
