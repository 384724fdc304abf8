"""What one kernel computes: epilogues of generated code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.backends.gpu.helpers import WINDOW, Net, check_emitted, checked, kinds
from tetrapla.backends.gpu.bounds.verdict import integer
from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.target_ import Lowered
from tetrapla.ir.graph import Attribute
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu.steps import Apply
from tetrapla.simulators.gpu.values import values

GENERATE = settings(phases=(Phase.generate,), max_examples=25, deadline=None)


def perceptron(net: Net, approximate: str) -> Module:
    """Two layers with GELU, around which x passes."""
    x = net.input("x", 2, 7, 20)
    h = net.op("nn.gelu", net.linear(x, "up", 20, 40), approximate=approximate)
    return net.finish(y=net.op("nn.add", x, net.linear(h, "down", 40, 20)))


def gated(net: Net) -> Module:
    """SiLU of one product times another, as in LLaMA."""
    x = net.input("x", 5, 24)
    gate, up = net.linear(x, "gate", 24, 33), net.linear(x, "up", 24, 33)
    sigmoid = net.op("nn.sigmoid", gate)
    return net.finish(y=net.op("nn.mul", net.op("nn.mul", gate, sigmoid), up))


def residual(net: Net) -> Module:
    """A block of ResNet: what skips is a convolution that comes later in the module."""
    x = net.input("x", 2, 3, 6, 5)
    a = net.op("nn.relu", net.conv(x, "first", 7))
    b, skip = net.conv(a, "second", 7), net.conv(x, "skip", 7)
    return net.finish(y=net.op("nn.relu", net.op("nn.add", b, skip)))


def clipped(net: Net) -> Module:
    """Scale, mask and clip behind a product of three axes, read through a reshape."""
    x, mask = net.input("x", 3, 4, 10), net.input("mask", 4, 6)
    y = net.op("nn.reshape", net.linear(x, "fc", 10, 6), shape=(1, 3, 4, 6))
    y = net.op("nn.add", net.op("nn.mul", y, net.weight("scale", 1)), mask)
    return net.finish(y=net.op("nn.clip", y, low=-0.5, high=0.75))


def normed(net: Net) -> Module:
    """A reduction takes what follows it too, and what feeds it."""
    x = net.input("x", 2, 6, 4, 3)
    y = net.op(
        "nn.group_norm", x, net.weight("g", 6), net.weight("h", 6), groups=3, epsilon=1e-5
    )
    return net.finish(y=net.op("nn.silu", y))


MADE: list[tuple[Callable[[Net], Module], list[str]]] = [
    (lambda net: perceptron(net, "none"), ["MatMul Bias Apply", "MatMul Bias Apply"]),
    (lambda net: perceptron(net, "tanh"), ["MatMul Bias Apply", "MatMul Bias Apply"]),
    (gated, ["MatMul Bias", "MatMul Bias Apply"]),
    (residual, ["Conv Bias Relu", "Conv Bias", "Conv Bias Apply"]),
    (clipped, ["MatMul Bias Apply"]),
    (normed, ["Expression"]),
]


@pytest.mark.parametrize("number_format", ["fp16", "fp32"])
@pytest.mark.parametrize(("made", "wanted"), MADE)
def test_what_follows_is_computed_where_it_is_made(
    made: Callable[[Net], Module], wanted: list[str], number_format: str
) -> None:
    net = Net()
    module = made(net)
    program = checked(module, net.inputs, number_format)
    assert sorted(kinds(program)) == sorted(wanted)


@pytest.mark.parametrize(("made", "wanted"), MADE)
def test_the_emitted_epilogue_computes_the_same(
    made: Callable[[Net], Module], wanted: list[str]
) -> None:
    net = Net()
    module = made(net)
    check_emitted(module, plan(module, "fp16"), net.inputs)


def integer_block(net: Net) -> Module:
    """An int8 residual block: requantise, then a sum with what skips."""
    x = net.build.input("x", (1, 4, 5, 5), "i8")
    net.inputs["x"] = net.rng.integers(-128, 128, (3, 1, 4, 5, 5), np.int8)
    w = net.build.weight("w", net.rng.integers(-127, 128, (4, 4, 3, 3), np.int8))
    scale = net.build.weight("s", net.rng.uniform(0.0005, 0.002, 4).astype(np.float32))
    zeros: dict[str, Attribute] = {"x_zero_point": 3, "w_zero_point": 0}
    window = {name: value for name, value in WINDOW.items() if name != "activation"}
    acc = net.build.op("qnn.conv2d", [x, w], {**window, **zeros})
    integers: dict[str, Attribute] = {"zero_point": -5, "low": -128, "high": 127, "axis": 1}
    y = net.op("qnn.requantize", acc, scale, dtype="i8", **integers)
    terms: dict[str, Attribute] = {"a_zero_point": -5, "b_zero_point": 3, "y_zero_point": 7}
    y = net.op("qnn.add", y, x, a_scale=0.03, b_scale=0.05, y_scale=0.06, **terms)
    return net.finish(y=net.op("nn.relu", y))


def test_an_integer_residual_is_bit_exact() -> None:
    net = Net()
    module = integer_block(net)
    program = checked(module, net.inputs, "int8")
    assert kinds(program) == ["Conv Requantize Apply"]
    assert integer(Lowered(module, program))
    wanted = evaluate_many(module, net.inputs)["y"]
    assert np.array_equal(values(program, net.inputs)["y"], wanted)
    check_emitted(module, program, net.inputs)


def test_what_is_read_from_outside_is_stored() -> None:
    net = Net()
    x = net.input("x", 4, 9)
    h = net.linear(x, "fc", 9, 12)
    # the tanh is an output, and the softmax reads the product itself
    module = net.finish(t=net.op("nn.tanh", h), s=net.op("nn.softmax", h, axis=-1))
    program = checked(module, net.inputs, "fp32")
    assert kinds(program) == ["MatMul Bias", "Expression", "Softmax"]


def test_an_epilogue_counts_what_it_reads_and_computes() -> None:
    net = Net()
    program = plan(perceptron(net, "none"), "fp32")
    up, down = program.kernels
    assert down.reads == ("gelu", "down.w", "down.b", "x")
    (apply,) = (step for step in up.steps if isinstance(step, Apply))
    # the root's reciprocal, erf, half, one more, product
    assert apply.operations == 5


UNARY = ("relu", "tanh", "sigmoid", "silu", "softplus", "neg", "abs", "hard_swish")
BINARY = ("add", "sub", "mul", "maximum", "minimum")
SIDES = ((4, 6), (1, 6), (4, 1), (1, 1, 4, 6), (1,))


@GENERATE
@given(
    chain=st.lists(st.sampled_from((*UNARY, *BINARY)), min_size=1, max_size=6),
    side=st.sampled_from(SIDES),
    again=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_chain_behind_a_product_is_one_kernel(
    chain: list[str], side: tuple[int, ...], again: bool, seed: int
) -> None:
    net = Net(seed)
    y = first = net.linear(net.input("x", 4, 10), "fc", 10, 6)
    for i, name in enumerate(chain):
        others = [] if name in UNARY else [net.input(f"x{i}", *side)]
        y = net.op(f"nn.{name}", y, *others)
    if again:
        y = net.op("nn.add", y, first)
    module = net.finish(y=y)
    program = checked(module, net.inputs, "fp32")
    assert len(program.kernels) == 1
