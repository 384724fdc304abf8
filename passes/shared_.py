"""Which values are read by one scale, because something would only move them otherwise.

Values that a concatenation joins, what moves them, and the same value in every round of a loop
or step of a recurrent layer get one range: the joined one. A joined tensor is then its parts
side by side, and the rounds of a loop share their tables and multipliers. (TensorFlow Lite's
8-bit specification demands the first of its concatenations.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from tetrapla.ir.graph import Graph, Node, Value
from tetrapla.passes.calibrate_ import Ranges, finite
from tetrapla.passes.cuts_ import Interval

STEP = re.compile(r"/step\.\d+/")


def shared(graph: Graph, found: Ranges, bits: int, passes_on: Callable[[Node], bool]) -> Ranges:
    """The ranges with those of values that belong together joined.

    Args:
        graph: that they are of.
        found: as calibrated.
        bits: of the integers.
        passes_on: whether a node's result holds nothing but elements of its first operand,
            maybe scaled by one number.
    """
    groups = _Groups(graph)
    for node in graph.nodes:
        if node.kind == "nn.concat":
            groups.join(node.result, *node.operands)
        elif passes_on(node) and node.kind not in ("nn.mul", "nn.div"):
            groups.join(node.result, node.operands[0])
    for values in _rounds(graph):
        groups.join(*values)
    return groups.ranges(found, _stationary(graph, groups, passes_on), bits)


class _Groups:
    """Values by index, in sets that share a range (union and find)."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._above: dict[int, int] = {}

    def join(self, first: Value, *others: Value) -> None:
        """Put values into one set; constants have ranges of their own."""
        for other in others:
            if not any(self._graph.is_weight(value) for value in (first, other)):
                self._above[self.root(other)] = self.root(first)

    def root(self, value: Value) -> int:
        """The index that stands for the value's set."""
        at = value.index
        while (above := self._above.get(at, at)) != at:
            self._above[at] = self._above.get(above, above)
            at = above
        return at

    def ranges(self, found: Ranges, symmetric: set[int], bits: int) -> Ranges:
        """The joined ranges; those of symmetric sets with a zero point of 0."""
        whole: dict[int, Interval] = {}
        for value, interval in _intervals(self._graph, found):
            if finite(interval):
                low, high = whole.get(self.root(value), interval)
                joined = min(low, interval[0]), max(high, interval[1])
                whole[self.root(value)] = joined
        whole |= {at: _centred(whole[at], bits) for at in symmetric if at in whole}

        def of(value: Value, interval: Interval) -> Interval:
            return whole[self.root(value)] if finite(interval) else interval

        inputs = {
            name: of(value, found.inputs[name])
            for name, value in self._graph.inputs
            if name in found.inputs
        }
        nodes: Mapping[str, Interval] = {
            name: of(value, found.nodes[name])
            for node in self._graph.nodes
            for name, value in node.named_results()
            if name in found.nodes
        }
        return Ranges(inputs, nodes)


def _intervals(graph: Graph, found: Ranges) -> Iterator[tuple[Value, Interval]]:
    for name, value in graph.inputs:
        if name in found.inputs:
            yield value, found.inputs[name]
    for node in graph.nodes:
        for name, value in node.named_results():
            if name in found.nodes:
                yield value, found.nodes[name]


def _rounds(graph: Graph) -> Iterator[list[Value]]:
    """The results of one operator of a body in all rounds."""
    same: dict[tuple[str, int], list[Value]] = {}
    for node in graph.nodes:
        if STEP.search(node.name):
            stem = STEP.sub("/step/", node.name)
            for i, value in enumerate(node.results):
                same.setdefault((stem, i), []).append(value)
    yield from same.values()


def _stationary(graph: Graph, groups: _Groups, passes_on: Callable[[Node], bool]) -> set[int]:
    """The sets of what is the second matrix of a product of two activations."""
    found: set[int] = set()
    for node in reversed(graph.nodes):
        if node.kind == "nn.matmul" and not graph.is_weight(node.operands[1]):
            found.add(groups.root(node.operands[1]))
        elif passes_on(node) and groups.root(node.result) in found:
            found.add(groups.root(node.operands[0]))
    return found


def _centred(interval: Interval, bits: int) -> Interval:
    """The range of -2^(bits-1) to 2^(bits-1) - 1 steps that holds the interval."""
    top = (1 << bits - 1) - 1
    most = max(-interval[0], interval[1], 0.0)
    return -most * (top + 1) / top, most
