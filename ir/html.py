"""A module for a notebook: counts on top, its text folded away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from tetrapla.ir.graph import Graph, Value

_LETTERS = 20_000  # of the text


def as_html(name: str, graph: Graph, text: str) -> str:
    """A heading, a table of what goes in and out, operators by kind, and the text."""
    rows = [*_values("input", graph.inputs), *_values("output", graph.outputs)]
    kinds = Counter(node.kind for node in graph.nodes)
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    shown = text if len(text) <= _LETTERS else f"{text[:_LETTERS]}\n... and so on"
    return (
        f"<h3>{escape(name)}: {len(graph.nodes)} operators</h3>"
        f"<table><tr><th></th><th>name</th><th>shape</th><th>type</th></tr>{''.join(rows)}"
        f"</table><p>{escape(counted)}</p>"
        f"<details><summary>MLIR</summary><pre>{escape(shown)}</pre></details>"
    )


def _values(what: str, values: Sequence[tuple[str, Value]]) -> list[str]:
    return [
        f"<tr><td>{what}</td><td>{escape(name)}</td>"
        f"<td>{' x '.join(map(str, value.shape)) or 'scalar'}</td><td>{value.dtype}</td></tr>"
        for name, value in values
    ]
