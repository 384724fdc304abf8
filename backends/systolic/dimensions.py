"""Dimensions of nothing, refused by name before anything is quantised or laid out."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Graph
from tetrapla.ir.op import OPS, Op


def check_dimensions(graph: Graph) -> None:
    """Hold inputs, and what is multiplied, to at least one element along each axis.

    Other operators may have empty operands: that is how exporters leave one out.

    Raises:
        UnsupportedError: names the first that is empty, and its shape.
    """
    for thing, shape in _shapes(graph):
        if not prod(shape):
            raise UnsupportedError(
                f"systolic: {thing} must have positive dimensions, not {shape}; "
                "give every axis, the batch too, at least 1"
            )


def _shapes(graph: Graph) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, value in graph.inputs:
        yield f"input '{name}'", value.shape
    for each in graph.nested():
        for node in each.nodes:
            if OPS[node.kind].macs is not Op.macs:  # it multiplies
                for value in (*node.operands[:2], node.results[0]):
                    yield f"layer '{node.name}'", value.shape
