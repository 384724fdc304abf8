"""Pools, attention in tiles and gathers: what each pass rewrites, and what must stay."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.forms import Form, conv, kinds, made, rewritten
from tests.passes.random_graphs import Draft
from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Attribute, Value
from tetrapla.passes.fuse_pool import FusePool
from tetrapla.passes.slice_gathers import SliceGathers
from tetrapla.passes.tile_attention import TileAttention


def _average(draft: Draft, x: Value, kernel: int, stride: int, pad: int = 0) -> Value:
    window: dict[str, Attribute] = {"kernel": (kernel,) * 2, "strides": (stride,) * 2}
    return draft.op("average_pool2d", x, **window, pads=(pad,) * 4, count_include_pad=1)


@pytest.mark.parametrize(
    ("kernel", "strides", "pads", "pool", "size", "wide"),
    [
        (3, (1, 1), (1, 1, 1, 1), 2, 8, 4),
        (3, (2, 2), (1, 0, 1, 1), 2, 13, 5),
        (1, (1, 1), (0, 0, 0, 0), 3, 9, 3),
    ],
)
def test_an_average_pool_joins_the_convolution(
    kernel: int,
    strides: tuple[int, int],
    pads: tuple[int, ...],
    pool: int,
    size: int,
    wide: int,
) -> None:
    def form(draft: Draft, x: Value) -> Value:
        y = conv(draft, x, 4, kernel, strides=strides, pads=pads)
        return _average(draft, y, pool, pool)

    found = rewritten(FusePool(), made(form, (1, 2, size, size)))
    (node,) = found.graph.nodes
    assert node.operands[1].shape == (4, 2, wide, wide)
    assert node.ints("strides") == (strides[0] * pool, strides[1] * pool)


def _padded(draft: Draft, x: Value) -> Value:
    return _average(draft, conv(draft, x, 4, 3), 3, 3, pad=1)


def _dilated(draft: Draft, x: Value) -> Value:
    return _average(draft, conv(draft, x, 4, 3, dilations=(2, 2)), 2, 2)


def _activated(draft: Draft, x: Value) -> Value:
    return _average(draft, conv(draft, x, 4, 3, activation="relu"), 2, 2)


def _more_products(draft: Draft, x: Value) -> Value:
    # 5 x 5 for each output in place of 3 x 3
    return _average(draft, conv(draft, x, 4, 3), 3, 1)


@pytest.mark.parametrize("form", [_padded, _dilated, _activated, _more_products])
def test_an_average_pool_stays_where_it_is_no_convolution_or_a_dearer_one(form: Form) -> None:
    module = made(form, (1, 2, 10, 10))
    assert FusePool()(module) is module


@pytest.mark.parametrize(("block", "expected"), [(2, 2), (4, 4), (5, 0), (64, 0)])
def test_an_attention_of_few_keys_keeps_the_plain_form(block: int, expected: int) -> None:
    def form(draft: Draft, x: Value) -> Value:
        attributes: dict[str, Attribute] = {"scale": 0.5, "causal": 0, "causal_offset": 0}
        return draft.op("attention", x, x, x, **attributes, masked_rows="nan", block=0)

    found = rewritten(TileAttention(block=block), made(form, (2, 5, 4)))
    assert found.graph.nodes[0].int("block") == expected
    assert TileAttention(block=0)(found).graph.nodes[0].int("block") == 0


def test_a_tile_of_no_keys_is_refused() -> None:
    with pytest.raises(SpecError) as caught:
        TileAttention(block=-1)
    assert str(caught.value) == (
        "block must be 0 or more keys, not -1; give 0 for the plain form"
    )


@pytest.mark.parametrize(
    ("indices", "names", "starts", "steps"),
    [
        (2, ["slice", "reshape"], (0, 2, 0), (1, 1, 1)),
        (-1, ["slice", "reshape"], (0, 4, 0), (1, 1, 1)),
        ([1], ["slice"], (0, 1, 0), (1, 1, 1)),
        ([0, 2, 4], ["slice"], (0, 0, 0), (1, 2, 1)),
        ([3, 2, 1], ["slice"], (0, 3, 0), (1, -1, 1)),
        ([0, -4], ["slice"], (0, 0, 0), (1, 1, 1)),
    ],
)
def test_a_gather_of_even_places_is_a_slice(
    indices: int | list[int], names: list[str], starts: tuple[int, ...], steps: tuple[int, ...]
) -> None:
    def form(draft: Draft, x: Value) -> Value:
        return draft.op("gather", x, draft.build.weight("i", np.array(indices)), axis=1)

    found = rewritten(SliceGathers(), made(form, (2, 5, 3)))
    assert kinds(found) == names
    node = found.graph.nodes[0]
    assert (node.ints("starts"), node.ints("steps")) == (starts, steps)


@pytest.mark.parametrize("indices", [[0, 1, 3], [1, 1], [[0, 1]], [4, 9]])
def test_a_gather_of_other_places_stays(indices: list[int]) -> None:
    def form(draft: Draft, x: Value) -> Value:
        return draft.op("gather", x, draft.build.weight("i", np.array(indices)), axis=-2)

    module = made(form, (2, 5, 3))
    assert SliceGathers()(module) is module


@pytest.mark.parametrize(("seen", "names"), [(False, []), (True, ["relu"])])
def test_a_relu_behind_a_max_pool_joins_the_convolution(seen: bool, names: list[str]) -> None:
    def form(draft: Draft, x: Value) -> Value:
        y = conv(draft, x, 4, 3)
        window: dict[str, Attribute] = {"kernel": (2, 2), "strides": (2, 2)}
        y = draft.op("max_pool2d", y, **window, pads=(1, 0, 1, 0), dilations=(1, 1))
        if seen:
            draft.build.output("pooled", y)
        return draft.op("relu", y)

    found = rewritten(FusePool(), made(form, (1, 2, 8, 8)))
    assert kinds(found) == ["conv2d", "max_pool2d", *names]
    assert found.graph.nodes[0].str("activation") == ("none" if seen else "relu")
