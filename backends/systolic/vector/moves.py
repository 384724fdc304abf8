"""What only moves values happens to integers where it can: a byte each, and often for nothing.

    before   y = move(dequantize(q))          after   y = dequantize(move(q))
             q = quantize(move(y))                    q = move(quantize(y))

Both are exact: one scale and zero point for the whole tensor act on each element by itself. A
maximum commutes with dequantisation too, since the scale is positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import Graph, Node, Value
from tetrapla.ir.op import Tensor, inferred

VIEWS = ("nn.reshape", "nn.transpose", "nn.slice")
_SINKING = (
    *VIEWS,
    "nn.depth_to_space",
    "nn.expand",
    "nn.gather",
    "nn.gather_elements",
    "nn.gather_nd",
    "nn.max_pool2d",
    "nn.space_to_depth",
)
_RISING = VIEWS


def is_view(node: Node) -> bool:
    """Whether a node is a step of a view; a slice that walks backwards is none."""
    return node.kind in VIEWS and (node.kind != "nn.slice" or min(node.ints("steps")) > 0)


def on_integers(graph: Graph) -> Graph:
    """The graph with its moves on integers; names of outputs and their values are the same."""
    return _Mover(graph).moved()


class _Mover:
    """A graph in the making."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes: list[Node] = []
        self._makers: dict[int, Node] = {}
        indices = [v.index for n in graph.nodes for v in (*n.operands, *n.results)]
        inputs = [v.index for _, v in (*graph.inputs, *graph.outputs)]
        self._next = max([*indices, *inputs, *graph.constants], default=0) + 1

    def moved(self) -> Graph:
        for node in self._graph.nodes:
            if not (self._sunk(node) or self._risen(node)):
                self._add(node)
        return replace(self._graph, nodes=self._alive())

    def _add(self, node: Node) -> Node:
        self._nodes.append(node)
        self._makers.update((value.index, node) for value in node.results)
        return node

    def _fresh(self, shape: tuple[int, ...], dtype: str) -> Value:
        self._next += 1
        return Value(self._next - 1, shape, dtype)

    def _sunk(self, node: Node) -> bool:
        """A move of what was dequantised becomes a dequantisation of what was moved."""
        reals = node.operands if node.kind == "nn.concat" else node.operands[:1]
        if node.kind not in (*_SINKING, "nn.concat") or not reals:
            return False
        makers = [self._makers.get(value.index) for value in reals]
        made = [m for m in makers if m is not None and self._uniform(m, "qnn.dequantize")]
        if len(made) < len(reals) or not all(self._same(made[0], m) for m in made[1:]):
            return False
        operands = (*(m.operands[0] for m in made), *node.operands[len(reals) :])
        result = self._typed(node, operands)
        if result is None:
            return False
        self._add(replace(node, operands=operands, results=(result,)))
        again = replace(
            made[0],
            name=f"{node.name}.dequantize",
            operands=(result, *made[0].operands[1:]),
            results=node.results,
        )
        self._add(again)
        return True

    def _risen(self, node: Node) -> bool:
        """A quantisation of what was moved becomes a move of what was quantised."""
        if not self._uniform(node, "qnn.quantize"):
            return False
        chain: list[Node] = []
        source = node.operands[0]
        while (maker := self._makers.get(source.index)) is not None and maker.kind in _RISING:
            chain.append(maker)
            source = maker.operands[0]
        if not chain or source.elements > node.result.elements:
            return False  # of a slice it would quantise more than before
        held = self._fresh(source.shape, node.result.dtype)
        operands = (source, *node.operands[1:])
        self._add(replace(node, operands=operands, results=(held,)))
        for move in chain[::-1]:
            last = move is chain[0]
            result = node.result if last else self._fresh(move.result.shape, node.result.dtype)
            name = f"{node.name}.{move.name}"
            self._add(replace(move, name=name, operands=(held,), results=(result,)))
            held = result
        return True

    def _typed(self, node: Node, operands: Sequence[Value]) -> Value | None:
        """The result's value on integers; None where the operator does not take them."""
        try:
            types = [Tensor(v.shape, v.dtype) for v in operands]
            (found,) = inferred(node.kind, types, dict(node.attributes))
        except IRError:
            return None
        return self._fresh(found.shape, found.dtype)

    def _uniform(self, node: Node, kind: str) -> bool:
        """Whether a node is of a kind, with one scale for the whole tensor."""
        return (
            node.kind == kind
            and node.operands[1].elements == 1
            and self._graph.is_weight(node.operands[1])
        )

    def _same(self, a: Node, b: Node) -> bool:
        """Whether two dequantise alike."""
        (x, s), (y, t) = a.operands, b.operands
        weights = self._graph.weights
        known = s.index in weights and t.index in weights
        alike = np.array_equal(weights[s.index], weights[t.index]) if known else s == t
        zeros = a.int("zero_point") == b.int("zero_point")
        return alike and zeros and x.dtype == y.dtype and s.shape == t.shape

    def _alive(self) -> tuple[Node, ...]:
        """Without the dequantisations and moves that nobody reads any more."""
        wanted = {value.index for _, value in self._graph.outputs}
        kept = []
        spare = {*_SINKING, "nn.concat", "qnn.dequantize"}
        for node in reversed(self._nodes):
            if node.kind in spare and not any(v.index in wanted for v in node.results):
                continue
            kept.append(node)
            wanted.update(value.index for value in node.operands)
        return tuple(kept[::-1])
