"""Moves around products that cost no kernel, and the addresses that they make."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.backends.gpu.helpers import PLAIN, Net, check_emitted, checked, kinds
from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.gpu.triton.functions import functions
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu.kernels import MatMul
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.values import values

GENERATE = settings(phases=(Phase.generate,), max_examples=25, deadline=None)
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
    program = checked(module, net.inputs, number_format)
    assert kinds(program) == [
        "MatMul Bias",
        "MatMul",
        "Expression",
        "MatMul",
        "MatMul Bias Apply",
    ]
    check_emitted(module, program, net.inputs)


def test_a_convolution_writes_pixels_above_channels() -> None:
    net = Net()
    x = net.input("x", 2, 3, 6, 5)
    y = net.op("nn.reshape", net.op("nn.silu", net.conv(x, "conv", 8)), shape=(2, 8, 30))
    y = net.op("nn.transpose", y, perm=(0, 2, 1))
    normal = net.op("nn.layer_norm", y, net.weight("g", 8), axis=-1, epsilon=1e-5)
    module = net.finish(y=net.op("nn.add", y, normal))
    program = checked(module, net.inputs, "fp16")
    assert kinds(program) == ["Conv Bias Apply", "Expression"]
    assert [b.shape for b in program.buffers if b.role == "scratch"] == [(2, 30, 8)]
    check_emitted(module, program, net.inputs)


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
    check_emitted(module, program, {"x": net.inputs["x"][:1]})


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
    program = checked(module, net.inputs, number_format)
    assert kinds(program) == [
        "Conv Bias",
        "Conv Bias",
        "Expression",
        "MatMul Bias Apply",
        "MatMul Bias Apply",
        "Expression",
        "Conv Bias",
    ]
    check_emitted(module, program, net.inputs)
