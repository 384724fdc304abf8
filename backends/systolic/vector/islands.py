"""Which operators become one routine of the vector unit, and in which order all work is done.

A routine goes through its operands once, so that what lies between its steps needs no memory:
it is a chain of element-wise operators, at most one set of axes along which they reduce, and
at most one operator that moves values about, which comes first. Dequantisation, and the
joining of what was dequantised, are cheap to repeat: whoever reads floats repeats them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tetrapla.backends.systolic.vector.moves import is_view
from tetrapla.ir.graph import Graph, Node, Value

# by operator, the attribute that says along which axis; the norms take all axes from it on
_ALONG = {
    "nn.cumulative_sum": "axis",
    "nn.hardmax": "axis",
    "nn.log_softmax": "axis",
    "nn.softmax": "axis",
    "qnn.softmax": "axis",
}
_FROM = ("nn.layer_norm", "nn.rms_norm")
# one number of each operand for one of the result, up to broadcasting
_ELEMENTWISE = frozenset(
    f"nn.{kind}"
    for kind in (
        "abs acos acosh add and asin asinh atan atanh batch_norm bitwise_and bitwise_not "
        "bitwise_or bitwise_xor cast cast_unsaturated ceil celu clip cos cosh div elu equal "
        "erf exp expand floor gelu greater greater_or_equal hard_sigmoid hard_swish idiv "
        "is_inf is_nan leaky_relu less less_or_equal log maximum minimum mish mod mul neg not "
        "or pow prelu reciprocal relu round selu shift_left shift_right sigmoid sign silu sin "
        "sinh softplus softsign sqrt sub tan tanh thresholded_relu where xor"
    ).split()
) | {
    *("qnn.add", "qnn.dequantize", "qnn.lookup", "qnn.mul", "qnn.quantize"),
    *("qnn.requantize", "qnn.rescale"),
}


@dataclass
class Unit:
    """Nodes that are computed together.

    Attributes:
        shape: that its element-wise operators go through; None where it is no routine.
        axes: along which it reduces, if it does.
        others: shapes of what is reduced.
        moves: whether it begins with an operator that moves values about.
        direct: the units whose results it reads.
        viewed: those of them whose results it reads through a view, and so from memory.
        before: those and all before them, as bits.
    """

    nodes: list[Node]
    shape: tuple[int, ...] | None = None
    axes: tuple[int, ...] | None = None
    others: frozenset[tuple[int, ...]] = frozenset()
    moves: bool = False
    direct: set[int] = field(default_factory=set[int])
    viewed: set[int] = field(default_factory=set[int])
    before: int = 0

    def fits(self, other: Unit) -> bool:
        """Whether another unit's nodes may be computed with these."""
        if self.shape is None or other.shape is None or (self.moves and other.moves):
            return False
        if self.axes is not None and other.axes is not None and self.axes != other.axes:
            return False
        return self.shape == other.shape or (
            not other.moves and other.axes is None and other.shape in self.others
        )


def elementwise(node: Node) -> bool:
    """Whether each number of the result comes from one of each operand."""
    return node.kind in _ELEMENTWISE


def repeated(graph: Graph, nodes: Iterable[Node], alone: Callable[[Node], bool]) -> set[int]:
    """Values that every routine that reads them computes for itself.

    Args:
        graph: of the nodes.
        nodes: of the accelerator.
        alone: whether something else than a routine computes a node, and so needs its
            operands in memory.
    """
    uses, kept = graph.uses(), {value.index for _, value in graph.outputs}
    found: set[int] = set()
    for node in nodes:
        scaled = node.kind == "qnn.dequantize" and graph.is_weight(node.operands[1])
        joins = node.kind == "nn.concat" and all(v.index in found for v in node.operands)
        if scaled or joins:
            found.add(node.result.index)
    for node in list(nodes)[::-1]:  # who reads comes before what is read
        index = node.results[0].index
        others = [use for use in uses.get(index, []) if use.results[0].index not in found]
        if index in found and (index in kept or any(map(alone, others))):
            found.discard(index)
    return found


class Grouping:
    """The units of the accelerator's nodes.

    Attributes:
        repeated: see `repeated`.
    """

    def __init__(
        self,
        graph: Graph,
        nodes: Sequence[Node],
        alone: Callable[[Node], bool],
        joined: Callable[[Node], bool],
    ) -> None:
        """Group the nodes.

        Args:
            graph: of the nodes.
            nodes: of the accelerator, in the graph's order.
            alone: whether something else than a routine computes a node.
            joined: whether a node is computed with what makes its first operand.
        """
        self._places = {node.name: place for place, node in enumerate(nodes)}
        self._makers = {v.index: node for node in nodes for v in node.results}
        self._units: list[Unit | None] = []
        self._of: dict[int, int] = {}  # by value, the unit that writes it
        self._part_of: dict[int, int] = {}  # by unit, the one that it was merged into

        def in_memory(node: Node) -> bool:
            return alone(node) or is_view(node)

        self.repeated = repeated(graph, nodes, in_memory)
        for node in nodes:
            if node.results[0].index in self.repeated:
                continue
            if is_view(node) or joined(node):
                source = self._of.get(node.operands[0].index)
                if source is not None:
                    self._of[node.results[0].index] = source
            else:
                self._place(node, _unit(node, alone(node)))

    def ordered(self) -> list[Unit]:
        """The units in an order in which they can be computed; near to the graph's."""
        units = {number: unit for number, unit in enumerate(self._units) if unit is not None}
        readers: dict[int, list[int]] = {number: [] for number in units}
        missing: dict[int, int] = {}
        for number, unit in units.items():
            missing[number] = len(unit.direct)
            for source in unit.direct:
                readers[source].append(number)
        ready = [(self._last(units[n]), n) for n, count in missing.items() if not count]
        heapq.heapify(ready)
        found: list[Unit] = []
        while ready:
            _, number = heapq.heappop(ready)
            found.append(units[number])
            for reader in readers[number]:
                missing[reader] -= 1
                if not missing[reader]:
                    heapq.heappush(ready, (self._last(units[reader]), reader))
        return found

    def _last(self, unit: Unit) -> int:
        return max(self._places[node.name] for node in unit.nodes)

    def _sources(self, value: Value, through_views: bool) -> set[int]:
        """The units that write what is read of a value."""
        node = self._makers.get(value.index)
        if node is None:
            return set()
        if value.index in self.repeated:
            if node.kind != "qnn.dequantize" and not through_views:
                return set()
            return {number for v in node.operands for number in self._sources(v, through_views)}
        if is_view(node) and not through_views:
            return set()
        number = self._of.get(value.index)
        return set() if number is None else {self._found(number)}

    def _found(self, number: int) -> int:
        """What a unit has become a part of."""
        while number in self._part_of:
            number = self._part_of[number]
        return number

    def _place(self, node: Node, unit: Unit) -> None:
        number = len(self._units)
        self._units.append(unit)
        unit.direct = {s for v in node.operands for s in self._sources(v, True)}
        for value in node.operands:
            unit.viewed |= self._sources(value, True) - self._sources(value, False)
        for source in unit.direct:
            unit.before |= self._unit(source).before | 1 << source
        near = {s for v in node.operands for s in self._sources(v, False)}
        for source in sorted(near, reverse=True) if not unit.moves else ():
            both = self._unit(source), unit
            fits = both[0].fits(unit) or unit.fits(both[0])
            if fits and not self._between(source, number):
                number, unit = self._merged(source, number)
        for value in node.results:
            self._of[value.index] = number

    def _unit(self, number: int) -> Unit:
        unit = self._units[number]
        assert unit is not None, "a unit that was merged is not referred to"
        return unit

    def _between(self, a: int, b: int) -> bool:
        """Whether a way from one to the other leads through a third, or through memory."""
        for one, other in ((a, b), (b, a)):
            if any(self._found(n) == one for n in self._unit(other).viewed):
                return True
        return any(
            other not in (a, b) and self._unit(other).before >> first & 1
            for first, then in ((a, b), (b, a))
            for other in self._unit(then).direct
        )

    def _merged(self, a: int, b: int) -> tuple[int, Unit]:
        """Unit `b` becomes part of `a`."""
        one, two = self._unit(a), self._unit(b)
        wide = one if one.shape == two.shape or two.shape in one.others else two
        both = Unit(
            [*one.nodes, *two.nodes],
            wide.shape,
            one.axes if two.axes is None else two.axes,
            one.others | two.others,
            one.moves or two.moves,
            (one.direct | two.direct) - {a, b},
            one.viewed | two.viewed,
            (one.before | two.before) & ~(1 << a | 1 << b),
        )
        self._units[a], self._units[b] = both, None
        self._part_of[b] = a
        either = 1 << a | 1 << b
        for unit in self._units:
            if unit is not None and unit.before & either:
                unit.before |= both.before | 1 << a
                if b in unit.direct:
                    unit.direct = (unit.direct - {b}) | {a}
        return a, both


def _unit(node: Node, alone: bool) -> Unit:
    if alone:
        return Unit([node])
    if node.kind in _ELEMENTWISE:
        return Unit([node], node.result.shape)
    shape = node.operands[0].shape
    axes = _axes(node)
    if axes is None:
        return Unit([node], node.results[0].shape, moves=True)
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    dropped = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    return Unit([node], shape, axes, frozenset({kept, dropped}) - {shape})


def _axes(node: Node) -> tuple[int, ...] | None:
    """The axes along which the elements of the result depend on each other."""
    rank = len(node.operands[0].shape)
    if node.kind in _ALONG:
        return (node.int(_ALONG[node.kind]) % rank,)
    if node.kind in _FROM:
        return tuple(range(node.int("axis") % rank, rank))
    if node.kind in ("nn.group_norm", "nn.instance_norm"):
        return tuple(range(1, rank))
    if node.kind.startswith("nn.reduce_"):
        return tuple(sorted(axis % rank for axis in node.ints("axes")))
    return None
