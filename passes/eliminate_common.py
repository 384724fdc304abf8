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
from tetrapla.passes.bodies_ import within
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rebuild_ import Rebuild

# assumed: comparing weights above this would read a whole memory-mapped model
COMPARED_BYTES = 2**16


@dataclass(frozen=True)
class EliminateCommon(Pass):
    """Every operator is pure, so equal nodes have equal values."""

    def __call__(self, module: Module) -> Module:
        return _once(within(module, _once))


def _once(module: Module) -> Module:
    new = Rebuild(module)
    weights: dict[Hashable, Value] = {}
    for value in (v for node in new.graph.nodes for v in node.operands):
        if value.index in new.graph.weights:
            first = weights.setdefault(_content(new.graph, value), value)
            if first.index != value.index:
                new.set(value, new.of(first))
    seen: dict[Hashable, Node] = {}
    for node in new.graph.nodes:
        equal = seen.setdefault(_key(node, [new.of(value) for value in node.operands]), node)
        if equal is node:
            new.copy(node)
        else:
            for value, same in zip(node.results, equal.results, strict=True):
                new.set(value, new.of(same))
    return new.finish()


def _content(graph: Graph, value: Value) -> Hashable:
    array = graph.weight(value)
    if array.nbytes > COMPARED_BYTES:
        return id(array)
    return value.dtype, array.shape, array.tobytes()


def _key(node: Node, operands: list[Value]) -> Hashable:
    # repr tells 0.0 from -0.0, which compare equal; two bodies are equal if they are one
    attributes = tuple(sorted((key, repr(value)) for key, value in node.attributes.items()))
    bodies = tuple(id(body) for body in node.bodies)
    return node.kind, tuple(value.index for value in operands), attributes, bodies
