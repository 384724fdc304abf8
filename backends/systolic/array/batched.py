"""Products of matrices in batches, and of two operands that are both computed.

Zero points are part of the sums, exactly: each tap is repeated, and what is repeated meets
padding on one side or the other,

    sum (a - za)(b - zb) = sum over [pad, a, a] [b, b, pad] + K za zb

with -za as the padding of a and -zb as that of b. The descriptors do it (rows with a stride of
zero), so that a machine without instructions for zero points multiplies what it always does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product as cartesian

import numpy as np

from tetrapla.backends.systolic.array.formats import Format, product_format
from tetrapla.backends.systolic.array.products import (
    Epilogue,
    Placing,
    Product,
    float_table,
    requantizers,
    table_bias,
)
from tetrapla.backends.systolic.array.tiling import Block, centred
from tetrapla.backends.systolic.layout import Moving, Placed, constant
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Graph, Node
from tetrapla.simulators.systolic.tables import Descriptor, RequantizeRow

_INT8 = (-128, 127)
_UNSIGNED = 128  # what LUW takes from uint8


@dataclass(frozen=True)
class _Operand:
    """A batch of matrices: where the first lies, and the strides of rows and columns.

    Attributes:
        leading: strides of the leading axes, which broadcast.
    """

    place: Placed
    base: int
    leading: tuple[int, ...]
    shape: tuple[int, int]
    strides: tuple[int, int]

    def start(self, index: tuple[int, ...]) -> int:
        """First element of the matrix of a place in the batch."""
        own = index[len(index) - len(self.leading) :]
        return self.base + sum(i * step for i, step in zip(own, self.leading, strict=True))


def is_batched(graph: Graph, node: Node) -> bool:
    """Whether a product needs more than one matrix of constant weights."""
    if node.kind not in ("qnn.matmul", "nn.matmul"):
        return False
    return not graph.is_weight(node.operands[1]) or len(node.operands[1].shape) != 2


def batched(placing: Placing, node: Node) -> Product:
    """The stage of such a product: a block for each matrix of the batch.

    Raises:
        UnsupportedError: no access descriptor reads an operand's layout.
    """
    graph, (m, n) = placing.graph, node.result.shape[-2:]
    a = _operand(placing.read(node.operands[0]))
    if a.strides[1] != 1 and a.shape[1] > 1:
        raise UnsupportedError("rows that are not contiguous in memory")
    form = product_format(graph, node, placing.machine.formats)
    if graph.is_weight(node.operands[1]):
        blocks = list(_constant(graph, node, a, form.weights))
    else:
        b = _operand(placing.read(node.operands[1]))
        blocks = list(_real(node, a, b) if form.real else _moving(node, a, b))
    if form.real:
        epilogues, starts = _rounded(placing, node, blocks)
    else:
        epilogues, starts = _epilogues(placing, node, _bias(graph, node, blocks, form))
    placed = [replace(b, at=at) for b, at in zip(blocks, starts, strict=True)]
    macs = len(blocks) * m * n * a.shape[1]
    return Product(node.name, node.kind, macs, m, a.place, placed, epilogues, form)


def _operand(place: Placed) -> _Operand:
    found = place.strided()
    if found is None:
        raise UnsupportedError("matrices that are not even in memory")
    base, shape, strides = found
    rows, columns = shape[-2:]
    return _Operand(place, base, strides[:-2], (rows, columns), (strides[-2], strides[-1]))


def _indices(node: Node) -> Iterator[tuple[int, ...]]:
    return cartesian(*map(range, node.result.shape[:-2]))


def _rows(a: _Operand, index: tuple[int, ...]) -> Descriptor:
    """The rows of one matrix, each a pixel."""
    (m, k), size = a.shape, a.place.element_bytes
    step = a.strides[0] * size
    base, flags = a.start(index) * size, a.place.flags
    return Descriptor(base, k, width=m, out_w=m, pixel_stride=step, flags=flags)


def _constant(graph: Graph, node: Node, a: _Operand, dtype: str) -> Iterator[Block]:
    """Blocks of constant matrices, each with columns of its own in the table."""
    weights = centred(graph, node, dtype)
    known = node.operands[1].index in graph.weights
    n = weights.shape[-1]
    every = np.broadcast_to(weights, (*node.result.shape[:-2], *weights.shape[-2:]))
    for number, index in enumerate(_indices(node)):
        yield Block(_rows(a, index), every[index], number * n, 1, known)


def _moving(node: Node, a: _Operand, b: _Operand) -> Iterator[Block]:
    """Blocks whose weights are computed, the zero points' share among the taps."""
    za, zb = node.int("x_zero_point"), node.int("w_zero_point")
    unsigned = _UNSIGNED if b.place.flags else 0
    parts = _parts(unsigned - zb)
    padded = 1 if za else 0
    groups = padded + 1 + len(parts)
    (k, n), size, moving = b.shape, b.place.element_bytes, None
    down, across = (step * size for step in b.strides)
    for index in _indices(node):
        rows = replace(
            _rows(a, index),
            kernel_h=groups,
            height=groups - padded,
            pad_top=padded,
            pad_value=-za,
        )
        again = Descriptor(
            b.start(index) * size,
            n,
            height=padded + 1,
            pad_value=unsigned + (parts[0] if parts else 0),  # read less zero_x
            flags=b.place.flags,
            zero_x=unsigned,
        )
        if b.strides[1] == 1 or n == 1:
            again = replace(again, width=k, out_w=k, out_h=groups, pixel_stride=down)
            moving = Moving(b.place, again, False, (groups * k, n))
        elif b.strides[0] == 1 or k == 1:
            again = replace(
                again, channels=k, kernel_h=groups, width=n, out_w=n, pixel_stride=across
            )
            moving = Moving(b.place, again, True, (groups * k, n))
        else:
            raise UnsupportedError("rows that are not contiguous in memory")
        yield Block(rows, moving, 0, 1)


def _real(node: Node, a: _Operand, b: _Operand) -> Iterator[Block]:
    """Blocks of floats whose weights are computed."""
    (k, n), size = b.shape, b.place.element_bytes
    down, across = (step * size for step in b.strides)
    for index in _indices(node):
        base = b.start(index) * size
        if b.strides[1] == 1 or n == 1:
            rows = Descriptor(base, n, width=k, out_w=k, pixel_stride=down)
        elif b.strides[0] == 1 or k == 1:
            rows = Descriptor(base, k, width=n, out_w=n, pixel_stride=across)
        else:
            raise UnsupportedError("rows that are not contiguous in memory")
        turned = b.strides[1] != 1 and n != 1
        yield Block(_rows(a, index), Moving(b.place, rows, turned, (k, n)), 0, 1)


def _parts(total: int) -> list[int]:
    """As few equal numbers that fit int8 as there are whose sum is `total`.

    Raises:
        UnsupportedError: there are none (a large prime).
    """
    low, high = _INT8
    if not total:
        return []
    for count in range(1, 256):
        if not total % count and low <= total // count <= high:
            return [total // count] * count
    raise UnsupportedError(
        f"a zero point of {-total} that does not divide into steps of int8: quantise with "
        "zero points of 0"
    )


def _bias(graph: Graph, node: Node, blocks: list[Block], form: Format) -> Array:
    """What RQ adds, for each column of the table; sums of int32 wrap, and so may it."""
    x, w, *given = node.operands
    za, zb = node.int("x_zero_point"), node.int("w_zero_point")
    own = np.zeros(node.result.shape[-1], np.int64)
    if given:
        own += constant(graph, given[0])
    known = [b.weights for b in blocks if not isinstance(b.weights, Moving)]
    if known:
        sums = [own - za * weights.sum(axis=0, dtype=np.int64) for weights in known]
        return table_bias(np.concatenate(sums), form)
    unsigned = _UNSIGNED if w.dtype == "ui8" else 0
    return table_bias(own + x.shape[-1] * za * (zb - unsigned), form)


def _epilogues(placing: Placing, node: Node, held: Array) -> tuple[list[Epilogue], list[int]]:
    """As of any product, and where in each result the matrices begin."""
    n, layout = node.result.shape[-1], None
    found: list[Epilogue] = []
    starts: list[int] = []
    scaled = requantizers(placing, node)
    uses = placing.uses.get(node.result.index, [])
    raw = len(uses) > len(scaled) or node.result.index in placing.kept or not uses
    for use in [*scaled, *([None] if raw else [])]:
        value = node.result if use is None else use.result
        target = placing.fresh(value, layout)
        layout = target.parted()[1]
        placing.values[value.index] = target
        base, stride, starts = _matrices(target)
        stride *= target.element_bytes
        if use is None:
            one = np.ones(len(held), np.float32)
            table = RequantizeRow(stride, 0, 0, 0, False, held, one)
        else:
            scale = np.broadcast_to(constant(placing.graph, use.operands[1]), (n,))
            low, high, zero = (use.int(name) for name in ("low", "high", "zero_point"))
            every = np.tile(scale, len(held) // n)
            unsigned = use.str("dtype") == "ui8"
            table = RequantizeRow(stride, zero, low, high, unsigned, held, every)
        found.append(Epilogue(target, table, raw=use is None, offset=base))
    return found, starts


def _rounded(
    placing: Placing, node: Node, blocks: list[Block]
) -> tuple[list[Epilogue], list[int]]:
    """Of float sums, and where in the result the matrices begin."""
    own = np.zeros(node.result.shape[-1], np.float32)
    if len(node.operands) > 2:
        own += constant(placing.graph, node.operands[2]).astype(np.float32)
    held = np.tile(own, len({block.first for block in blocks}))
    target = placing.fresh(node.result)
    placing.values[node.result.index] = target
    base, stride, starts = _matrices(target)
    table = float_table(node, stride * target.element_bytes, held)
    return [Epilogue(target, table, raw=False, offset=base)], starts


def _matrices(target: Placed) -> tuple[int, int, list[int]]:
    """First element, elements from row to row, and where each matrix of the batch begins.

    Raises:
        UnsupportedError: a row of the result is not contiguous.
    """
    found = target.strided()
    if found is None or (found[1][-1] > 1 and found[2][-1] != 1):
        raise UnsupportedError("a result whose rows are not contiguous in memory")
    base, shape, strides = found
    starts = [
        sum(i * step for i, step in zip(index, strides[:-2], strict=True))
        for index in cartesian(*map(range, shape[:-2]))
    ]
    return base, strides[-2] or shape[-1], starts
