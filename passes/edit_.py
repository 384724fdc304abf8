"""Rewriting by rules: every node is offered to them in order, and what they give stands for it.

A rule sees a node on operands that are rewritten already, so one walk reaches the end of a
chain; what it adds is offered to the rules as well. Nodes that nobody reads afterwards go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from tetrapla.ir.graph import DTYPES, Array, Attribute, Graph, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.names import Names
from tetrapla.ir.op import Tensor, inferred

Rule: TypeAlias = "Callable[[Edit, Node], Value | None]"


def rewrite(module: Module, *rules: Rule) -> Module:
    """The module after the rules, in its bodies too; itself where none of them applies.

    Args:
        module: stays as it is.
        rules: tried in order on each node of one result until one gives a value of the
            result's type, which stands for it from there on.

    Raises:
        IRError: a rule adds an operator whose constraints do not hold.
    """
    symbols = Names()
    for graph in module.graph.nested():
        for symbol in sorted(set(graph.constants.values())):
            symbols.take(symbol)
    graph = module.graph
    # a value that fewer read than before may fit a rule now
    while (after := _rewritten(graph, rules, symbols)) is not graph:
        graph = after
    return module if graph is module.graph else Module.from_graph(graph, module.name)


def _rewritten(graph: Graph, rules: tuple[Rule, ...], symbols: Names) -> Graph:
    edit = Edit(graph, rules, symbols)
    for node in graph.nodes:
        bodies = tuple(_rewritten(body, rules, symbols) for body in node.bodies)
        if any(new is not old for new, old in zip(bodies, node.bodies, strict=True)):
            edit.changed = True
            node = replace(node, bodies=bodies)
        edit.visit(node)
    return edit.finish() if edit.changed else graph


class Edit:
    """A graph under edit: who made each value so far, and what stands for the old ones.

    Attributes:
        graph: as it was.
        node: the one that the rules look at now.
        changed: whether anything differs from `graph`.
    """

    def __init__(self, graph: Graph, rules: tuple[Rule, ...], symbols: Names) -> None:
        self.graph = graph
        self.changed = False
        self.node: Node | None = None
        self._rules = rules
        self._symbols = symbols
        self._nodes: list[Node] = []
        self._makers: dict[int, Node] = {}
        self._stands: dict[int, Value] = {}
        self._constants = dict(graph.constants)
        self._weights = dict(graph.weights)
        self._readers = _readers(graph)
        made = [value.index for value in _values(graph)]
        self._next = 1 + max([*made, *graph.constants], default=0)

    def visit(self, node: Node) -> None:
        """Offer a node of the old graph to the rules; keep it if none applies."""
        operands = tuple(self.of(value) for value in node.operands)
        if operands != node.operands:
            node = replace(node, operands=operands)
        self.node = node
        found = self._offer(node)
        if found is None:
            self._keep(node)
        else:
            self.changed = True
            self._stands[node.result.index] = found
            times = self.readers(node.result)
            self._read([found], times)
            if times:  # else it is dead, and was not counted as a reader
                self._drop(node)

    def of(self, value: Value) -> Value:
        """The value that stands for an old one."""
        return self._stands.get(value.index, value)

    def maker(self, value: Value, *kinds: str) -> Node | None:
        """The node that makes the value, if it is of one of the kinds given, or any."""
        node = self._makers.get(value.index)
        return node if node is not None and (not kinds or node.kind in kinds) else None

    def readers(self, value: Value) -> int:
        """How many operands and outputs of the graph the value is."""
        return self._readers.get(value.index, 0)

    def constant(self, value: Value) -> Array | None:
        """The array of a constant that is known."""
        return self._weights.get(value.index)

    def is_constant(self, value: Value) -> bool:
        """Whether the value is a constant, known or not."""
        return value.index in self._constants

    def op(
        self,
        kind: str,
        operands: Sequence[Value],
        attributes: Mapping[str, Attribute] | None = None,
        name: str | None = None,
    ) -> Value:
        """Add an operator of one result, which the rules may rewrite at once.

        Args:
            kind: the operator's name.
            operands: values of the new graph.
            attributes: all of them.
            name: the layer's; the name of the node under the rules if None.
        """
        held = dict(attributes or {})
        type_ = inferred(kind, [Tensor(v.shape, v.dtype) for v in operands], held)[0]
        if name is None:
            name = kind.split(".")[-1] if self.node is None else self.node.name
        result = self._value(type_.shape, type_.dtype)
        node = Node(kind, name, tuple(operands), (result,), held)
        self._read(operands, 1)
        found = self._offer(node)
        if found is not None:
            self._drop(node)
            return found
        self._keep(node)
        return result

    def weight(self, symbol: str, array: Array) -> Value:
        """Declare a constant, a view of another one or not; a taken symbol gets a number."""
        array = np.asarray(array)
        dtype = next(name for name, held in DTYPES.items() if held == array.dtype)
        value = self.unknown(symbol, array.shape, dtype)
        self._weights[value.index] = array
        return value

    def derived(
        self, suffix: str, of: Value, shape: tuple[int, ...], make: Callable[[Array], Array]
    ) -> Value:
        """A constant made from another; its shape alone where that has no array."""
        symbol = f"{self._constants[of.index]}.{suffix}"
        array = self.constant(of)
        if array is not None:
            return self.weight(symbol, make(array))
        return self.unknown(symbol, shape, of.dtype)

    def unknown(self, symbol: str, shape: tuple[int, ...], dtype: str) -> Value:
        """Declare a constant whose array is not known (a shape-only module)."""
        value = self._value(shape, dtype)
        self._constants[value.index] = self._symbols.take(symbol)
        return value

    def finish(self) -> Graph:
        """The graph as it is now, without what no output needs."""
        outputs = tuple((name, self.of(value)) for name, value in self.graph.outputs)
        kept, alive = _alive(self._nodes, [value for _, value in outputs])
        return Graph(
            self.graph.inputs,
            outputs,
            _named(kept),
            {i: symbol for i, symbol in self._constants.items() if i in alive},
            {i: array for i, array in self._weights.items() if i in alive},
        )

    def _offer(self, node: Node) -> Value | None:
        if len(node.results) != 1:
            return None
        wanted = (node.result.shape, node.result.dtype)
        for rule in self._rules:
            found = rule(self, node)
            if found is not None:
                assert (found.shape, found.dtype) == wanted, f"{rule} changes {node}"
                return found
        return None

    def _read(self, values: Iterable[Value], times: int) -> None:
        for value in values:
            self._readers[value.index] = self.readers(value) + times

    def _drop(self, node: Node) -> None:
        """The node reads its operands no more, nor do those that are read for it alone."""
        pending = list(node.operands)
        while pending:
            value = pending.pop()
            self._readers[value.index] = self.readers(value) - 1
            maker = self.maker(value)
            if maker is not None and not any(map(self.readers, maker.results)):
                pending.extend(maker.operands)

    def _keep(self, node: Node) -> None:
        self._nodes.append(node)
        self._makers.update((value.index, node) for value in node.results)

    def _value(self, shape: tuple[int, ...], dtype: str) -> Value:
        self._next += 1
        return Value(self._next - 1, shape, dtype)


def _named(nodes: Iterable[Node]) -> tuple[Node, ...]:
    names = Names()
    found: list[Node] = []
    for node in nodes:
        name = names.take(node.name)
        found.append(node if name == node.name else replace(node, name=name))
    return tuple(found)


def _alive(nodes: Sequence[Node], outputs: Iterable[Value]) -> tuple[list[Node], set[int]]:
    """The nodes that the outputs need, in order, and every value that they or these read."""
    alive = {value.index for value in outputs}
    kept: list[Node] = []
    for node in reversed(nodes):
        if any(value.index in alive for value in node.results):
            alive.update(value.index for value in node.operands)
            kept.append(node)
    return kept[::-1], alive


def _readers(graph: Graph) -> dict[int, int]:
    outputs = [value for _, value in graph.outputs]
    kept, _ = _alive(graph.nodes, outputs)
    found: dict[int, int] = {}
    for value in (*outputs, *(value for node in kept for value in node.operands)):
        found[value.index] = found.get(value.index, 0) + 1
    return found


def _values(graph: Graph) -> Iterable[Value]:
    yield from (value for _, value in (*graph.inputs, *graph.outputs))
    for node in graph.nodes:
        yield from (*node.operands, *node.results)
