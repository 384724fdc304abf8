"""From nodes to stages: what to compute with which tables, before any instruction exists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from tetrapla.backends.systolic.array.batched import batched, is_batched
from tetrapla.backends.systolic.array.formats import PRODUCTS
from tetrapla.backends.systolic.array.products import (
    Placing,
    Product,
    is_epilogue,
    product,
    row_order,
)
from tetrapla.backends.systolic.array.tiling import Shared
from tetrapla.backends.systolic.design import Machine
from tetrapla.backends.systolic.layout import (
    ROWS,
    Buffer,
    Layout,
    Placed,
    channels_last,
    constant,
    is_dense,
    placed,
    rows_of,
)
from tetrapla.backends.systolic.partition import Refusal, refuse
from tetrapla.backends.systolic.vector.averages import is_large_average, large_average
from tetrapla.backends.systolic.vector.depthwise import depthwise, is_depthwise
from tetrapla.backends.systolic.vector.fusion import fused
from tetrapla.backends.systolic.vector.homes import (
    CONCATS,
    WINDOWS,
    Homes,
    Part,
    parts,
    unshaped,
)
from tetrapla.backends.systolic.vector.islands import Grouping, Unit
from tetrapla.backends.systolic.vector.joined import copied, copies
from tetrapla.backends.systolic.vector.moves import is_view
from tetrapla.backends.systolic.vector.operators import Pass, is_pass, vector_pass
from tetrapla.backends.systolic.vector.routines import (
    GatherStage,
    RoutineStage,
    gather_stage,
    is_table_lookup,
    routine_stage,
)
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Graph, Node, Value

Stage: TypeAlias = Product | Pass | RoutineStage | GatherStage


class Stages:
    """Collects stages; `values` says where each value lies, `buffers` what needs an address."""

    def __init__(self, graph: Graph, machine: Machine) -> None:
        self.graph = graph
        self.machine = machine
        self.found: list[Stage] = []
        self.values: dict[int, Placed] = {}
        self.buffers: list[Buffer] = []
        self.constants: list[tuple[Placed, Array]] = []
        self.uses = graph.uses()
        self.shared: Shared = {}
        self.kept = {value.index for _, value in graph.outputs}
        self._makers = {v.index: node for node in graph.nodes for v in node.results}
        self._homes = Homes(graph)
        self._parts: dict[int, Part] = {}
        self._views: dict[int, Node] = {}
        self._wholes: dict[int, Placed] = {}
        self._at_home: set[int] = set()
        self._repeated: dict[int, Node] = {}
        self._fused: frozenset[str] = frozenset()

    def add_all(self, nodes: tuple[Node, ...]) -> None:
        """Make the stages of the accelerator's nodes.

        Raises:
            UnsupportedError: layouts that no instruction can read; one message for all.
        """
        ways = self._alone, self._is_epilogue
        self._fused = fused(self.graph, nodes, self.machine, *ways)
        grouping = Grouping(self.graph, nodes, *ways)
        self._repeated = {i: self._makers[i] for i in grouping.repeated}
        self._views = {n.result.index: n for n in nodes if is_view(n)}
        self._parts = parts(self.graph, nodes, self._repeated, self._views)
        refusals = []
        for unit in grouping.ordered():
            try:
                self._add(unit)
            except UnsupportedError as error:
                first = unit.nodes[0]
                refusals.append(Refusal(first.kind, first.name, str(error)))
                self._pretend(unit.nodes)  # go on, to find all of them
        refuse(refusals)

    def fresh(
        self, value: Value, hint: Layout | None = None, first: int | None = None
    ) -> Placed:
        """Place a value in its part of a concatenation, else in a new buffer.

        Args:
            value: to be placed.
            hint: a layout that the value may have.
            first: the stage that writes it; None for the one to come.
        """
        if (home := self._home(value)) is not None:
            self._at_home.add(value.index)
            return home
        stage = len(self.found) + 1 if first is None else first
        found = placed(value, stage, self._homes.layout(value, hint))
        self.buffers.append(found.buffer)
        return found

    def scratch(self, size_bytes: int) -> Buffer:
        """A buffer that the stage to come writes and reads."""
        stage = len(self.found) + 1
        self.buffers.append(Buffer(size_bytes, stage, stage))
        return self.buffers[-1]

    def read(self, value: Value) -> Placed:
        """Where a value lies; the stage to come reads it. A constant is loaded at the start."""
        if value.index not in self.values:
            self.values[value.index] = self._found(value)
        found = self.values[value.index]
        found.buffer.last = max(found.buffer.last, len(self.found) + 1)
        return found

    def _found(self, value: Value) -> Placed:
        """A view of another value, or a constant."""
        node = self._makers.get(value.index)
        if node is not None and is_view(node):
            return _viewed(self.read(node.operands[0]), node)
        found = self.fresh(value, first=0)
        self.constants.append((found, constant(self.graph, value)))
        return found

    def _home(self, value: Value) -> Placed | None:
        part = self._parts.get(value.index)
        if part is None:
            return None
        if part.whole.index not in self._wholes:
            self._wholes[part.whole.index] = self.fresh(part.whole)
        found = part.inside(self._wholes[part.whole.index])
        if found is None:
            return None
        maker = self._makers[value.index]
        if self._is_epilogue(maker):
            maker = self._makers[maker.operands[0].index]
        if maker.kind in PRODUCTS or is_pass(self.graph, maker):
            try:
                if not is_batched(self.graph, maker):
                    rows_of(found, _rows(maker))
                elif part.back is not None:
                    return None  # matrices that a reshape may have cut
            except UnsupportedError:
                return None
        return found

    def _alone(self, node: Node) -> bool:
        """Whether something else than a routine computes a node."""
        return (
            node.kind in (*PRODUCTS, *CONCATS)
            or (is_pass(self.graph, node) and node.name not in self._fused)
            or is_table_lookup(self.graph, node)
        )

    def _is_epilogue(self, node: Node) -> bool:
        maker = self._makers.get(node.operands[0].index) if node.operands else None
        return maker is not None and is_epilogue(self.graph, maker, node)

    def _add(self, unit: Unit) -> None:
        node = unit.nodes[0]
        if not self._alone(node):
            self.found.append(routine_stage(self, unit, self._repeated))
        elif node.kind in PRODUCTS:
            self._product(node)
        elif node.kind in CONCATS:
            self._concatenation(node)
        elif is_table_lookup(self.graph, node):
            self._lookup(node)
        elif is_large_average(self, node):
            self.found += large_average(self, node)
        else:
            try:
                self.found.append(vector_pass(self, node))
            except UnsupportedError:
                self.found.append(routine_stage(self, unit, self._repeated))

    def _product(self, node: Node) -> None:
        """A product, of copies of its operands where no descriptor reads them."""
        make: Callable[[Placing, Node], Stage] = product
        if is_batched(self.graph, node):
            make = batched
        elif is_depthwise(self, node):
            make = depthwise
        try:
            self.found.append(make(self, node))
            return
        except UnsupportedError:
            computed = [v for v in node.operands[:2] if not self.graph.is_weight(v)]
            before = {v.index: self.read(v) for v in computed}
        for value in computed:
            self.values[value.index] = self._copy(node, value)
        self.found.append(make(self, node))
        self.values.update(before)

    def _copy(self, node: Node, value: Value) -> Placed:
        source = self.read(value)
        image = node.kind.endswith("conv2d")
        layout = channels_last(value.shape) if image else (value.shape, ())
        target = placed(value, len(self.found) + 1, layout)
        self.buffers.append(target.buffer)
        name = f"{node.name}.{len(self.found)}"
        self.found.append(copied(name, source, target, value.shape))
        return target

    def _concatenation(self, node: Node) -> None:
        whole = self._wholes.get(node.result.index)
        if whole is None:
            whole = self.fresh(node.result)
        self.values[node.result.index] = whole
        a, b = (self.read(value) for value in node.operands)
        there = tuple(
            own.index in self._at_home and self._parts[own.index].whole == node.result
            for own in (unshaped(value, self._views) for value in node.operands)
        )
        for stage in copies(node, whole, (a, b), (there[0], there[1])):
            self.found.append(stage)
            for place in (*stage.sources, *stage.targets):
                place.buffer.last = max(place.buffer.last, len(self.found))

    def _lookup(self, node: Node) -> None:
        indices = self.read(node.operands[1])
        if not is_dense(indices):
            indices = self._copy(node, node.operands[1])
        target = placed(node.result, len(self.found) + 1, (node.result.shape, ()))
        self.buffers.append(target.buffer)
        self.values[node.result.index] = target
        self.found.append(gather_stage(self.graph, node, indices, target))

    def _pretend(self, nodes: Sequence[Node]) -> None:
        """Give results a place, so that their readers can be looked at."""
        for node in nodes:
            uses = (use for v in node.results for use in self.uses.get(v.index, []))
            for each in (node, *filter(self._is_epilogue, uses)):
                for value in each.results:
                    self.values.setdefault(value.index, self.fresh(value))


def _rows(node: Node) -> tuple[int, ...] | None:
    """The axes of a result in the order in which an instruction writes them; None: any."""
    if node.kind in WINDOWS:
        return ROWS
    return row_order(node) if node.kind in PRODUCTS else None


def _viewed(source: Placed, node: Node) -> Placed:
    match node.kind:
        case "nn.reshape":
            return source.then("reshape", node.result.shape)
        case "nn.transpose":
            return source.then("transpose", node.ints("perm"))
        case _:
            starts, sizes, steps = (node.ints(key) for key in ("starts", "sizes", "steps"))
            stops = tuple(
                start + (size - 1) * step + 1 if size else start
                for start, size, step in zip(starts, sizes, steps, strict=True)
            )
            return source.then("slice", (*starts, *stops, *steps))
