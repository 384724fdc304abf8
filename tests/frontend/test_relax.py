"""Regions of a Relax graph, told as plain data, as modules; TVM is not needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tetrapla
from tetrapla.frontend.relax.calls import (
    Call,
    Composite,
    Const,
    Listed,
    Numbers,
    Operand,
    Ref,
    Region,
    Setting,
    Type,
    Unknown,
    kind_of,
)
from tetrapla.frontend.relax.importer import module_of, refusal
from tetrapla.frontend.relax.operators import OPERATORS

Array = np.ndarray[Any, Any]
X = Ref(0, Type((1, 2, 5, 6), "float32"))
POOL: dict[str, Setting] = {
    "pool_size": (2, 2),
    "strides": (1, 1),
    "dilation": (1, 1),
    "padding": (0, 0, 1, 1),
    "ceil_mode": 0,
    "count_include_pad": 0,
    "layout": "NCHW",
    "out_layout": "NCHW",
}
CONV: dict[str, Setting] = {
    "strides": (1, 1),
    "padding": (1, 1, 1, 1),
    "dilation": (1, 1),
    "groups": 1,
    "data_layout": "NCHW",
    "kernel_layout": "OIHW",
    "out_layout": "NCHW",
    "out_dtype": None,
}


def made(
    op: str, operands: tuple[Operand, ...], shape: tuple[int, ...], **held: Setting
) -> Call:
    """A call of one float32 result."""
    return Call(op, operands, (Ref(9, Type(shape, "float32")),), held)


def value(call: Call, **inputs: Array) -> Array:
    """What a region of one call computes."""
    every = [*call.operands]
    for each in call.operands:
        every += each.items if isinstance(each, Listed) else []
    refs = {each.index: each for each in every if isinstance(each, Ref)}
    region = Region("alone", tuple(refs.values()), (Composite("p", (call,)),), call.results)
    return tetrapla.evaluate(module_of(region), inputs)["out0"]


def test_a_bias_that_a_pattern_matched_goes_into_the_convolution() -> None:
    """As in a module that is read from ONNX, so that both quantise alike."""
    rng = np.random.default_rng(0)
    w, b = rng.standard_normal((3, 2, 3, 3)), rng.standard_normal((1, 3, 1, 1))
    y = Ref(1, Type((1, 3, 5, 6), "float32"))
    z, r = (Ref(i, y.type) for i in (2, 3))
    calls = (
        Call("nn.conv2d", (X, Const(w.astype(np.float32))), (y,), CONV),
        Call("add", (y, Const(b.astype(np.float32))), (z,)),
        Call("nn.relu", (z,), (r,)),
    )
    region = Region("r", (X,), (Composite("tetrapla.conv2d_add_relu", calls),), (r,))
    nodes = module_of(region).graph.nodes
    assert [node.kind for node in nodes] == ["nn.conv2d", "nn.relu"]
    assert [operand.shape for operand in nodes[0].operands] == [
        *((1, 2, 5, 6), (3, 2, 3, 3), (3,))
    ]


def test_a_sum_that_is_no_bias_stays_a_sum() -> None:
    y = Ref(1, Type((1, 3, 5, 6), "float32"))
    z = Ref(2, y.type)
    w, image = np.ones((3, 2, 3, 3), np.float32), np.ones((1, 1, 5, 6), np.float32)
    calls = (
        Call("nn.conv2d", (X, Const(w)), (y,), CONV),
        Call("add", (y, Const(image)), (z,)),
    )
    region = Region("r", (X,), (Composite("tetrapla.conv2d_add", calls),), (z,))
    assert [n.kind for n in module_of(region).graph.nodes] == ["nn.conv2d", "nn.add"]


CASES: list[tuple[Call, Callable[[Array], Array]]] = [
    (made("nn.relu", (X,), X.type.shape), lambda x: np.maximum(x, 0)),
    (made("mean", (X,), (1, 2), axis=(2, 3), keepdims=0), lambda x: x.mean((2, 3))),
    (
        made("sum", (X,), (1, 2, 1, 6), axis=(2,), keepdims=1),
        lambda x: x.sum(2, keepdims=True),
    ),
    (made("squeeze", (X,), (2, 5, 6), axis=(0,)), lambda x: x[0]),
    (
        made("permute_dims", (X,), (6, 5, 2, 1), axes=None),
        lambda x: x.transpose(3, 2, 1, 0),
    ),
    (
        made("strided_slice", (X, *(Numbers((n,)) for n in (3, 1, 5, 2))), (1, 2, 5, 2)),
        lambda x: x[..., 1:5:2],
    ),
    (
        made("clip", (X, Numbers((-0.5,)), Numbers((0.25,))), X.type.shape),
        lambda x: np.clip(x, -0.5, 0.25),
    ),
    (
        made(
            *("nn.pad", (X,), (1, 2, 6, 9)),
            pad_width=(0, 0, 0, 0, 1, 0, 2, 1),
            pad_value=3.0,
            pad_mode="constant",
        ),
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 0), (2, 1)), constant_values=3),
    ),
    (
        made("concat", (Listed((X, X)),), (1, 4, 5, 6), axis=1),
        lambda x: np.tile(x, (1, 2, 1, 1)),
    ),
    (
        made("nn.max_pool2d", (X,), (1, 2, 5, 6), **POOL),
        lambda x: np.lib.stride_tricks.sliding_window_view(
            np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=-9), (2, 2), (2, 3)
        ).max((4, 5)),
    ),
]


@pytest.mark.parametrize(("call", "wanted"), CASES, ids=[call.op for call, _ in CASES])
def test_a_call_computes_what_relax_says(call: Call, wanted: Callable[[Array], Array]) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, X.type.shape).astype(np.float32)
    assert refusal(call) is None
    np.testing.assert_allclose(value(call, in0=x), wanted(x), rtol=2e-7 * 12)  # <= 30 terms


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (made("cumsum", (X,), X.type.shape), "it has no counterpart here"),
        (
            made("nn.max_pool2d", (X,), X.type.shape, **{**POOL, "layout": "NHWC"}),
            "layout is 'NHWC', and only 'NCHW' is translated",
        ),
        (
            made("nn.relu", (X,), (2, 2)),
            "its result is float32 of shape [2, 2] in TVM and float32 of shape [1, 2, 5, 6] "
            "here",
        ),
        (made("nn.relu", (Unknown("no tensor"),), (2, 2)), "an operand is no tensor"),
        (
            made("add", (X, Const(np.array([np.inf], np.float32))), X.type.shape),
            "a constant operand is infinite or NaN, which no machine computes with",
        ),
        (
            made("nn.relu", (Ref(0, Type((2,), "custom[posit]8")),), (2,)),
            "elements of custom[posit]8 have no type here",
        ),
    ],
)
def test_what_cannot_be_translated_has_a_reason(call: Call, said: str) -> None:
    assert refusal(call) == said


def test_calls_are_of_one_kind_whatever_their_constants_hold() -> None:
    ones, twos = (Const(np.full(6, n, np.float32)) for n in (1, 2))
    first, second = (made("add", (X, each), X.type.shape) for each in (ones, twos))
    assert kind_of(first) == kind_of(second)
    assert kind_of(first) != kind_of(made("add", (X, X), X.type.shape))


def test_the_table_names_operators_of_relax() -> None:
    assert len(OPERATORS) > 60
    assert not any(name.startswith("relax.") for name in OPERATORS)
