"""Every value of every axis compiles for all four machines, and each prices it."""

from __future__ import annotations

import pytest

from tetrapla.architecture.oracle import oracle
from tetrapla.datasets import load_data
from tetrapla.frontend.zoo.digits import (
    BITS,
    DEPTHS,
    HIDDEN,
    KERNELS,
    STRIDES,
    WIDTHS,
    parse,
)
from tetrapla.settings import Settings

# few shapes that hold every value of every axis between them
SHAPES = (
    *("h0-b8", "c4k1-h16-b4", "c6k3s2p-c8k5-h32-b8", "c12k1p-c16k3s2-c4k5-h64-b8"),
    "c24k5s2p-c32k1s2-h128-b4",
)


def test_the_shapes_hold_every_value() -> None:
    shapes = [parse(label) for label in SHAPES]
    convs = [conv for shape in shapes for conv in shape.convs]
    assert {len(shape.convs) for shape in shapes} == set(DEPTHS)
    assert {shape.hidden for shape in shapes} == set(HIDDEN)
    assert {shape.weight_bits for shape in shapes} == set(BITS)
    assert {conv.width for conv in convs} == set(WIDTHS)
    assert {conv.kernel for conv in convs} == set(KERNELS)
    assert {conv.stride for conv in convs} == set(STRIDES)
    assert {conv.pools for conv in convs} == {False, True}


@pytest.mark.parametrize("target", ["tpu-v1", "h100", "loihi", "isaac"])
@pytest.mark.parametrize("label", SHAPES)
def test_every_machine_prices_it(label: str, target: str) -> None:
    data, shape = load_data("digits"), parse(label)
    some = data.x[data.train][:8]
    held = oracle(target, "energy", Settings())
    cost = held.cost(shape.module(), shape.weight_bits, some)
    # between a nanojoule and a joule: it is a number of picojoules
    assert 1e3 < cost < 1e12
