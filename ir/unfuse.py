"""Epilogues as operators of their own, for what knows a product with a bias and a ReLU only.

Before::

    %y = nn.matmul(%x, @w, @bias, %r) {activation = "gelu"}

After::

    %p = nn.matmul(%x, @w, @bias) {activation = "none"}
    %s = nn.add(%p, %r)
    %y = nn.gelu(%s) {approximate = "none"}

Every bit stays: the operator means just these three (`nn.epilogue`). The product keeps its
name; the others are called ``<name>.residual`` and ``<name>.<activation>``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from tetrapla.ir.graph import Graph, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.names import Names
from tetrapla.ir.nn.epilogue import FUNCTIONS

PRODUCTS = ("nn.matmul", "nn.conv2d")
NARROW = ("relu",)


def is_narrow(
    node: Node, activations: Collection[str] = NARROW, residual: bool = False
) -> bool:
    """Whether a node is no product with more in its epilogue than a bias and these.

    Args:
        node: of any kind.
        activations: that are allowed besides none.
        residual: whether one is allowed.
    """
    if node.kind not in PRODUCTS:
        return True
    known = node.str("activation") in ("none", *activations)
    return known and (residual or not has_residual(node))


def has_residual(node: Node) -> bool:
    """Whether a product or convolution adds one."""
    return node.kind in PRODUCTS and len(node.operands) == 4


def unfused(
    module: Module, activations: Collection[str] = NARROW, residual: bool = False
) -> Module:
    """The module whose products hold no more than a bias and these; itself if they do not.

    Args:
        module: stays as it is; the bodies of loops and branches are rewritten, too.
        activations: that may stay.
        residual: whether one may stay (and the activation behind it).
    """
    graph = unfused_graph(module.graph, activations, residual)
    return module if graph is module.graph else Module.from_graph(graph, module.name)


def unfused_graph(
    graph: Graph, activations: Collection[str] = NARROW, residual: bool = False
) -> Graph:
    """As `unfused`, of a graph."""
    nested = (node for each in graph.nested() for node in each.nodes)
    if all(is_narrow(node, activations, residual) for node in nested):
        return graph
    parts = _Parts(graph, frozenset(activations), residual)
    nodes: list[Node] = []
    for node in graph.nodes:
        bodies = tuple(unfused_graph(body, activations, residual) for body in node.bodies)
        nodes += parts.of(replace(node, bodies=bodies) if bodies else node)
    return replace(graph, nodes=tuple(nodes))


class _Parts:
    """What stands for each node of one graph, under names and indices that are free."""

    def __init__(self, graph: Graph, activations: frozenset[str], residual: bool) -> None:
        self._activations = activations
        self._residual = residual
        self._names = Names()
        for node in graph.nodes:
            self._names.take(node.name)
        taken = {value.index for _, value in graph.inputs}
        taken.update(value.index for node in graph.nodes for value in node.results)
        self._next = 1 + max([*taken, *graph.constants], default=0)

    def of(self, node: Node) -> Iterator[Node]:
        """The node, or its parts in order; the last one makes its result."""
        if is_narrow(node, self._activations, self._residual):
            yield node
            return
        activation, last = node.str("activation"), node.result
        keeps = self._residual or not has_residual(node)
        inside = activation if keeps and activation in self._activations else "none"
        own = node.operands if keeps else node.operands[:3]
        tails: list[tuple[str, str, tuple[Value, ...]]] = []
        if not keeps:
            tails.append(("nn.add", "residual", node.operands[3:]))
        if inside != activation:
            tails.append((FUNCTIONS[activation][0], activation, ()))
        value = self._value(last)
        held = {**node.attributes, "activation": inside}
        yield Node(node.kind, node.name, own, (value,), held)
        for i, (kind, suffix, more) in enumerate(tails):
            made = last if i == len(tails) - 1 else self._value(last)
            held = dict(FUNCTIONS[suffix][1]) if suffix in FUNCTIONS else {}
            name = self._names.take(f"{node.name}.{suffix}")
            yield Node(kind, name, (value, *more), (made,), held)
            value = made

    def _value(self, like: Value) -> Value:
        self._next += 1
        return replace(like, index=self._next - 1)
