"""A family of small networks for the bundled digits: the space of an architecture search.

A member is a `Shape`: convolutions with their width, kernel, stride and pooling, a hidden dense
layer or none, and the bits of its weights. Its label says all of it, and reads back:

    c8k3-c16k3p-c16k3p-h0-b8    three 3 x 3 convolutions, pools behind the last two, no hidden
                                layer, 8-bit weights
    c16k3s2-h32-b4              one convolution of stride 2, 32 hidden neurons, 4-bit weights
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tetrapla.frontend.builder import Tensor
from tetrapla.frontend.zoo.network import Draft, network
from tetrapla.ir.errors import ModelError
from tetrapla.ir.module import Module

SIZE: Final = 8  # pixels of an image's side
CLASSES: Final = 10
# the axes; every value of one goes with every value of the others while the image lasts
WIDTHS: Final = (4, 6, 8, 12, 16, 24, 32)
DEPTHS: Final = (0, 1, 2, 3)  # of convolutions
KERNELS: Final = (1, 3, 5)
STRIDES: Final = (1, 2)
POOLS: Final = (False, True)
HIDDEN: Final = (0, 16, 32, 64, 128)
BITS: Final = (4, 8)
_CONV = re.compile(r"c([0-9]{1,3})k([0-9]{1,2})(s2)?(p)?-")
_LABEL = re.compile(r"((?:c[0-9]{1,3}k[0-9]{1,2}(?:s2)?p?-)*)h([0-9]{1,4})-b([0-9]{1,2})")
_EXAMPLE = "c16k3s2-h32-b8"


@dataclass(frozen=True)
class Conv:
    """One convolution with its ReLU; `pools` halves what it gives by a 2 x 2 maximum."""

    width: int
    kernel: int
    stride: int = 1
    pools: bool = False

    @property
    def label(self) -> str:
        """Its part of a shape's label."""
        rest = f"{'s2' if self.stride == 2 else ''}{'p' if self.pools else ''}"
        return f"c{self.width}k{self.kernel}{rest}"

    @property
    def halves(self) -> int:
        """How often it halves the image's side."""
        return (self.stride == 2) + self.pools


@dataclass(frozen=True)
class Shape:
    """One member of the family.

    Attributes:
        convs: from the image on.
        hidden: neurons of the dense layer before the last one; 0 is none.
        weight_bits: that training rounds every weight to, and a target stores.

    Raises:
        ModelError: a value is not on its axis, or the image is halved below one pixel.
    """

    convs: tuple[Conv, ...]
    hidden: int
    weight_bits: int

    def __post_init__(self) -> None:
        given: list[tuple[str, int, tuple[int, ...]]] = []
        given += [("the number of convolutions", len(self.convs), DEPTHS)]
        for conv in self.convs:
            given += [("a convolution's width", conv.width, WIDTHS)]
            given += [("a convolution's kernel", conv.kernel, KERNELS)]
            given += [("a convolution's stride", conv.stride, STRIDES)]
        given += [("the hidden width", self.hidden, HIDDEN)]
        given += [("the weights' bits", self.weight_bits, BITS)]
        for what, value, axis in given:
            if value not in axis:
                known = ", ".join(str(each) for each in axis)
                raise ModelError(f"{what} must be one of {known}, not {value}")
        if not fits(self.convs):
            raise ModelError(
                f"{self.label} must leave a pixel of the {SIZE} x {SIZE} image, not halve it "
                f"{sum(conv.halves for conv in self.convs)} times; take out strides or pools"
            )

    @property
    def label(self) -> str:
        """What `parse` reads."""
        parts = [conv.label for conv in self.convs]
        return "-".join([*parts, f"h{self.hidden}", f"b{self.weight_bits}"])

    def module(self, batch: int = 1, seed: int = 0) -> Module:
        """The network with its first weights, verified."""
        draft = Draft(self.label, batch, seed, values=True)
        write(draft, self)
        return draft.builder.build()


def fits(convs: tuple[Conv, ...]) -> bool:
    """Whether every halving finds a side of at least two pixels."""
    return SIZE >> sum(conv.halves for conv in convs) >= 1


def parse(label: str) -> Shape:
    """The shape of a label.

    Raises:
        ModelError: it is none.
    """
    found = _LABEL.fullmatch(label)
    if found is None:
        raise ModelError(
            f"a shape must be convolutions, a hidden width and bits, not '{label}'; write "
            f"{_EXAMPLE}"
        )
    convs = tuple(
        Conv(int(width), int(kernel), 2 if stride else 1, bool(pool))
        for width, kernel, stride, pool in _CONV.findall(found[1])
    )
    return Shape(convs, int(found[2]), int(found[3]))


def write(n: Draft, shape: Shape) -> None:
    """The operators: convolutions with ReLU and pools, the hidden layer, the scores."""
    x: Tensor = n.input("image", (1, SIZE, SIZE))
    for i, conv in enumerate(shape.convs, 1):
        side = conv.kernel // 2
        name = f"conv{i}"
        y = n.conv2d(x, conv.width, conv.kernel, strides=conv.stride, pads=side, name=name)
        x = y.relu()
        x = x.max_pool2d(2, name=f"pool{i}") if conv.pools else x
    x = x.flatten()
    if shape.hidden:
        x = n.linear(x, shape.hidden, name="hidden").relu()
    n.output("logits", n.linear(x, CLASSES, gain=1.0, name="last"))


@network("digits-search", "this project's; docs/architecture-search.md has its axes")
def _digits_search(n: Draft) -> None:
    """The member whose shape is that of examples/digits_cnn.onnx without normalisation."""
    write(n, parse("c8k3-c16k3p-c16k3p-h0-b8"))
