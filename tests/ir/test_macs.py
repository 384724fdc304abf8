"""Multiply-accumulates: products of ones, so that the sum of the result counts them."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Attribute
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS, flops, macs

EXACT: dict[str, Attribute] = {"strides": (2, 1), "pads": (0, 0, 0, 0), "dilations": (1, 2)}


def _product(
    kind: str, integer: bool, shapes: list[tuple[int, ...]], **own: Attribute
) -> Module:
    build = ModuleBuilder("m")
    dtype = "i8" if integer else "f32"
    values = [build.input(f"in{i}", shape, dtype) for i, shape in enumerate(shapes)]
    more = {"x_zero_point": 0, "w_zero_point": 0} if integer else {"activation": "none"}
    build.output("y", build.op(f"{'qnn' if integer else 'nn'}.{kind}", values, {**own, **more}))
    return build.finish()


@pytest.mark.parametrize("integer", [False, True])
@pytest.mark.parametrize(
    ("kind", "shapes", "own"),
    [
        ("matmul", [(4, 8), (8, 3)], {}),
        ("matmul", [(2, 1, 4, 8), (5, 8, 3)], {}),
        ("conv2d", [(1, 3, 7, 9), (4, 3, 3, 2)], {**EXACT, "groups": 1}),
        ("conv2d", [(2, 4, 7, 9), (6, 2, 3, 2)], {**EXACT, "groups": 2}),
        ("conv2d", [(1, 4, 5, 5), (4, 1, 3, 3)], {**EXACT, "groups": 4}),
    ],
)
def test_ones_are_counted(
    integer: bool, kind: str, shapes: list[tuple[int, ...]], own: dict[str, Attribute]
) -> None:
    module = _product(kind, integer, shapes, **own)
    dtype = np.int8 if integer else np.float32
    ones = {name: np.ones(value.shape, dtype) for name, value in module.inputs.items()}
    assert macs(module.graph.nodes) == int(evaluate(module, ones)["y"].sum())


def test_padding_counts() -> None:
    own = {**EXACT, "strides": (1, 1), "dilations": (1, 1), "pads": (1, 1, 1, 1), "groups": 1}
    module = _product("conv2d", False, [(1, 2, 4, 4), (3, 2, 3, 3)], **own)
    assert macs(module.graph.nodes) == 3 * 4 * 4 * 2 * 3 * 3


def test_only_products_have_any_and_spikes_have_no_count() -> None:
    some, unknown = set[str](), set[str]()
    for kind, op in OPS.items():
        if op.example is not None:
            types, attributes = op.example
            build = ModuleBuilder("m")
            values = [build.input(f"in{i}", t.shape, t.dtype) for i, t in enumerate(types)]
            build.output("y", build.ops(kind, values, attributes)[0])
            count = macs(build.finish().graph.nodes)
            if count is None:
                unknown.add(kind)
            elif count:
                some.add(kind)
    products = {"matmul", "conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d"}
    layers = {"attention", "lstm", "gru", "rnn"}
    assert {kind for kind in some if kind.startswith("nn.")} == {
        f"nn.{name}" for name in products | layers
    }
    assert {"qnn.matmul", "qnn.conv2d"} <= {kind for kind in some if kind.startswith("qnn.")}
    synapses = ("matmul", "conv2d", "sum_pool2d", "scale", "sparse")
    assert unknown == {f"spike.{name}" for name in synapses}


@pytest.mark.parametrize(
    ("kind", "own", "shapes", "count"),
    [
        ("nn.reshape", {"shape": (12,)}, [(3, 4)], 0),
        ("nn.gather", {"axis": 0}, [(3, 4), (2,)], 0),
        ("nn.add", {}, [(3, 4), (4,)], 12),
        ("nn.reduce_sum", {"axes": (1,), "keepdims": 0}, [(3, 4)], 12),
        ("nn.reduce_l2", {"axes": (1,), "keepdims": 0}, [(3, 4)], 24),
        ("nn.arg_max", {"axis": 1, "keepdims": 0}, [(3, 4)], 12),
        ("nn.softmax", {"axis": 1}, [(3, 4)], 60),
        ("nn.batch_norm", {"epsilon": 0.1}, [(2, 3, 4), *[(3,)] * 4], 72),
        ("nn.layer_norm", {"axis": 1, "epsilon": 0.1}, [(3, 4), (4,), (4,)], 84),
        # 3 * 5 * 4 products with sums, and 3 * 5 results to which an activation may come
        ("nn.matmul", {"activation": "none"}, [(3, 4), (4, 5)], 2 * 60 + 15),
        # and a residual
        (
            "nn.matmul",
            {"activation": "silu"},
            [(3, 4), (4, 5), (5,), (3, 5)],
            2 * 60 + 2 * 15,
        ),
        # 4 windows of 2 * 2 taps in each of 3 channels
        (
            "nn.max_pool2d",
            {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0), "dilations": (1, 1)},
            [(1, 3, 4, 4)],
            3 * 4 * 4,
        ),
        # 2 of 3 values are turned, in 2 * 4 rows: 4 products and 2 sums for the pair
        ("nn.rotary_embedding", {"interleaved": 0}, [(2, 4, 3), (4, 1), (4, 1)], 8 * 6),
    ],
)
def test_operations_by_hand(
    kind: str, own: dict[str, Attribute], shapes: list[tuple[int, ...]], count: int
) -> None:
    build = ModuleBuilder("m")
    values = [
        build.input(f"in{i}", shape, "i64" if kind == "nn.gather" and i else "f32")
        for i, shape in enumerate(shapes)
    ]
    build.output("y", build.op(kind, values, own))
    assert flops(build.finish().graph.nodes) == count
