"""Where results would best lie: by who reads them, and inside what they are joined to."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tetrapla.backends.systolic.array.batched import is_batched
from tetrapla.backends.systolic.layout import Layout, Placed, channels_last, steps_of
from tetrapla.backends.systolic.vector.islands import elementwise
from tetrapla.backends.systolic.vector.moves import is_view
from tetrapla.ir.graph import Graph, Node, Value

CONCATS = ("nn.concat", "qnn.concat")
WINDOWS = (
    *("nn.conv2d", "qnn.conv2d", "nn.max_pool2d", "qnn.average_pool2d"),
    "qnn.global_average_pool",
)
_IMAGES = (
    *WINDOWS,
    *("nn.average_pool2d", "nn.global_average_pool", "nn.resize", "nn.lrn"),
    *("nn.batch_norm", "nn.group_norm", "nn.instance_norm", "nn.prelu"),
)
_MATRICES = ("qnn.matmul", "nn.matmul")
_FAR = 12  # readers of readers that are looked at


@dataclass(frozen=True)
class Part:
    """A value's place in a concatenation: `size` along an axis, from `start` on.

    Attributes:
        back: the shape of the value itself, where a reshape of it is what is joined.
    """

    whole: Value
    axis: int
    start: int
    size: int
    back: tuple[int, ...] | None = None

    def inside(self, whole: Placed) -> Placed | None:
        """The slice of the whole; None where its layout is more than a transpose."""
        count = sum(step == "slice" for step, _ in whole.view)
        slices, rest = whole.view[:count], whole.view[count:]
        if len(rest) > 1 or any(step != "transpose" for step, _ in rest):
            return None
        shape = whole.parted()[1][0]
        axis = rest[0][1][self.axis] if rest else self.axis
        starts, stops = [0] * len(shape), list(shape)
        starts[axis], stops[axis] = self.start, self.start + self.size
        cut = ("slice", (*starts, *stops, *([1] * len(shape))))
        found = Placed(whole.buffer, whole.physical, (*slices, cut, *rest), whole.dtype)
        return found if self.back is None else found.then("reshape", self.back)


class Homes:
    """Where values would best lie."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._makers = {v.index: node for node in graph.nodes for v in node.results}
        self._uses = graph.uses()

    def layout(self, value: Value, hint: Layout | None) -> Layout:
        """The layout of a fresh result.

        Args:
            value: the result.
            hint: that of an operand of the same shape, which costs nothing to keep.
        """
        maker = self._maker(value)
        kind = "" if maker is None else maker.kind
        if kind in WINDOWS:
            return channels_last(value.shape)
        if maker is not None and kind in _MATRICES and not is_batched(self._graph, maker):
            return value.shape, ()
        if turned := self._turned(value):
            return turned
        image = len(value.shape) == 4 and self._is_image(value)
        if hint is not None:
            fits = image is None or steps_of(hint)[1 if image else -1] <= 1
            if len(value.shape) != 4 or fits:
                return hint
        return (value.shape, ()) if image is False else channels_last(value.shape)

    def _turned(self, value: Value) -> Layout | None:
        """As everyone reads it, where all transpose it alike and keep the last axis last."""
        uses = self._uses.get(value.index, [])
        if not uses or any(use.kind != "nn.transpose" for use in uses):
            return None
        perms = {use.ints("perm") for use in uses}
        perm = perms.pop()
        if perms or perm[-1] != len(perm) - 1:
            return None
        shape = tuple(value.shape[axis] for axis in perm)
        return shape, (("transpose", tuple(int(axis) for axis in np.argsort(perm))),)

    def _maker(self, value: Value) -> Node | None:
        """What makes a value, before its requantisation."""
        maker = self._makers.get(value.index)
        if maker is not None and maker.kind == "qnn.requantize":
            return self._makers.get(maker.operands[0].index, maker)
        return maker

    def _is_image(self, value: Value) -> bool | None:
        """Whether its readers want channels last, or its last axis as it is; if any cares."""
        maker = self._maker(value)
        if maker is not None and maker.kind in _MATRICES:
            return False
        if maker is not None and maker.kind in CONCATS:
            sources = [self._maker(operand) for operand in maker.operands]
            if any(source is not None and source.kind in WINDOWS for source in sources):
                return True
        waiting, seen = [value], 0
        while waiting and seen < _FAR:
            for use in self._uses.get(waiting.pop(0).index, []):
                seen += 1
                if use.kind in _IMAGES:
                    return True
                if use.kind == "nn.transpose" and use.ints("perm")[-1] == 1:
                    return True  # to have its channels last
                if use.kind in _MATRICES or is_view(use):
                    return False
                if elementwise(use) or use.kind in CONCATS:
                    waiting.append(use.result)
        return None


def parts(
    graph: Graph, nodes: Sequence[Node], skipped: Container[int], views: Mapping[int, Node]
) -> dict[int, Part]:
    """By value, the concatenation in which it can be written at once.

    Args:
        graph: of the nodes.
        nodes: of the accelerator.
        skipped: concatenations that are not written at all, by their value.
        views: values that lie where others do.
    """
    made = {v.index: node for node in nodes for v in node.results}
    found: dict[int, Part] = {}
    inputs = _inputs(graph)
    for node in nodes:
        if node.kind not in CONCATS or node.result.index in skipped:
            continue
        axis, start = node.int("axis") % len(node.result.shape), 0
        twice = node.operands[0] == node.operands[1]
        for letter, value in zip("ab", node.operands, strict=True):
            own = unshaped(value, views)
            maker = made.get(own.index)
            ready = maker is not None and maker.kind != "nn.gather"
            if ready and not twice and own.index not in (*found, *views, *inputs):
                if node.kind == "nn.concat" or is_same(node, letter):
                    back = None if own == value else own.shape
                    size = value.shape[axis]
                    found[own.index] = Part(node.result, axis, start, size, back)
            start += value.shape[axis]
    return found


def unshaped(value: Value, views: Mapping[int, Node]) -> Value:
    """The value of which another is a reshape, or itself.

    Args:
        value: any.
        views: the nodes that make values that lie where others do.
    """
    while value.index in views and views[value.index].kind == "nn.reshape":
        value = views[value.index].operands[0]
    return value


def is_same(node: Node, letter: str) -> bool:
    """Whether a qnn.concat leaves an operand's numbers as they are."""
    return all(
        node.attributes[f"{letter}_{what}"] == node.attributes[f"y_{what}"]
        for what in ("scale", "zero_point")
    )


def _inputs(graph: Graph) -> tuple[int, ...]:
    return tuple(value.index for _, value in graph.inputs)
