"""What a model is made of: its operators by kind, with their work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tetrapla.ir.graph import Node
from tetrapla.ir.module import Module
from tetrapla.ir.op import flops, macs
from tetrapla.quantities import count

HEADINGS = ("operator", "count", "MACs", "FLOPs", "bytes")


def counted(module: Module) -> list[tuple[str, ...]]:
    """One row per kind in the order of names, then one of all of them.

    Bytes are those of operands and results, each operator's by itself: the traffic of a
    machine that keeps nothing. A loop's work is its body's times its rounds; where the values
    decide how many, it is not known.
    """
    nodes = module.graph.nodes
    kinds = Counter(node.kind for node in nodes)
    rows = [_row(kind, [n for n in nodes if n.kind == kind]) for kind in sorted(kinds)]
    return [*rows, _row("all", nodes)]


def _row(title: str, nodes: Sequence[Node]) -> tuple[str, ...]:
    figures = (macs(nodes), flops(nodes), sum(node.traffic_bytes for node in nodes))
    return (title, str(len(nodes)), *map(count, figures))
