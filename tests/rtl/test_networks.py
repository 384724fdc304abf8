"""Networks of the size that people use, whole on the RTL."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.systolic.conftest import Net, chip, lower
from tetrapla.ir.graph import Attribute, Value
from tetrapla.ir.module import Module
from tetrapla.simulators.rtl.compare import compare

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
    """He et al. 2016, table 1, with random int8 weights."""
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


@pytest.mark.slow
@pytest.mark.parametrize(("size", "pixels"), [(16, 32), (64, 224)])
def test_resnet18_agrees_in_every_byte_and_cycle(
    rng: np.random.Generator, size: int, pixels: int
) -> None:
    net = Net(rng, (1, 3, pixels, pixels))
    module, spec = resnet18(net), chip(size, size, 4096, 4, f"vector.lanes={size}")
    program = lower(module, spec).program
    found = compare(program, spec, {"x": net.inputs(1)["x"]})
    assert found.equal
    assert found.rtl.busy_cycles["VE"] > 0
    (port,) = program.from_device
    logits = found.rtl.dram[port.address : port.address + port.traffic_bytes]
    assert len(np.unique(logits)) > 50  # not saturated to nothing
