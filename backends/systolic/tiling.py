"""Integer products as tiles of the array.

A convolution is an implicit matrix product: M output pixels, K taps (kernel_h x kernel_w x
channels, channel fastest), N filters. K is cut into tiles of R taps, N into tiles of C
columns, M into what half of the accumulators holds. Groups that fit together share a tile,
block-diagonally.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tetrapla.backends.systolic.layout import Placed, constant, image, matrix
from tetrapla.ir.graph import Array, Graph, Node
from tetrapla.simulators.systolic.tables import Descriptor


@dataclass(frozen=True)
class Block:
    """A product ``rows x K`` by ``weights[K, N]`` that one access descriptor feeds.

    Attributes:
        descriptor: base relative to the operand's buffer.
        weights: int8.
        first: output channel of column 0.
        groups: how many diagonal blocks the weights hold.
    """

    descriptor: Descriptor
    weights: Array
    first: int
    groups: int


@dataclass(frozen=True)
class Tile:
    """One pass of activations through one tile of weights.

    Attributes:
        block: number of the block.
        column: first column in the block; `columns` how many.
        tap: first tap; `taps` how many.
        row: first output row; `rows` how many.
    """

    block: int
    column: int
    columns: int
    tap: int
    taps: int
    row: int
    rows: int

    @property
    def first(self) -> bool:
        """Whether it overwrites the accumulators."""
        return self.tap == 0


def tiles(
    blocks: list[Block], rows: int, array: tuple[int, int], most_rows: int
) -> Iterator[Tile]:
    """Every tile of a product, the taps innermost so that they accumulate.

    Where one tile holds all taps, its weights stay in the array over all rows.

    Args:
        blocks: of the product.
        rows: M.
        array: R and C.
        most_rows: of the accumulators at once.
    """
    height, width = array
    parts = -(-rows // most_rows)
    share = -(-rows // parts)
    for number, block in enumerate(blocks):
        taps, columns = block.weights.shape
        for column in range(0, columns, width):
            for row in range(0, rows, share):
                for tap in range(0, taps, height):
                    yield Tile(
                        number,
                        column,
                        min(width, columns - column),
                        tap,
                        min(height, taps - tap),
                        row,
                        min(share, rows - row),
                    )


def conv_blocks(graph: Graph, node: Node, x: Placed, array: tuple[int, int]) -> list[Block]:
    """The blocks of a qnn.conv2d.

    Raises:
        UnsupportedError: no access descriptor reads the operand's layout.
    """
    weights = _centred(graph, node)
    if _one_pixel(node):
        # a product of matrices, whose rows may lie in any order (a flattened image)
        descriptor, order = matrix(x.then("reshape", node.operands[0].shape[:2]))
        return [Block(descriptor, np.ascontiguousarray(weights[:, order, 0, 0].T), 0, 1)]
    (top, left, _, _), (sy, sx), (dy, dx) = (
        node.ints("pads"),
        node.ints("strides"),
        node.ints("dilations"),
    )
    filters, per_group, kh, kw = weights.shape
    _, _, out_h, out_w = node.result.shape
    groups = node.int("groups")
    window = replace(
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
        pad_value=node.int("x_zero_point"),
    )
    share = filters // groups
    packed = _packed(groups, per_group * kh * kw, share, array)
    blocks = []
    for first in range(0, groups, packed):
        count = min(packed, groups - first)
        held = weights[first * share : (first + count) * share]
        descriptor = replace(
            window, base=window.base + first * per_group, channels=count * per_group
        )
        blocks.append(Block(descriptor, _diagonal(held, count), first * share, count))
    return blocks


def matmul_blocks(graph: Graph, node: Node, x: Placed) -> list[Block]:
    """The one block of a qnn.matmul; its rows follow the operand's order in memory.

    Raises:
        UnsupportedError: no access descriptor reads the operand's layout.
    """
    descriptor, order = matrix(x)
    return [Block(descriptor, np.ascontiguousarray(_centred(graph, node)[order]), 0, 1)]


def _one_pixel(node: Node) -> bool:
    """Whether a convolution multiplies one pixel by a matrix."""
    x, w = (value.shape for value in node.operands[:2])
    alone = x[2:] == w[2:] == (1, 1)
    return alone and node.int("groups") == 1 and not any(node.ints("pads"))


def bias(graph: Graph, node: Node, blocks: list[Block]) -> Array:
    """Bias less the zero point's share, x_zero_point x sum of weights, wrapped to int32."""
    sums = np.concatenate([block.weights.sum(axis=0, dtype=np.int64) for block in blocks])
    total = -node.int("x_zero_point") * sums
    if len(node.operands) > 2:
        total = total + constant(graph, node.operands[2])
    return total.astype(np.int32)


def _packed(groups: int, taps: int, share: int, array: tuple[int, int]) -> int:
    """How many groups share one tile."""
    if groups == 1:
        return 1
    return max(1, min(groups, array[0] // taps, array[1] // share))


def _diagonal(weights: Array, groups: int) -> Array:
    """[(ky, kx, c over all groups), filters] of weights[filters, c, ky, kx], zero off-block."""
    filters, per_group, kh, kw = weights.shape
    share = filters // groups
    full = np.zeros((kh, kw, groups, per_group, groups, share), np.int8)
    for g in range(groups):
        own = weights[g * share : (g + 1) * share]  # [share, c, ky, kx]
        full[:, :, g, :, g, :] = own.transpose(2, 3, 1, 0)
    return full.reshape(kh * kw * groups * per_group, filters)


def _centred(graph: Graph, node: Node) -> Array:
    weights = constant(graph, node.operands[1]).astype(np.int16) - node.int("w_zero_point")
    return weights.astype(np.int8)
