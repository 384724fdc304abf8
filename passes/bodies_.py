"""A pass inside the bodies of loops and branches.

A body is a graph of its own: it is made a module, rewritten, and put back. Its weights keep
their symbols where they can; a new one that another body or the model has already taken for
another array gets a number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tetrapla.ir.graph import Array, Graph, Node
from tetrapla.ir.module import Module
from tetrapla.ir.names import Names


def within(module: Module, rewrite: Callable[[Module], Module]) -> Module:
    """The module with every body rewritten, innermost first; itself where nothing changed.

    Args:
        module: with or without bodies.
        rewrite: keeps the inputs and outputs of what it is given.
    """
    if not any(node.bodies for node in module.graph.nodes):
        return module
    names, arrays = Names(), dict[str, Array]()
    for symbol in module.graph.constants.values():
        if symbol in module.weights and symbol not in arrays:
            arrays[names.take(symbol)] = module.weights[symbol]
    graph = _rewritten(module.graph, module.name, rewrite, names, arrays)
    return module if graph is module.graph else Module.from_graph(graph, module.name)


def _rewritten(
    graph: Graph,
    name: str,
    rewrite: Callable[[Module], Module],
    names: Names,
    arrays: dict[str, Array],
) -> Graph:
    """The graph with the bodies of its nodes rewritten; itself where all of them stay."""

    def body_of(node: Node, body: Graph) -> Graph:
        inner = _rewritten(body, name, rewrite, names, arrays)
        before = Module.from_graph(inner, f"{name}.{node.name}")
        after = rewrite(before)
        return _settled(inner if after is before else after.graph, names, arrays)

    nodes = tuple(
        replace(node, bodies=tuple(body_of(node, body) for body in node.bodies))
        if node.bodies
        else node
        for node in graph.nodes
    )
    same = all(
        old is new
        for before, after in zip(graph.nodes, nodes, strict=True)
        for old, new in zip(before.bodies, after.bodies, strict=True)
    )
    return graph if same else replace(graph, nodes=nodes)


def _settled(graph: Graph, names: Names, arrays: dict[str, Array]) -> Graph:
    """The graph with symbols that name one array each in the whole model."""
    constants = dict(graph.constants)
    for index, symbol in graph.constants.items():
        array = graph.weights.get(index)
        if symbol not in arrays:
            names.take(symbol)
        elif arrays[symbol] is not array and array is not None:
            constants[index] = symbol = names.take(symbol)
        if array is not None:
            arrays[symbol] = array
    same = constants == graph.constants
    return graph if same else replace(graph, constants=constants)
