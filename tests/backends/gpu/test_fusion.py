"""What one kernel computes: epilogues of generated code, and moves that cost nothing."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tetrapla.backends.gpu.bounds.verdict import integer, judged
from tetrapla.backends.gpu.check import run_interpreted
from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.gpu.triton.functions import functions
from tetrapla.backends.target_ import Lowered
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Attribute, Value
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu.kernels import MatMul
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.steps import Apply
from tetrapla.simulators.gpu.values import executed, values

PLAIN: dict[str, Attribute] = {"activation": "none"}
WINDOW: dict[str, Attribute] = {
    "strides": (1, 1),
    "pads": (1, 1, 1, 1),
    "dilations": (1, 1),
    "groups": 1,
    "activation": "none",
}
GENERATE = settings(phases=(Phase.generate,), max_examples=25, deadline=None)


class Net:
    """A module in the making, with weights and inputs drawn as it goes."""

    def __init__(self, seed: int = 0) -> None:
        self.build = ModuleBuilder("net")
        self.rng = np.random.default_rng(seed)
        self.inputs: dict[str, Array] = {}

    def input(self, name: str, *shape: int) -> Value:
        self.inputs[name] = self.rng.normal(size=(3, *shape)).astype(np.float32)
        return self.build.input(name, shape)

    def weight(self, name: str, *shape: int) -> Value:
        array = self.rng.normal(size=shape) / np.sqrt(shape[0] if len(shape) > 1 else 1)
        return self.build.weight(name, array.astype(np.float32))

    def op(self, kind: str, *operands: Value, **attributes: Attribute) -> Value:
        return self.build.op(kind, list(operands), attributes)

    def linear(self, x: Value, name: str, k: int, n: int) -> Value:
        operands = [x, self.weight(f"{name}.w", k, n), self.weight(f"{name}.b", n)]
        return self.build.op("nn.matmul", operands, PLAIN, name)

    def conv(self, x: Value, name: str, filters: int) -> Value:
        w = self.weight(f"{name}.w", filters, x.shape[1], 3, 3)
        operands = [x, w, self.weight(f"{name}.b", filters)]
        return self.build.op("nn.conv2d", operands, WINDOW, name)

    def finish(self, **outputs: Value) -> Module:
        for name, value in outputs.items():
            self.build.output(name, value)
        return self.build.finish()


def kinds(program: Program) -> list[str]:
    """Kernels and their steps, in order."""
    return [
        " ".join([type(k).__name__, *(type(step).__name__ for step in k.steps)])
        for k in program.kernels
    ]


def check(module: Module, inputs: dict[str, Array], number_format: str) -> Program:
    """The plan, which agrees with the reference and survives JSON."""
    program = plan(module, number_format)
    assert Program.from_dict(json.loads(json.dumps(program.to_dict()))) == program
    reference = evaluate_many(module, inputs)
    verdict = judged(Lowered(module, program), inputs, executed(program, inputs), reference)
    assert verdict.passed, verdict
    return program


def emitted(module: Module, program: Program, inputs: dict[str, Array]) -> None:
    """The kernels' text computes the same, within the same bound."""
    pytest.importorskip("triton", reason="the emitted kernels run under Triton's interpreter")
    held = run_interpreted(program, inputs)
    assert held is not None
    reference = evaluate_many(module, inputs)
    verdict = judged(Lowered(module, program), inputs, held, reference)
    assert verdict.passed, verdict


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
    program = check(module, net.inputs, number_format)
    assert sorted(kinds(program)) == sorted(wanted)


@pytest.mark.parametrize(("made", "wanted"), MADE)
def test_the_emitted_epilogue_computes_the_same(
    made: Callable[[Net], Module], wanted: list[str]
) -> None:
    net = Net()
    module = made(net)
    emitted(module, plan(module, "fp16"), net.inputs)


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
    program = check(module, net.inputs, "int8")
    assert kinds(program) == ["Conv Requantize Apply"]
    assert integer(Lowered(module, program))
    wanted = evaluate_many(module, net.inputs)["y"]
    assert np.array_equal(values(program, net.inputs)["y"], wanted)
    emitted(module, program, net.inputs)


def test_what_is_read_from_outside_is_stored() -> None:
    net = Net()
    x = net.input("x", 4, 9)
    h = net.linear(x, "fc", 9, 12)
    # the tanh is an output, and the softmax reads the product itself
    module = net.finish(t=net.op("nn.tanh", h), s=net.op("nn.softmax", h, axis=-1))
    program = check(module, net.inputs, "fp32")
    assert kinds(program) == ["MatMul Bias", "Expression", "Softmax"]


def test_an_epilogue_counts_what_it_reads_and_computes() -> None:
    net = Net()
    program = plan(perceptron(net, "none"), "fp32")
    up, down = program.kernels
    assert down.reads == ("gelu", "down.w", "down.b", "x")
    (apply,) = (step for step in up.steps if isinstance(step, Apply))
    # the root's reciprocal, erf, half, one more, product
    assert apply.operations == 5


PERMS = st.permutations(range(4))


@GENERATE
@given(
    shape=st.lists(st.integers(1, 5), min_size=4, max_size=4),
    first=PERMS,
    second=PERMS,
    last=PERMS,
    k=st.integers(1, 20),
    seed=st.integers(0, 1000),
)
def test_moves_around_a_product_change_no_bit(
    shape: list[int], first: list[int], second: list[int], last: list[int], k: int, seed: int
) -> None:
    p, q, m, n = shape
    net = Net(seed)
    own: list[tuple[int, ...]] = [(p, q, m, k), (p, q, k, n)]
    perms = [list(first), list(second)]
    given_shapes = [
        tuple(s[perm.index(i)] for i in range(4)) for s, perm in zip(own, perms, strict=True)
    ]
    module = _product(net, given_shapes, perms, list(last))
    program = plan(module, "fp32")
    plain = Net(seed)
    unmoved = _product(plain, own, [[0, 1, 2, 3]] * 2, [0, 1, 2, 3])
    turned = {
        name: net.inputs[name].transpose(0, *(axis + 1 for axis in perm))
        for name, perm in zip("ab", perms, strict=True)
    }
    y = values(plan(unmoved, "fp32"), turned)["y"]
    found = values(program, net.inputs)["y"]
    assert np.array_equal(found, y.transpose(0, *(axis + 1 for axis in last)))
    assert [type(kernel) for kernel in program.kernels] == [MatMul]


def _product(
    net: Net, shapes: list[tuple[int, ...]], perms: list[list[int]], last: list[int]
) -> Module:
    a, b = (
        net.op("nn.transpose", net.input(name, *shape), perm=tuple(perm))
        for name, shape, perm in zip("ab", shapes, perms, strict=True)
    )
    y = net.build.op("nn.matmul", [a, b], PLAIN, "product")
    # as an output it has a buffer of its own, in which the transpose is the order
    return net.finish(y=net.op("nn.transpose", y, perm=tuple(last)))


def heads(net: Net) -> Module:
    """Queries, keys and values from one product, split and merged as transformers do."""
    x = net.input("x", 2, 5, 12)
    joint = net.op("nn.reshape", net.linear(x, "qkv", 12, 36), shape=(2, 5, 3, 4, 3))
    parts = []
    for i in range(3):
        starts, sizes = (0, 0, i, 0, 0), (2, 5, 1, 4, 3)
        part = net.op("nn.slice", joint, starts=starts, sizes=sizes, steps=(1,) * 5)
        part = net.op("nn.reshape", part, shape=(2, 5, 4, 3))
        parts.append(net.op("nn.transpose", part, perm=(0, 2, 1, 3)))
    q, k, v = parts
    scores = net.build.op(
        "nn.matmul", [q, net.op("nn.transpose", k, perm=(0, 1, 3, 2))], PLAIN, "scores"
    )
    weights = net.op("nn.softmax", net.op("nn.mul", scores, net.weight("scale", 1)), axis=-1)
    mixed = net.build.op("nn.matmul", [weights, v], PLAIN, "mix")
    merged = net.op("nn.transpose", mixed, perm=(0, 2, 1, 3))
    merged = net.op("nn.reshape", merged, shape=(2, 5, 12))
    return net.finish(y=net.op("nn.add", x, net.linear(merged, "out", 12, 12)))


@pytest.mark.parametrize("number_format", ["fp16", "fp32"])
def test_splitting_and_merging_heads_costs_no_kernel(number_format: str) -> None:
    net = Net()
    module = heads(net)
    program = check(module, net.inputs, number_format)
    assert kinds(program) == [
        "MatMul Bias",
        "MatMul",
        "Expression",
        "MatMul",
        "MatMul Bias Apply",
    ]
    emitted(module, program, net.inputs)


def test_a_convolution_writes_pixels_above_channels() -> None:
    net = Net()
    x = net.input("x", 2, 3, 6, 5)
    y = net.op("nn.reshape", net.op("nn.silu", net.conv(x, "conv", 8)), shape=(2, 8, 30))
    y = net.op("nn.transpose", y, perm=(0, 2, 1))
    normal = net.op("nn.layer_norm", y, net.weight("g", 8), axis=-1, epsilon=1e-5)
    module = net.finish(y=net.op("nn.add", y, normal))
    program = check(module, net.inputs, "fp16")
    assert kinds(program) == ["Conv Bias Apply", "Expression"]
    assert [b.shape for b in program.buffers if b.role == "scratch"] == [(2, 30, 8)]
    emitted(module, program, net.inputs)


def logits(words: int) -> Program:
    build = ModuleBuilder("logits")
    x = build.input("x", (65536, 64))
    w = build.shape_of_weight("w", (64, words), "f32")
    build.output("y", build.op("nn.matmul", [x, w], PLAIN))
    return plan(build.finish(), "fp16")


@pytest.mark.parametrize(("words", "wide"), [(32768, True), (32640, False)])
def test_addresses_are_wide_where_a_buffer_needs_it(words: int, wide: bool) -> None:
    # 2^31 elements, of which the last tile's places reach further; and 2^23 fewer
    ((function,), _) = functions(logits(words))
    assert (".to(tl.int64)" in function.text) == wide


def test_neighbours_of_a_large_product_share_what_they_read() -> None:
    # 10 x 3 tiles: a group of 8 rows of tiles, then one of 2
    net = Net()
    x = net.input("x", 1200, 16)
    module = net.finish(y=net.linear(x, "fc", 16, 300))
    program = plan(module, "fp16")
    assert program.kernels[0].grid == (10, 3, 1)  # type: ignore[attr-defined]
    ((function,), _) = functions(program)
    assert "first = place // 24 * 8" in function.text
    emitted(module, program, {"x": net.inputs["x"][:1]})


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
    program = check(module, net.inputs, "fp32")
    assert len(program.kernels) == 1


def block(net: Net) -> Module:
    """A block of ConvNeXt: a sum with what skips behind a transpose, then a downsampling."""
    x = net.input("x", 2, 6, 4, 4)
    stem = net.conv(x, "stem", 6)
    y = net.op("nn.transpose", net.conv(stem, "mix", 6), perm=(0, 2, 3, 1))
    y = net.op("nn.layer_norm", y, net.weight("g", 6), axis=-1, epsilon=1e-5)
    y = net.op("nn.gelu", net.linear(y, "up", 6, 24), approximate="none")
    y = net.op("nn.mul", net.linear(y, "down", 24, 6), net.weight("gamma", 6))
    y = net.op("nn.add", stem, net.op("nn.transpose", y, perm=(0, 3, 1, 2)))
    z = net.op("nn.transpose", y, perm=(0, 2, 3, 1))
    z = net.op("nn.layer_norm", z, net.weight("h", 6), axis=-1, epsilon=1e-5)
    z = net.conv(net.op("nn.transpose", z, perm=(0, 3, 1, 2)), "half", 9)
    return net.finish(y=z)


@pytest.mark.parametrize("number_format", ["fp16", "fp32"])
def test_sums_and_convolutions_reach_through_transposes(number_format: str) -> None:
    net = Net()
    module = block(net)
    program = check(module, net.inputs, number_format)
    assert kinds(program) == [
        "Conv Bias",
        "Conv Bias",
        "Expression",
        "MatMul Bias Apply",
        "MatMul Bias Apply",
        "Expression",
        "Conv Bias",
    ]
    emitted(module, program, net.inputs)
