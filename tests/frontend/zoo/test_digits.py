"""The digits family: labels, axes, and what is none of it."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.architecture.moves import drawn, mutated
from tetrapla.frontend.zoo.digits import Conv, Shape, fits, parse
from tetrapla.ir.errors import ModelError
from tetrapla.ir.op import macs


def test_a_label_reads_back() -> None:
    shape = Shape((Conv(16, 3, 2), Conv(32, 5, 1, pools=True)), 64, 4)
    assert shape.label == "c16k3s2-c32k5p-h64-b4"
    assert parse(shape.label) == shape
    assert parse("h0-b8") == Shape((), 0, 8)


def test_the_shipped_networks_shape_has_its_products() -> None:
    # examples/README.md: 115,840
    assert macs(parse("c8k3-c16k3p-c16k3p-h0-b8").module().graph.nodes) == 115_840


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (
            "c16k3x-h0-b8",
            "a shape must be convolutions, a hidden width and bits, not 'c16k3x-h0-b8'; write "
            "c16k3s2-h32-b8",
        ),
        ("c5k3-h0-b8", "a convolution's width must be one of 4, 6, 8, 12, 16, 24, 32, not 5"),
        ("c4k2-h0-b8", "a convolution's kernel must be one of 1, 3, 5, not 2"),
        ("c4k3-h7-b8", "the hidden width must be one of 0, 16, 32, 64, 128, not 7"),
        ("c4k3-h0-b3", "the weights' bits must be one of 4, 8, not 3"),
        ("c4k1-" * 4 + "h0-b8", "the number of convolutions must be one of 0, 1, 2, 3, not 4"),
        (
            "c4k3s2p-c4k3s2p-h0-b8",
            "c4k3s2p-c4k3s2p-h0-b8 must leave a pixel of the 8 x 8 image, not halve it 4 "
            "times; take out strides or pools",
        ),
    ],
)
def test_what_is_none_of_the_family_is_refused(label: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse(label)
    assert str(caught.value) == message


def test_chance_stays_in_the_family_and_reaches_every_value() -> None:
    rng = np.random.default_rng(0)
    shapes = [drawn(rng) for _ in range(200)]
    walk = [shapes[0]]
    for _ in range(400):
        walk.append(mutated(walk[-1], rng))
        assert walk[-1] != walk[-2]
    for found in (shapes, walk):
        assert all(fits(shape.convs) and parse(shape.label) == shape for shape in found)
        convs = [conv for shape in found for conv in shape.convs]
        assert {len(shape.convs) for shape in found} == {0, 1, 2, 3}
        assert {conv.kernel for conv in convs} == {1, 3, 5}
        assert {(conv.stride, conv.pools) for conv in convs} == {
            *((1, False), (1, True), (2, False), (2, True)),
        }
        assert {conv.width for conv in convs} == {4, 6, 8, 12, 16, 24, 32}
        assert {shape.hidden for shape in found} == {0, 16, 32, 64, 128}
        assert {shape.weight_bits for shape in found} == {4, 8}
