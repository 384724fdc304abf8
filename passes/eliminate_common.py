"""Nodes of one kind on the same operands with the same attributes become one.

    before   a = nn.relu(x)          after   a = nn.relu(x)
             b = nn.relu(x)                  y = nn.add(a, a)
             y = nn.add(a, b)

The first name stays. Small weights that hold the same bytes (scales, biases) become one first;
large ones only if they are one array.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from tetrapla.ir.graph import Graph, Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rebuild_ import Rebuild

# assumed: comparing weights above this would read a whole memory-mapped model
COMPARED_BYTES = 2**16


@dataclass(frozen=True)
class EliminateCommon(Pass):
    """Every operator is pure, so equal nodes have equal values."""

    def __call__(self, module: Module) -> Module:
        new = Rebuild(module)
        weights: dict[Hashable, Value] = {}
        for value in (v for node in new.graph.nodes for v in node.operands):
            if value.index in new.graph.weights:
                first = weights.setdefault(_content(new.graph, value), value)
                if first.index != value.index:
                    new.set(value, new.of(first))
        seen: dict[Hashable, Value] = {}
        for node in new.graph.nodes:
            key = _key(node, [new.of(value) for value in node.operands])
            if key in seen:
                new.set(node.result, seen[key])
            else:
                new.copy(node)
                seen[key] = new.of(node.result)
        return new.finish()


def _content(graph: Graph, value: Value) -> Hashable:
    array = graph.weight(value)
    if array.nbytes > COMPARED_BYTES:
        return id(array)
    return array.dtype.str, array.shape, array.tobytes()


def _key(node: Node, operands: list[Value]) -> Hashable:
    # repr tells 0.0 from -0.0, which compare equal
    attributes = tuple(sorted((key, repr(value)) for key, value in node.attributes.items()))
    return node.kind, tuple(value.index for value in operands), attributes
