"""A graph without inner graphs, with an input and an output, and every edge once.

Files in use lack Input or Output nodes, repeat edges and nest graphs. An edge to a node that is
not there is mended only on request, and only where one node without edges can be meant.
"""

from __future__ import annotations

from tetrapla.frontend.nir.network import NODES, Edge, Network, Node
from tetrapla.ir.errors import ModelError, UnsupportedError, some


def flat(network: Network, *, repair: bool = False) -> Network:
    """The graph in plain form.

    Args:
        network: as read.
        repair: rename a node without edges to the only name that edges miss.

    Raises:
        UnsupportedError: nodes of types that NIR does not have; all are listed.
        ModelError: an edge names a node that is not there, or the graph is empty.
    """
    nodes, edges = _inlined(network, repair)
    unknown = [
        f"{name} ({node.type})" for name, node in nodes.items() if node.type not in NODES
    ]
    if unknown:
        raise UnsupportedError(
            f"nir: nodes {', '.join(unknown)} have no spiking form; known are "
            f"{', '.join(sorted(NODES))}, NIRGraph"
        )
    if not nodes:
        raise ModelError("nir: a graph must have a node, not none; write it again")
    for name, node in nodes.items():
        missing = [field for field in NODES[node.type][0].split() if field not in node.fields]
        if missing:
            raise ModelError(
                f"nir: node '{name}' ({node.type}) must have {', '.join(missing)}, not lack "
                "it; write it again"
            )
    return Network(nodes, tuple(dict.fromkeys(edges)), network.metadata, network.version)


def _inlined(network: Network, repair: bool) -> tuple[dict[str, Node], list[Edge]]:
    network = _whole(network, repair)
    nodes: dict[str, Node] = {}
    edges = list(network.edges)
    for name, each in network.nodes.items():
        if isinstance(each, Node):
            nodes[name] = each
            continue
        inner, wires = _inlined(each, repair)
        prefixed = {f"{name}.{inner_name}": node for inner_name, node in inner.items()}
        joined = [(f"{name}.{a}", f"{name}.{b}") for a, b in wires]
        for type_, into in (("Input", True), ("Output", False)):
            ends = [each for each, node in prefixed.items() if node.type == type_]
            edges = _joined(edges, name, ends, into)
        nodes |= prefixed
        edges += joined
    return _through(nodes, edges, network)


def _joined(edges: list[Edge], name: str, ends: list[str], into: bool) -> list[Edge]:
    """Edges of a node that is a graph, led to the border nodes of that graph."""
    made: list[Edge] = []
    for a, b in edges:
        if into and b == name:
            made += [(a, end) for end in ends]
        elif not into and a == name:
            made += [(end, b) for end in ends]
        else:
            made.append((a, b))
    return made


def _through(
    nodes: dict[str, Node], edges: list[Edge], network: Network
) -> tuple[dict[str, Node], list[Edge]]:
    """Without the border nodes of inner graphs: what feeds one feeds what it fed."""
    borders = [
        name
        for name, node in nodes.items()
        if node.type in ("Input", "Output") and name not in network.nodes
    ]
    for border in borders:
        sources = [a for a, b in edges if b == border]
        targets = [b for a, b in edges if a == border]
        edges = [edge for edge in edges if border not in edge]
        edges += [(a, b) for a in sources for b in targets]
        del nodes[border]
    return nodes, edges


def _whole(network: Network, repair: bool) -> Network:
    """The graph with every edge between nodes that are there."""
    named = {end for edge in network.edges for end in edge}
    missing = sorted(named - set(network.nodes))
    if not missing:
        return network
    idle = sorted(set(network.nodes) - named)
    if len(missing) != 1 or len(idle) != 1:
        raise ModelError(
            f"nir: edges must name nodes of the graph, not {some(missing)}; write the edges "
            "again"
        )
    if not repair:
        raise ModelError(
            f"nir: node '{missing[0]}' is named by an edge but does not exist, and "
            f"'{idle[0]}' has no edge; --repair (repair=True) takes the one for the "
            "other, or write the edges again"
        )
    nodes = {missing[0] if name == idle[0] else name: n for name, n in network.nodes.items()}
    return Network(nodes, network.edges, network.metadata, network.version)
