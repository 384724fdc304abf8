"""Stages that no single instruction does: routines of the vector unit, and gathers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

from tetrapla.backends.systolic.array.products import Placing
from tetrapla.backends.systolic.layout import Layout, Placed, constant
from tetrapla.backends.systolic.vector.cuts import (
    WHOLE,
    Cut,
    cut_of,
    part_of,
    slice_of,
    span_of,
    steps_of,
)
from tetrapla.backends.systolic.vector.islands import Unit, elementwise
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Graph, Node, Value
from tetrapla.simulators.systolic.lanes import step_cycles
from tetrapla.simulators.systolic.routines import Routine, Step
from tetrapla.simulators.systolic.views import Place


@dataclass(frozen=True)
class RoutineStage:
    """One VX.

    Attributes:
        operands, results: the routine's numbers of what it reads and writes, and where.
        immediates: constants of one element, by number.
        shape: that it goes through.
        kept: axes along which its elements depend on each other; None where it cannot be cut.
    """

    name: str
    op: str
    steps: tuple[Step, ...]
    operands: tuple[tuple[int, Placed], ...]
    results: tuple[tuple[int, Placed], ...]
    immediates: Mapping[int, Array] = field(default_factory=dict[int, Array], repr=False)
    shape: tuple[int, ...] = ()
    kept: frozenset[int] | None = None

    @property
    def sources(self) -> tuple[Placed, ...]:
        """What it reads."""
        return tuple(placed for _, placed in self.operands)

    @property
    def targets(self) -> tuple[Placed, ...]:
        """What it writes."""
        return tuple(placed for _, placed in self.results)

    @cached_property
    def _cut(self) -> Cut:
        if self.kept is None:
            return WHOLE
        places = dict((*self.operands, *self.results))
        return cut_of(places, self.shape, self.kept, [number for number, _ in self.results])

    @property
    def rows(self) -> int:
        """How many equal shares of what is `cut` can each be computed by themselves."""
        return self._cut.rows

    @property
    def cut(self) -> frozenset[int]:
        """Numbers of the operands and results that are cut; the others are read whole."""
        return self._cut.numbers

    def span(self, number: int, place: Placed, first: int, end: int) -> tuple[int, int]:
        """Bytes of an operand's or result's buffer that some rows read or write."""
        if number not in self.cut:
            return 0, place.buffer.size_bytes
        return span_of(place, self._cut, first, end)

    def part(self, first: int, end: int) -> RoutineStage:
        """Rows `first` up to `end` alone, each buffer beginning with the first of them."""
        count = end - first

        def alone(number: int, place: Placed) -> tuple[int, Placed]:
            if number in self.cut:
                return number, part_of(place, self._cut, count)
            return number, slice_of(place, self._cut, first, end)

        return replace(
            self,
            steps=steps_of(self.steps, self._cut, count),
            operands=tuple(alone(*each) for each in self.operands),
            results=tuple(alone(*each) for each in self.results),
            kept=None,
        )

    def cycles(self, lanes: int) -> int:
        """How long the vector unit is busy."""
        return sum(step_cycles(step.kind, step.elements, lanes) for step in self.steps)

    def routine(self) -> Routine:
        """What the machine runs, once its buffers have addresses."""
        return Routine(
            self.name,
            tuple(_place(*each) for each in self.operands),
            tuple(_place(*each) for each in self.results),
            self.steps,
            self.immediates,
        )


@dataclass(frozen=True)
class GatherStage:
    """One GTH: rows of a constant table that stays in DRAM.

    Attributes:
        table: of shape (rows, elements of a row); zeros where the module is shape-only.
        indices: of i32 or i64, dense.
        target: dense, a row for each index.
    """

    name: str
    op: str
    table: Array = field(repr=False)
    indices: Placed
    target: Placed

    @property
    def sources(self) -> tuple[Placed, ...]:
        """What it reads of the unified buffer."""
        return (self.indices,)

    @property
    def targets(self) -> tuple[Placed, ...]:
        """What it writes."""
        return (self.target,)

    def cycles(self, lanes: int) -> int:
        """None of the vector unit."""
        del lanes
        return 0


def _place(value: int, placed: Placed) -> Place:
    return Place(value, placed.buffer.address, placed.dtype, placed.physical, placed.view)


def routine_stage(placing: Placing, unit: Unit, repeated: Mapping[int, Node]) -> RoutineStage:
    """The stage that computes a unit's nodes in their order.

    Args:
        placing: of their operands and results.
        unit: of nodes that write a result or feed one that does.
        repeated: by value, what is computed again where it is read.
    """
    nodes = unit.nodes
    wanted = _with_repeated(nodes, repeated)
    made = {v.index for node in wanted for v in node.results}
    read = {v.index: v for node in wanted for v in node.operands if v.index not in made}
    immediates = {
        i: constant(placing.graph, v)
        for i, v in read.items()
        if placing.graph.is_weight(v) and v.elements == 1
    }
    operands = tuple((i, placing.read(v)) for i, v in read.items() if i not in immediates)
    results = []
    for value in _needed(placing, nodes, repeated):
        placed = placing.fresh(value, _hint(read, operands, value))
        placing.values[value.index] = placed
        results.append((value.index, placed))
    shape = nodes[-1].results[0].shape if unit.shape is None else unit.shape
    kinds = [node.kind for node in nodes if node.kind not in _BORDER] or [nodes[-1].kind]
    return RoutineStage(
        nodes[-1].name if len(nodes) == 1 else _named(nodes),
        kinds[0],
        tuple(_step(node) for node in wanted),
        operands,
        tuple(results),
        immediates,
        shape,
        _kept(unit, shape, wanted),
    )


def _kept(unit: Unit, shape: tuple[int, ...], nodes: Sequence[Node]) -> frozenset[int] | None:
    """The axes along which elements depend on each other; None where all do, or shapes do."""
    single = unit.shape is None and not all(map(elementwise, unit.nodes))
    if unit.moves or single or any("shape" in node.attributes for node in nodes):
        return None
    rank = len(shape)
    if any(len(node.results[0].shape) != rank for node in nodes):
        return None
    joined = {n.int("axis") % rank for n in nodes if n.kind == "nn.concat"}
    scaled = {1 for n in nodes if n.kind == "nn.batch_norm"}
    per_axis = {
        n.int("axis") % rank
        for n in nodes
        if n.kind in _SCALED and any(v.elements > 1 for v in n.operands[1:])
    }
    return frozenset({*(unit.axes or ()), *joined, *scaled, *per_axis})


_SCALED = ("qnn.dequantize", "qnn.quantize", "qnn.requantize", "qnn.rescale")


_BORDER = ("qnn.dequantize", "qnn.quantize", "qnn.requantize")


def _named(nodes: Sequence[Node]) -> str:
    """The name of the first that is more than a conversion."""
    return next((n.name for n in nodes if n.kind not in _BORDER), nodes[0].name)


def _with_repeated(nodes: Sequence[Node], repeated: Mapping[int, Node]) -> list[Node]:
    """The nodes, each after what it repeats."""
    found: list[Node] = []
    seen: set[int] = set()

    def add(node: Node) -> None:
        if node.results[0].index in seen:
            return
        seen.add(node.results[0].index)
        for value in node.operands:
            if value.index in repeated:
                add(repeated[value.index])
        found.append(node)

    for node in nodes:
        add(node)
    return found


def _needed(
    placing: Placing, nodes: Sequence[Node], repeated: Mapping[int, Node]
) -> list[Value]:
    """What others than the nodes themselves read."""
    inside = {node.name for node in nodes}

    def outside(value: Value) -> bool:
        if value.index in placing.kept:
            return True
        for use in placing.uses.get(value.index, []):
            again = use.results[0].index in repeated
            if outside(use.results[0]) if again else use.name not in inside:
                return True
        return False

    return [v for node in nodes for v in node.results if outside(v)]


def _step(node: Node) -> Step:
    return Step(
        node.kind,
        node.name,
        tuple(value.index for value in node.operands),
        tuple(value.index for value in node.results),
        _elements(node),
        dict(node.attributes),
    )


def _elements(node: Node) -> int:
    """How many elements pass the lanes: those of the largest value, or the windows' taps."""
    if "kernel" in node.attributes:
        return node.result.elements * prod(node.ints("kernel"))
    if node.kind == "qnn.lookup":
        return node.result.elements  # its table is looked into
    return max(value.elements for value in (*node.operands, *node.results))


def _hint(
    read: Mapping[int, Value], operands: Sequence[tuple[int, Placed]], result: Value
) -> Layout | None:
    """The layout of an operand of the result's shape."""
    for index, placed in operands:
        if read[index].shape == result.shape:
            try:
                return placed.parted()[1]
            except UnsupportedError:
                continue
    return None


def copy_stage(
    name: str, source: Placed, target: Placed, shape: tuple[int, ...]
) -> RoutineStage:
    """The same value elsewhere, or in another layout."""
    while source.strided() is None and source.view[-1][0] == "reshape":
        # what joins axes of the source divides those of the target, which strides can say
        source = replace(source, view=source.view[:-1])
        shape = source.positions().shape
        target = target.then("reshape", shape)
    same = {"perm": tuple(range(len(shape)))}
    step = Step("nn.transpose", name, (0,), (1,), prod(shape), same)
    operands, results = ((0, source),), ((1, target),)
    kept: frozenset[int] = frozenset()
    return RoutineStage(name, "copy", (step,), operands, results, {}, shape, kept)


def is_table_lookup(graph: Graph, node: Node) -> bool:
    """Whether a node takes rows of a constant, which may then stay in DRAM."""
    return (
        node.kind == "nn.gather"
        and graph.is_weight(node.operands[0])
        and not graph.is_weight(node.operands[1])
        and node.int("axis") % len(node.operands[0].shape) == 0
        and node.operands[1].dtype in ("i32", "i64")
    )


def gather_stage(graph: Graph, node: Node, indices: Placed, target: Placed) -> GatherStage:
    """The stage of such a node."""
    table = constant(graph, node.operands[0])
    return GatherStage(node.name, node.kind, table.reshape(len(table), -1), indices, target)
