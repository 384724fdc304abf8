"""Products as blocks of an implicit matrix product.

A convolution is M output pixels, K taps (kernel_h x kernel_w x channels, channel fastest), N
filters. Groups that fit together share a tile, block-diagonally.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np

from tetrapla.backends.systolic.layout import Moving, Placed, constant, image, matrix
from tetrapla.ir.graph import DTYPES, Array, Graph, Node
from tetrapla.simulators.systolic.tables import Descriptor


@dataclass(frozen=True)
class Block:
    """A product ``rows x K`` by ``weights[K, N]`` that one access descriptor feeds.

    Attributes:
        descriptor: base relative to the operand's buffer.
        weights: numbers, less their zero point; or where in the unified buffer they will lie.
        first: output channel of column 0.
        groups: how many diagonal blocks the weights hold.
        known: the numbers mean something, which a shape-only module's do not.
        at: elements from the result's start to row 0 and column 0; None: `first`.
    """

    descriptor: Descriptor
    weights: Array | Moving
    first: int
    groups: int
    known: bool = True
    at: int | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Taps and output channels."""
        taps, channels = self.weights.shape
        return taps, channels

    @property
    def start(self) -> int:
        """Elements from the result's start to row 0 and column 0."""
        return self.first if self.at is None else self.at


Shared: TypeAlias = dict[tuple[object, ...], Array]
"""What nodes of the same weights share (of an unrolled loop), so that it is stored once."""


def shared(held: Shared, key: tuple[object, ...], make: Callable[[], Array]) -> Array:
    """The array of a key, made where there is none."""
    if key not in held:
        held[key] = make()
    return held[key]


def conv_blocks(
    graph: Graph, node: Node, x: Placed, array: tuple[int, int], dtype: str, held: Shared
) -> list[Block]:
    """The blocks of a convolution.

    Args:
        graph: it belongs to.
        node: qnn.conv2d or nn.conv2d.
        x: where its operand lies.
        array: rows and columns.
        dtype: that the weights are multiplied in.
        held: by other nodes already.

    Raises:
        UnsupportedError: no access descriptor reads the operand's layout.
    """
    if _one_pixel(node):
        # a product of matrices, whose rows may lie in any order (a flattened image)
        descriptor, order = matrix(x.then("reshape", node.operands[0].shape[:2]))
        flat = shared(
            held,
            (*_key(node, dtype), order.tobytes()),
            lambda: np.ascontiguousarray(centred(graph, node, dtype)[:, order, 0, 0].T),
        )
        return [Block(descriptor, flat, 0, 1, _known(graph, node))]
    weights = shared(held, _key(node, dtype), lambda: centred(graph, node, dtype))
    return _grouped(graph, node, x, array, weights, held)


def _grouped(
    graph: Graph, node: Node, x: Placed, array: tuple[int, int], weights: Array, held: Shared
) -> list[Block]:
    """As many groups in a block as fit the array together."""
    filters, per_group, kh, kw = weights.shape
    groups, reading = node.int("groups"), window(node, x)
    share = filters // groups
    packed = _packed(groups, per_group * kh * kw, share, array)
    blocks = []
    for first in range(0, groups, packed):
        count = min(packed, groups - first)
        own = weights[first * share : (first + count) * share]
        key = (*_key(node, str(weights.dtype)), first, count)
        diagonal = shared(held, key, partial(_diagonal, own, count))
        skipped = first * per_group * x.element_bytes
        descriptor = replace(reading, base=reading.base + skipped, channels=count * per_group)
        blocks.append(Block(descriptor, diagonal, first * share, count, _known(graph, node)))
    return blocks


def matmul_blocks(graph: Graph, node: Node, x: Placed, dtype: str, held: Shared) -> list[Block]:
    """The one block of a matrix product; its rows follow the operand's order in memory.

    Raises:
        UnsupportedError: no access descriptor reads the operand's layout.
    """
    descriptor, order = matrix(x)
    weights = shared(
        held,
        (*_key(node, dtype), order.tobytes()),
        lambda: np.ascontiguousarray(centred(graph, node, dtype)[order]),
    )
    return [Block(descriptor, weights, 0, 1, _known(graph, node))]


def _key(node: Node, dtype: str) -> tuple[object, ...]:
    """What the weights of a node are known by."""
    return node.operands[1].index, node.attributes.get("w_zero_point"), dtype


def centred(graph: Graph, node: Node, dtype: str) -> Array:
    """A product's weights less their zero point, in the type that they are multiplied in."""
    weights = constant(graph, node.operands[1])
    if not node.kind.startswith("qnn."):
        return weights.astype(DTYPES[dtype])
    return (weights.astype(np.int32) - node.int("w_zero_point")).astype(DTYPES[dtype])


def _known(graph: Graph, node: Node) -> bool:
    return node.operands[1].index in graph.weights


def window(node: Node, x: Placed) -> Descriptor:
    """How a convolution reads its operand.

    Raises:
        UnsupportedError: the channels of a pixel are not contiguous.
    """
    (top, left, _, _), (sy, sx), (dy, dx) = (
        node.ints("pads"),
        node.ints("strides"),
        node.ints("dilations"),
    )
    _, _, kh, kw = node.operands[1].shape
    _, _, out_h, out_w = node.result.shape
    return replace(
        image(x),
        kernel_h=kh,
        kernel_w=kw,
        out_h=out_h,
        out_w=out_w,
        stride_y=sy,
        stride_x=sx,
        dilation_y=dy,
        dilation_x=dx,
        pad_top=top,
        pad_left=left,
        pad_value=node.int("x_zero_point") if node.kind.startswith("qnn.") else 0,
    )


def _one_pixel(node: Node) -> bool:
    """Whether a convolution multiplies one pixel by a matrix."""
    x, w = (value.shape for value in node.operands[:2])
    alone = x[2:] == w[2:] == (1, 1)
    return alone and node.int("groups") == 1 and not any(node.ints("pads"))


def _packed(groups: int, taps: int, share: int, array: tuple[int, int]) -> int:
    """How many groups share one tile."""
    if groups == 1:
        return 1
    return max(1, min(groups, array[0] // taps, array[1] // share))


def _diagonal(weights: Array, groups: int) -> Array:
    """[(ky, kx, c over all groups), filters] of weights[filters, c, ky, kx], zero off-block."""
    filters, per_group, kh, kw = weights.shape
    share = filters // groups
    full = np.zeros((kh, kw, groups, per_group, groups, share), weights.dtype)
    for g in range(groups):
        own = weights[g * share : (g + 1) * share]  # [share, c, ky, kx]
        full[:, :, g, :, g, :] = own.transpose(2, 3, 1, 0)
    return full.reshape(kh * kw * groups * per_group, filters)
