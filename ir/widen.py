"""Integer weights under 8 bits held in 8, for what stores or exchanges nothing smaller.

Before::

    %a = qnn.conv2d(%q, @w : i4)

After::

    %a = qnn.conv2d(%q, @w.i8 : i8)

The products are of the same integers, so every bit stays; what narrower weights save in memory
and traffic is lost.
"""

from __future__ import annotations

from dataclasses import replace

from tetrapla.ir.graph import DTYPES, Array, Graph, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.names import Names

WIDER = {"i2": "i8", "i4": "i8", "ui2": "ui8", "ui4": "ui8"}
PRODUCTS = ("qnn.matmul", "qnn.conv2d")


def widened(module: Module) -> Module:
    """The module with wider weights, in the bodies of loops and branches too; or itself.

    Args:
        module: stays as it is; it may be shape-only.
    """
    symbols = Names()
    for graph in module.graph.nested():
        for symbol in sorted(set(graph.constants.values())):
            symbols.take(symbol)
    graph = _widened(module.graph, symbols)
    return module if graph is module.graph else Module.from_graph(graph, module.name)


def _widened(graph: Graph, symbols: Names) -> Graph:
    wide: dict[int, Value] = {}
    indices = [v.index for _, v in graph.inputs]
    indices += [v.index for node in graph.nodes for v in node.results]
    free = 1 + max([*indices, *graph.constants], default=0)
    nodes: list[Node] = []
    for node in graph.nodes:
        bodies = tuple(_widened(body, symbols) for body in node.bodies)
        if any(new is not old for new, old in zip(bodies, node.bodies, strict=True)):
            node = replace(node, bodies=bodies)
        if _narrow(graph, node):
            x, w, *bias = node.operands
            if w.index not in wide:
                wide[w.index] = Value(free + len(wide), w.shape, WIDER[w.dtype])
            node = replace(node, operands=(x, wide[w.index], *bias))
        nodes.append(node)
    if not wide:
        same = all(new is old for new, old in zip(nodes, graph.nodes, strict=True))
        return graph if same else replace(graph, nodes=tuple(nodes))
    return _kept(replace(graph, nodes=tuple(nodes)), wide, symbols)


def _narrow(graph: Graph, node: Node) -> bool:
    if node.kind not in PRODUCTS:
        return False
    weights = node.operands[1]
    return weights.dtype in WIDER and graph.is_weight(weights)


def _kept(graph: Graph, wide: dict[int, Value], symbols: Names) -> Graph:
    """The graph with the new constants, without those that nothing reads any longer."""
    constants, weights = dict(graph.constants), dict[int, Array](graph.weights)
    for index, value in wide.items():
        constants[value.index] = symbols.take(f"{graph.constants[index]}.{value.dtype}")
        if index in graph.weights:
            weights[value.index] = graph.weights[index].astype(DTYPES[value.dtype])
    read = {v.index for node in graph.nodes for v in node.operands}
    read.update(value.index for _, value in graph.outputs)
    for index in wide:
        if index not in read:
            constants.pop(index)
            weights.pop(index, None)
    return replace(graph, constants=constants, weights=weights)
