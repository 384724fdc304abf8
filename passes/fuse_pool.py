"""A pool and the convolution before it: a mean moves into the weights, a ReLU before a maximum.

    before   c = nn.conv2d(x, @w) {strides = (1, 1)}          after   y = nn.conv2d(x, @w')
             y = nn.average_pool2d(c) {kernel = (2, 2),                  {strides = (2, 2)}
                                       strides = (2, 2)}

The mean of neighbouring windows is one window of k + s (p - 1) elements at stride s t, for a
convolution of kernel k at stride s and a pool of p at t: w' is the mean of w at p places, in
float64 and rounded once. Only for a pool without padding, a convolution without dilation and
activation that nothing else reads, and where it takes no more products than before.

A maximum is no sum, so a max pool stays; but a ReLU behind it moves before it, into the
convolution's epilogue: of rectified values the largest is the largest rectified.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from tetrapla.ir.graph import Array, Attribute, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.unfuse import has_residual
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.match_ import REAL
from tetrapla.passes.pass_ import Pass


@dataclass(frozen=True)
class FusePool(Pass):
    """The sum of products is formed from other, equally rounded weights.

    Either form is within (K + 8) u of the exact value, relative to the sum of the magnitudes of
    its terms (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1; u =
    2^-24; K products of the wider window, of which the pool's sum is a part). They differ by
    twice that at most, 9.8e-4 at K = 8192 (512 channels of 4 x 4); rounding grows as sqrt(K)
    in practice, which is the room for outputs smaller than their terms.
    """

    max_rel_error: ClassVar[float] = 2 * (8192 + 8) * 2.0**-24

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _average, _rectified)


def _rectified(edit: Edit, relu: Node) -> Value | None:
    pool = edit.maker(relu.operands[0], "nn.max_pool2d") if relu.kind == "nn.relu" else None
    conv = None if pool is None else edit.maker(pool.operands[0], "nn.conv2d")
    if pool is None or conv is None or conv.str("activation") != "none":
        return None
    if edit.readers(pool.result) != 1 or edit.readers(conv.result) != 1:
        return None
    attributes = {**conv.attributes, "activation": "relu"}
    rectified = edit.op("nn.conv2d", conv.operands, attributes, conv.name)
    return edit.op("nn.max_pool2d", [rectified], pool.attributes, pool.name)


def _average(edit: Edit, pool: Node) -> Value | None:
    if pool.kind != "nn.average_pool2d" or any(pool.ints("pads")):
        return None
    conv = edit.maker(pool.operands[0], "nn.conv2d")
    if conv is None or edit.readers(conv.result) != 1 or conv.result.dtype not in REAL:
        return None
    w = conv.operands[1]
    plain = conv.str("activation") == "none" and set(conv.ints("dilations")) == {1}
    if not plain or has_residual(conv) or not edit.is_constant(w):
        return None
    kernel, strides, places = pool.ints("kernel"), pool.ints("strides"), conv.ints("strides")
    wide = tuple(k + s * (p - 1) for k, s, p in zip(w.shape[2:], places, kernel, strict=True))
    if prod(wide) > prod(w.shape[2:]) * prod(strides):
        return None

    def mean(array: Array) -> Array:
        return _spread(array, kernel, places, wide)

    weight = edit.derived("pooled", w, (*w.shape[:2], *wide), mean)
    attributes: dict[str, Attribute] = {
        **conv.attributes,
        "strides": (places[0] * strides[0], places[1] * strides[1]),
    }
    operands = [conv.operands[0], weight, *conv.operands[2:]]
    return edit.op("nn.conv2d", operands, attributes, conv.name)


def _spread(
    w: Array, kernel: tuple[int, ...], strides: tuple[int, ...], wide: tuple[int, ...]
) -> Array:
    """The mean of the weights at every place of the pool's kernel."""
    total = np.zeros((*w.shape[:2], *wide))
    height, width = w.shape[2:]
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * strides[0], j * strides[1]
            total[:, :, top : top + height, left : left + width] += w
    return (total / prod(kernel)).astype(w.dtype)
