"""Products with constant matrices, as crossbars hold them.

A convolution is the product of its windows with its filters; one in groups, with blocks on
the diagonal of a matrix. Equal matrices are programmed once: the steps of an unrolled
recurrent layer take turns on the arrays of its gates, as do the halves of a Siamese network.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from math import prod
from typing import Final, TypeAlias

import numpy as np

from tetrapla.backends.analog.tiles import slices, tiles
from tetrapla.ir.graph import Array, Graph, Node
from tetrapla.simulators.analog.program import Product, Program, Tile, Window, unknown
from tetrapla.simulators.analog.spec import AnalogSpec

KINDS: Final = ("qnn.matmul", "qnn.conv2d")
LOW: Final = {"i8": -128, "ui8": 0}
# the largest weight where the weights are not known: quantisation uses all of a signed byte
_UNKNOWN: Final = np.array([[127]], np.int16)

# where weights are not known: quantised anew for every use, a weight's name gets a number
_SECOND: Final = re.compile(r"(?<=\.int[48])_\d+$")

_Held: TypeAlias = "tuple[int, int, tuple[Tile, ...]]"


def on_tiles(graph: Graph, node: Node) -> bool:
    """Whether a node multiplies 8-bit activations with constants that are one matrix."""
    if node.kind not in KINDS or node.operands[0].dtype not in LOW:
        return False
    x, *parameters = node.operands
    if graph.is_weight(x) or not all(map(graph.is_weight, parameters)):
        return False
    if parameters[0].dtype not in LOW or node.result.dtype != "i32":
        return False
    return node.kind == "qnn.conv2d" or len(parameters[0].shape) == 2


class Allocation:
    """The products of a graph, in order, and the arrays that they are on."""

    def __init__(self, graph: Graph, spec: AnalogSpec) -> None:
        self._graph = graph
        self._spec = spec
        self._held: dict[tuple[object, ...], _Held] = {}
        self._reads: dict[int, int] = {}

    def product(self, node: Node) -> Product:
        """The step of a node that is `on_tiles`."""
        x = node.operands[0]
        groups = node.int("groups") if node.kind == "qnn.conv2d" else 1
        matrix = self._matrix(node)
        number, count, cut = self._arrays(node, matrix, groups)
        rows, outputs = matrix.shape
        first_read = self._reads.get(number, 0)
        self._reads[number] = first_read + node.result.elements // outputs
        return Product(
            name=node.name,
            op=node.kind,
            number=number,
            operand=x.index,
            result=node.result.index,
            x_zero_point=node.int("x_zero_point"),
            x_low=LOW[x.dtype],
            matrix=matrix,
            bias=self._bias(node, outputs),
            window=window_of(node),
            slices=count,
            tiles=cut,
            macs=node.result.elements * rows,
            first_read=first_read,
            groups=groups,
        )

    def _arrays(self, node: Node, matrix: Array, groups: int) -> _Held:
        """Number, slices and tiles; those of an equal matrix where there is one."""
        w = node.operands[1]
        known = w.index in self._graph.weights
        same: tuple[object, ...] = (
            (sha256(np.ascontiguousarray(matrix).tobytes()).digest(),)
            if known
            else (_SECOND.sub("", self._graph.constants[w.index]), node.int("w_zero_point"))
        )
        key = (*same, matrix.shape, groups)
        if key not in self._held:
            count = slices(matrix if known else _UNKNOWN, self._spec)
            rows, outputs = matrix.shape
            cut = tiles(rows * groups, outputs, groups, count, self._spec)
            self._held[key] = (len(self._held), count, cut)
        return self._held[key]

    def _matrix(self, node: Node) -> Array:
        """Centred weights [rows of a group, outputs]; zeros of no memory if not known."""
        w = node.operands[1]
        convolution = node.kind == "qnn.conv2d"
        if w.index not in self._graph.weights:
            shape = (prod(w.shape[1:]), w.shape[0]) if convolution else w.shape
            return unknown(shape)
        centred = self._graph.weight(w).astype(np.int16) - np.int16(node.int("w_zero_point"))
        return centred.reshape(len(centred), -1).T if convolution else centred

    def _bias(self, node: Node, outputs: int) -> Array:
        if len(node.operands) > 2 and node.operands[2].index in self._graph.weights:
            return self._graph.weight(node.operands[2]).astype(np.int64)
        return np.zeros(outputs, np.int64)


def one_range_each(program: Program) -> Program:
    """The program with one ADC step for each array: the largest that a product on it needs."""
    largest: dict[int, list[tuple[int, ...]]] = {}
    for step in program.products:
        own = [tile.adc_shifts for tile in step.tiles]
        before = largest.get(step.number, own)
        both = zip(own, before, strict=True)
        largest[step.number] = [tuple(map(max, *pair)) for pair in both]
    return replace(
        program,
        steps=tuple(
            replace(step, tiles=_stepped(step.tiles, largest[step.number]))
            if isinstance(step, Product)
            else step
            for step in program.steps
        ),
    )


def _stepped(tiles: Sequence[Tile], shifts: Sequence[tuple[int, ...]]) -> tuple[Tile, ...]:
    pairs = zip(tiles, shifts, strict=True)
    return tuple(replace(tile, adc_shifts=own) for tile, own in pairs)


def window_of(node: Node) -> Window | None:
    """How the rows read the image of a convolution."""
    if node.kind != "qnn.conv2d":
        return None
    strides, dilations = node.ints("strides"), node.ints("dilations")
    top, left, bottom, right = node.ints("pads")
    kernel = node.operands[1].shape[2:]
    return Window(
        kernel=(kernel[0], kernel[1]),
        strides=(strides[0], strides[1]),
        pads=(top, left, bottom, right),
        dilations=(dilations[0], dilations[1]),
    )
