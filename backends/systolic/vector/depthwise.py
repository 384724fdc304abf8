"""Depthwise convolutions on the vector unit, where that takes fewer cycles than on the array.

A depthwise filter sees one channel. Several share a tile of the array, whose other weights are
zero; the vector unit multiplies channel by channel. Which is faster follows from the shapes.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, prod

import numpy as np

from tetrapla.backends.systolic.array.products import Placing, requantizers
from tetrapla.backends.systolic.array.tiling import centred, window
from tetrapla.backends.systolic.design import Machine
from tetrapla.backends.systolic.layout import ROWS, Placed, constant, rows_of
from tetrapla.backends.systolic.vector.operators import Pass
from tetrapla.ir.graph import Array, Graph, Node
from tetrapla.simulators.systolic import vector
from tetrapla.simulators.systolic.tables import RequantizeRow

_BYTES = ("i8", "ui8")


def is_depthwise(placing: Placing, node: Node) -> bool:
    """Whether the vector unit computes a product with its requantisation, and is faster."""
    if node.kind != "qnn.conv2d" or not placing.graph.is_weight(node.operands[1]):
        return False
    x, w = node.operands[:2]
    uses = placing.uses.get(node.result.index, [])
    alone = len(uses) == 1 and uses == requantizers(placing, node)
    return (
        w.shape[:2] == (node.int("groups"), 1)
        and x.shape[1] == w.shape[0] > 1
        and alone
        and node.result.index not in placing.kept
        and {x.dtype, w.dtype, uses[0].result.dtype} <= {*_BYTES}
        and _vector_cycles(placing.machine, node) < _array_cycles(placing.machine, node)
    )


def _vector_cycles(machine: Machine, node: Node) -> int:
    _, channels, height, width = node.result.shape
    rows = node.result.shape[0] * height * width
    return rows * prod(node.operands[1].shape[2:]) * ceil(channels / machine.lanes)


def _array_cycles(machine: Machine, node: Node) -> int:
    """Of its tiles, each of as many filters as fit; none is shorter than its weights' shift."""
    n, channels, height, width = node.result.shape
    taps = prod(node.operands[1].shape[2:])
    shared = max(1, min(channels, machine.rows // taps, machine.cols))
    tiles = ceil(channels / shared) * ceil(shared * taps / machine.rows)
    return tiles * max(ceil(n * height * width / machine.units), machine.rows)


def depthwise(placing: Placing, node: Node) -> Pass:
    """The stage of a depthwise convolution and its requantisation.

    Raises:
        UnsupportedError: no access descriptor reads the operand's layout.
    """
    (use,) = requantizers(placing, node)
    x, weights = placing.read(node.operands[0]), centred(placing.graph, node, "i8")
    descriptor = window(node, x)
    held = np.ascontiguousarray(weights.reshape(len(weights), -1).T)
    place = Placed(placing.scratch(held.nbytes), held.shape, (), "i8")
    target = placing.fresh(use.result)
    base, channels, stride = rows_of(target, ROWS)
    placing.constants.append((place, held))
    placing.values[use.result.index] = target
    rows = node.result.elements // channels
    return Pass(
        node.name,
        node.kind,
        vector.DEPTHWISE,
        rows,
        (x, place),
        (replace(descriptor, out_stride=0 if stride == channels else stride),),
        target,
        base,
        _row(placing.graph, node, use, held),
        rows * held.size,
    )


def _row(graph: Graph, node: Node, use: Node, held: Array) -> RequantizeRow:
    bias = -node.int("x_zero_point") * held.sum(axis=0, dtype=np.int64)
    if len(node.operands) > 2:
        bias = bias + constant(graph, node.operands[2])
    scale = np.broadcast_to(constant(graph, use.operands[1]), bias.shape)
    zero, low, high = (use.int(name) for name in ("zero_point", "low", "high"))
    unsigned = use.str("dtype") == "ui8"
    return RequantizeRow(len(bias), zero, low, high, unsigned, bias.astype(np.int32), scale)
