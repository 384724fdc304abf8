"""Channels last in memory: which values lie so, and that no value is another for it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.backends.gpu.helpers import interpreted
from tetrapla.backends.gpu.bounds.verdict import integer, judged
from tetrapla.backends.gpu.lower import lower, plan
from tetrapla.backends.gpu.triton.compiler import compiled
from tetrapla.backends.gpu.triton.functions import functions
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.values import executed
from tetrapla.simulators.spec_ import load_spec

LAST = (0, 2, 3, 1)
GENERATE = settings(phases=(Phase.generate,), max_examples=25, deadline=None)
LAYERS = ("conv", "grouped", "deep", "narrow", "max", "mean", "relu", "skip", "norm", "silu")


class Net:
    """A network of images in the making."""

    def __init__(self, seed: int = 0) -> None:
        self.build = ModuleBuilder("net")
        self.rng = np.random.default_rng(seed)
        self.count = 0

    def weight(self, *shape: int) -> Value:
        self.count += 1
        fan_in = np.prod(shape[1:]) if len(shape) > 1 else 1
        array = (self.rng.normal(size=shape) / np.sqrt(fan_in)).astype(np.float32)
        return self.build.weight(f"w{self.count}", array)

    def op(self, kind: str, *operands: Value, **attributes: Attribute) -> Value:
        return self.build.op(kind, list(operands), attributes)

    def conv(
        self, x: Value, filters: int, kernel: int, groups: int = 1, stride: int = 1
    ) -> Value:
        w = self.weight(filters, x.shape[1] // groups, kernel, kernel)
        attributes: dict[str, Attribute] = {"dilations": (1, 1), "activation": "none"}
        attributes |= {"pads": (kernel // 2,) * 4, "groups": groups, "strides": (stride,) * 2}
        return self.op("nn.conv2d", x, w, self.weight(filters), **attributes)

    def layer(self, name: str, x: Value) -> Value:
        """A layer that leaves at least 6 channels, in sixes."""
        channels = x.shape[1]
        match name:
            case "conv":
                return self.conv(x, 12, 3)
            case "grouped":
                return self.conv(x, 18, 3, 3)
            case "deep":
                return self.conv(x, channels, 3, channels)
            case "narrow":
                return self.conv(x, 6, 1, stride=2)
            case "max":
                window: dict[str, Attribute] = {"kernel": (2, 3), "pads": (0, 1, 1, 1)}
                window |= {"strides": (1, 2), "dilations": (1, 1)}
                return self.op("nn.max_pool2d", x, **window)
            case "mean":
                window = {"kernel": (2, 2), "pads": (1, 0, 0, 1), "strides": (1, 1)}
                return self.op("nn.average_pool2d", x, count_include_pad=0, **window)
            case "skip":
                return self.op("nn.add", x, self.conv(x, channels, 1))
            case "norm":
                scale, bias = self.weight(channels), self.weight(channels)
                return self.op("nn.group_norm", x, scale, bias, groups=2, epsilon=1e-3)
            case _:
                return self.op(f"nn.{name}", x)

    def finish(self, y: Value) -> Module:
        self.build.output("y", y)
        return self.build.finish()


def network(layers: list[str], end: str, seed: int = 0) -> tuple[Module, dict[str, Array]]:
    """Layers behind a first convolution, and what makes a row of numbers of the last."""
    net = Net(seed)
    shape = (2, 3, 9, 8)
    y = net.conv(net.build.input("x", shape), 6, 3)
    for name in layers:
        y = net.layer(name, y)
    if end == "flat":
        y = net.op("nn.reshape", y, shape=(2, y.elements // 2))
    elif end == "turned":
        y = net.op("nn.transpose", y, perm=LAST)
    elif end == "mean":
        y = net.op("nn.global_average_pool", y)
    elif end == "softmax":
        y = net.op("nn.softmax", y, axis=1)
    return net.finish(y), {"x": net.rng.normal(size=(2, *shape)).astype(np.float32)}


def lying(program: Program) -> list[str]:
    """The buffers whose channels are last."""
    assert {b.order for b in program.buffers} <= {(), LAST}
    return [b.name for b in program.buffers if b.order == LAST]


@GENERATE
@given(
    layers=st.lists(st.sampled_from(LAYERS), max_size=4),
    end=st.sampled_from(("flat", "turned", "mean", "softmax", "none")),
    number_format=st.sampled_from(("fp16", "fp32")),
    seed=st.integers(0, 1000),
)
def test_any_network_is_within_its_bounds(
    layers: list[str], end: str, number_format: str, seed: int
) -> None:
    module, inputs = network(layers, end, seed)
    program = plan(module, number_format)
    assert Program.from_dict(json.loads(json.dumps(program.to_dict()))) == program
    verdict = judged(
        Lowered(module, program),
        inputs,
        executed(program, inputs),
        evaluate_many(module, inputs),
    )
    assert verdict.mismatches == 0, verdict


@pytest.mark.parametrize("layers", [["deep", "relu", "max"], ["skip", "mean", "grouped"]])
def test_an_integer_network_is_bit_exact(layers: list[str]) -> None:
    module, inputs = network(layers, "mean")
    spec = load_spec("h100", GpuSpec).spec
    lowered = lower(module, spec, inputs, Options(quant="int8"))
    assert integer(lowered)
    assert len(lying(lowered.program)) >= 3
    reference = evaluate_many(lowered.module, inputs)
    held = executed(lowered.program, inputs)
    assert judged(lowered, inputs, held, reference).passed
    emitted = interpreted(lowered.program, inputs)
    assert judged(lowered, inputs, emitted, reference).passed


def test_the_emitted_kernels_read_and_write_by_the_same_strides() -> None:
    module, inputs = network(["norm", "silu", "grouped", "max", "skip", "mean"], "mean")
    program = plan(module, "fp16")
    held = interpreted(program, inputs)
    verdict = judged(Lowered(module, program), inputs, held, evaluate_many(module, inputs))
    assert verdict.passed, verdict


def test_what_lies_between_kernels_of_images_has_its_channels_last() -> None:
    module, _ = network(["relu", "max", "skip"], "mean")
    program = plan(module, "fp16")
    assert [type(k).__name__ for k in program.kernels] == ["Conv", "Pool", "Conv", "GlobalPool"]
    assert lying(program) == ["relu", "max_pool2d", "add"]


def test_what_is_read_as_rows_keeps_its_own_order() -> None:
    # the flatten is another view of the pool's result, so the pool reads its own order too
    module, _ = network(["relu", "conv", "max"], "flat")
    assert lying(plan(module, "fp16")) == ["relu"]
    module, _ = network(["relu"], "none")
    assert lying(plan(module, "fp16")) == []


def test_filters_are_kept_as_the_instructions_read_them() -> None:
    module, inputs = network([], "mean")
    (buffer,) = (b for b in plan(module, "fp16").buffers if b.name.startswith("w1"))
    assert (buffer.name, buffer.shape) == ("w1.rows", (3, 3, 3, 6))
    spec = load_spec("h100", GpuSpec).spec
    program = lower(module, spec, inputs, Options(quant="int8")).program
    turned = [b.shape for b in program.buffers if b.name.endswith(".turned")]
    assert turned == [(6, 3, 3, 3)]


def images(channels: int, groups: int) -> Module:
    """Two convolutions, of which the second has channels side by side on both sides."""
    net = Net()
    y = net.conv(net.build.input("x", (1, 3, 30, 30)), channels, 3)
    y = net.conv(y, channels, 3, groups)
    y = net.op("nn.global_average_pool", net.op("nn.silu", y))
    return net.finish(y)


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "wide"), [(1, "cp.async.cg.shared.global"), (64, "v4")])
def test_loads_along_channels_are_wide(groups: int, wide: str) -> None:
    pytest.importorskip("triton", reason="the kernels are compiled by Triton")
    found, launched = functions(plan(images(64, groups), "fp16"))
    (second,) = (function for function in found if function.name == launched[1])
    (code,) = compiled([second], ["sm_80"])
    loads = re.findall(r"(?:ld\.global|cp\.async\.c[ag]\.shared)[\w.:]*", code.text)
    assert any(wide in load for load in loads)
    # nothing is read one half at a time
    assert not [load for load in loads if load.endswith(".b16")]
    assert code.spill_bytes == 0
