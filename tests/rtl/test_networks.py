"""Networks of the size that people use, whole on the RTL."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tests.backends.systolic.conftest import Net, chip, lower
from tests.rtl.networks import BERT, Network, network
from tetrapla.ir.graph import Attribute, Value
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.rtl.compare import compare

SPEC = chip(64, 64, 4096, 4, "vector.lanes=64")
BLOCKS = (64, 128, 256, 512)


def _conv(net: Net, x: Value, filters: int, kernel: int, name: str, stride: int = 1) -> Value:
    pads, strides = (kernel // 2,) * 4, (stride, stride)
    return net.conv(x, filters, (kernel, kernel), name, strides=strides, pads=pads)


def _added(net: Net, x: Value, y: Value, name: str) -> Value:
    numbers: dict[str, Attribute] = {
        "a_scale": 0.5,
        "a_zero_point": 5,
        "b_scale": 0.75,
        "b_zero_point": 5,
        "y_scale": 0.9,
        "y_zero_point": 5,
    }
    return net.builder.op("qnn.add", [x, y], numbers, name=name)


def resnet18(net: Net) -> Module:
    """He et al. 2016, table 1, with random int8 weights, for images of any size."""
    window: dict[str, Attribute] = {
        "kernel": (3, 3),
        "strides": (2, 2),
        "pads": (1, 1, 1, 1),
        "dilations": (1, 1),
    }
    x = _conv(net, net.x, 64, 7, "stem", 2)
    x = net.builder.op("nn.max_pool2d", [x], window, name="pool")
    for stage, filters in enumerate(BLOCKS):
        for block in range(2):
            name, stride = f"s{stage}b{block}", 2 if stage and not block else 1
            y = _conv(net, x, filters, 3, f"{name}a", stride)
            y = _conv(net, y, filters, 3, f"{name}b")
            if stride == 2:
                x = _conv(net, x, filters, 1, f"{name}d", 2)
            x = _added(net, x, y, f"{name}.add")
    numbers: dict[str, Attribute] = {
        "x_scale": 0.75,
        "x_zero_point": 5,
        "y_scale": 0.5,
        "y_zero_point": 5,
    }
    x = net.builder.op("qnn.global_average_pool", [x], numbers, name="mean")
    x = net.builder.op("nn.reshape", [x], {"shape": (1, 512)}, name="flat")
    return net.finish(net.product(x, 1000, "fc"))


@cache
def quantised(name: str) -> Network:
    return network(name, SPEC)


def agrees_in_every_write_and_cycle(name: str) -> None:
    """The program that a user gets, against the Python machine and the interpreter."""
    found = quantised(name)
    program = found.lowered.program
    same = compare(program, SPEC, found.inputs)
    assert same.equal
    assert all(layer.cycles == layer.rtl_cycles for layer in same.layers)
    wanted = evaluate_many(found.lowered.module, found.inputs)
    assert {n: int((same.outputs[n] != x).sum()) for n, x in wanted.items()} == dict.fromkeys(
        wanted, 0
    )
    # all but the change of number format at both ends is the accelerator's
    on_host = {step.kind for step in (*program.before, *program.after)}
    assert on_host <= {"qnn.quantize", "qnn.dequantize"}


def computes_what_onnx_runtime_computes(name: str) -> None:
    """Each layer's result, bit for bit."""
    found = quantised(name)
    wanted = found.by_onnx_runtime()
    same = compare(found.with_every_layer(SPEC), SPEC, found.inputs)
    assert same.equal
    differing = {n: int((same.outputs[n][0] != x).sum()) for n, x in wanted.items()}
    assert differing == dict.fromkeys(wanted, 0)
    # none is saturated to nothing
    assert min(len(np.unique(x)) for x in wanted.values()) > 40


def test_resnet18_agrees_in_every_write_and_cycle() -> None:
    agrees_in_every_write_and_cycle("resnet18")
    kinds = {layer.op for layer in quantised("resnet18").lowered.program.layers}
    windows = {"qnn.conv2d", "nn.max_pool2d", "qnn.global_average_pool"}
    assert kinds == {"load", "store", "qnn.add", "qnn.matmul", *windows}


def test_every_layer_of_resnet18_is_that_of_onnx_runtime() -> None:
    computes_what_onnx_runtime_computes("resnet18")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "mobilenet-v2", BERT])
def test_larger_networks_agree_in_every_write_and_cycle(name: str) -> None:
    agrees_in_every_write_and_cycle(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "mobilenet-v2"])
def test_every_layer_of_larger_networks_is_that_of_onnx_runtime(name: str) -> None:
    computes_what_onnx_runtime_computes(name)


def test_a_small_array_whose_outputs_stay_agrees(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 3, 32, 32))
    own = ("vector.lanes=16", "array.dataflow=output_stationary")
    spec = chip(16, 16, 4096, 4, *own)
    program = lower(resnet18(net), spec).program
    found = compare(program, spec, {"x": net.inputs(1)["x"]})
    assert found.equal
    assert found.rtl.busy_cycles["VE"] > 0
    (logits,) = found.outputs.values()
    assert len(np.unique(logits)) > 50  # not saturated to nothing
