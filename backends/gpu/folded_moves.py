"""Products that read and write through moves: transposes and slices that cost no kernel.

    before   t = nn.transpose(k)          after   s = MatMul(q, k)      rows and columns swapped
             s = nn.matmul(q, t)
             y = nn.matmul(p, v)                  z = MatMul(p, v)      heads side by side
             z = nn.transpose(y)

A slice or repetition of what a product reads is an offset and strides too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tetrapla.backends.gpu.groups import PRODUCTS, Group, Groups
from tetrapla.backends.gpu.views import MOVES, View, plain, reshaped, view_of, written
from tetrapla.ir.graph import Graph, Node


@dataclass(frozen=True)
class Through:
    """A graph whose products read what is stored.

    Attributes:
        graph: without the moves that nothing else reads.
        reads: by a product's name, its operands.
    """

    graph: Graph
    reads: Mapping[str, tuple[View, View]]


def read_through(graph: Graph) -> Through:
    """Let products read their operands by strides; of a convolution, the image."""
    makers = {value.index: node for node in graph.nodes for value in node.results}
    reads: dict[str, tuple[View, View]] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.kind in PRODUCTS and node.kind.endswith("matmul"):
            a, b = (view_of(value, makers) for value in node.operands[:2])
            reads[node.name] = a, b
            node = replace(node, operands=(a.value, b.value, *node.operands[2:]))
        elif node.kind in PRODUCTS:
            x = view_of(node.operands[0], makers)
            if x.offset == 0 and x.value.index != node.operands[0].index:
                reads[node.name] = x, plain(node.operands[1])
                node = replace(node, operands=(x.value, *node.operands[1:]))
        nodes.append(node)
    kept = {value.index for _, value in graph.outputs}
    return Through(replace(graph, nodes=_needed(nodes, kept)), reads)


def _needed(nodes: list[Node], read: set[int]) -> tuple[Node, ...]:
    """The nodes without the moves that nothing reads."""
    found: list[Node] = []
    for node in reversed(nodes):
        if node.kind in MOVES and node.result.index not in read:
            continue
        found.append(node)
        read |= {value.index for value in node.operands}
    return tuple(reversed(found))


def write_through(node: Node, found: Groups, heads: Mapping[str, Group]) -> Group | None:
    """The group of a product that stores its result as a transpose behind it does."""
    graph = found.graph
    source = found.root(node.operands[0]).index
    makers = [g for g in heads.values() if found.root(g.tail.result).index == source]
    if node.kind != "nn.transpose" or not makers or makers[0].place is not None:
        return None
    (group,) = makers
    if group.head.kind not in PRODUCTS or source in found.kept:
        return None
    kept = {value.index for _, value in graph.outputs} | {node.result.index}
    view, moves = written(group.tail, graph.uses(), kept)
    if node.name not in moves:
        return None
    shape = group.head.result.shape
    strides = reshaped(view.shape, view.strides, shape)
    if strides is None:
        return None
    place = replace(view, shape=shape, strides=strides)
    chain = sorted(moves, key=lambda name: found.position[name])
    return replace(group, moves=tuple(chain), place=place)
