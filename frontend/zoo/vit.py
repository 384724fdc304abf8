"""The vision transformer: an encoder over an image's patches."""

from __future__ import annotations

from dataclasses import dataclass

from tetrapla.frontend.builder import Layers, Tensor
from tetrapla.frontend.builder import functions as nn
from tetrapla.frontend.zoo.multihead import pre_norm_block
from tetrapla.frontend.zoo.network import Draft, Published, network

_PAPER = 'A. Dosovitskiy et al., "An image is worth 16x16 words", arXiv:2010.11929, table 1'
_REFERENCE = "transformers 5.23.0, ViTForImageClassification with 1000 labels"
_SMALL = (
    'H. Touvron et al., "Training data-efficient image transformers", arXiv:2012.12877, table 1'
)
_EPSILON = 1e-6  # of every layer norm: the authors' code (flax's default)


@dataclass(frozen=True)
class Sizes:
    """ViT-B/16."""

    image: int = 224
    patch: int = 16
    layers: int = 12
    features: int = 768
    width: int = 3072
    heads: int = 12
    classes: int = 1000


def patches(n: Layers, x: Tensor, size: int, features: int, *, bias: bool = True) -> Tensor:
    """Tokens [B, 1 + P, features] of x[B, 3, H, W]: a learnt one, then the patches'.

    Every token has its learnt position added.
    """
    grid = n.conv2d(x, features, size, strides=size, bias=bias, gain=1.0, name="patch")
    batch, _, rows, columns = grid.shape
    grid = grid.reshape(batch, features, rows * columns).transpose(0, 2, 1)
    first = n.parameter((1, 1, features), "class", fan_in=1, gain=1.0)
    shape = (1, 1 + rows * columns, features)
    places = n.parameter(shape, "positions", fan_in=1, gain=1.0)
    return nn.concat([first.expand(batch, 1, features), grid], 1) + places


def vit(n: Layers, x: Tensor, sizes: Sizes) -> Tensor:
    """The logits [B, classes] of images x[B, 3, H, W]."""
    y = patches(n, x, sizes.patch, sizes.features)
    for i in range(sizes.layers):
        with n.within(f"layer.{i}"):
            y = pre_norm_block(n, y, sizes.heads, sizes.width, nn.gelu, epsilon=_EPSILON)
    y = n.layer_norm(y, epsilon=_EPSILON)[:, 0]
    return n.linear(y, sizes.classes, gain=1.0, name="head")


@network(
    "vit-b-16",
    f"{_PAPER}; {_REFERENCE}",
    parameters=Published(86_567_656, _REFERENCE),
    macs=Published(
        17_564_000_000,
        "torchvision 0.28.0, vit_b_16's weights: 17.564 'GFLOPS', multiply-accumulates",
        0.001,
    ),
)
def _base(n: Draft) -> None:
    sizes = Sizes()
    x = n.input("pixel_values", (3, sizes.image, sizes.image))
    n.output("logits", vit(n, x, sizes))


@network(
    "vit-tiny",
    f"{_SMALL}, DeiT-Ti without its distillation; no source states MACs",
    parameters=Published(5_000_000, _SMALL, 0.15, "the table cuts millions to whole ones"),
)
def _tiny(n: Draft) -> None:
    sizes = Sizes(features=192, width=768, heads=3)
    x = n.input("pixel_values", (3, sizes.image, sizes.image))
    n.output("logits", vit(n, x, sizes))
