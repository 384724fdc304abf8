"""A module that fails becomes a small one that still fails, to be read by a person.

    before   a = nn.relu(x)                after   y = nn.softmax(b)   (b: an input now)
             b = nn.matmul(a, @w)
             y = nn.softmax(b)             where `fails` objects to the softmax alone

Outputs go, then nodes: what read a removed node reads a new input of its name, and a result
that nobody reads any more is an output. Larger groups are tried first (delta debugging:
Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, IEEE TSE 28(2),
2002). Last, a node is left out where one of its operands has its result's type. A body of a
loop or branch that fails by itself takes the module's place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from tetrapla.ir.errors import IRError, ModelError
from tetrapla.ir.graph import Graph, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.names import Names
from tetrapla.passes.calibrate_ import Ranges
from tetrapla.passes.pass_ import Pass, run

Fails: TypeAlias = Callable[[Module], bool]
Named: TypeAlias = tuple[str, Value]
T = TypeVar("T")


@dataclass(frozen=True)
class Reduction:
    """What a reduction came to.

    Attributes:
        module: it fails.
        calls: of the predicate.
        minimal: whether no single step makes it smaller; False where the calls ran out.
    """

    module: Module
    calls: int
    minimal: bool


def reduce(module: Module, fails: Fails, max_calls: int = 1000) -> Reduction:
    """Shrink a failing module; the same module and predicate give the same result.

    Args:
        module: stays as it is.
        fails: whether a module still shows the fault. It should tell that fault from others
            (by the message): whatever it accepts, the result will show.
        max_calls: of `fails`.

    Raises:
        ModelError: the module does not fail.
    """
    if not fails(module):
        raise ModelError(
            f"model '{module.name}' must fail to be reduced, and does not; "
            "reduce it with the check that failed"
        )
    search = _Search(module, fails, max_calls)
    while search.round():
        pass
    return Reduction(search.module, search.calls, search.calls < max_calls)


def fails_like(pass_: Pass, error: Exception) -> Fails:
    """Whether a pass fails on a module as it did: the same words, whatever the numbers.

    Args:
        pass_: bound to its data.
        error: what it raised, or what its result's verification did.
    """
    wanted, ready = _words(error), _anywhere(pass_)

    def fails(module: Module) -> bool:
        try:
            run(module, [ready])
        except Exception as found:  # a defect of a pass is worth reducing as well
            return _words(found) == wanted
        return False

    return fails


def _words(error: Exception) -> str:
    words = re.sub(r"\d+", "0", str(error))
    return f"{type(error).__name__}: {words}"


def _anywhere(pass_: Pass) -> Pass:
    """The pass with ranges that also hold where what a layer gave is an input."""
    found = getattr(pass_, "ranges", None)
    if not isinstance(found, Ranges):
        return pass_
    wider = Ranges({**found.nodes, **found.inputs}, found.nodes)
    return replace(pass_, **{"ranges": wider})


class _Search:
    """The smallest failing module so far, and what may still be spent."""

    def __init__(self, module: Module, fails: Fails, max_calls: int) -> None:
        self.module = module
        self.fails = fails
        self.calls = 1
        self.max_calls = max_calls

    def round(self) -> bool:
        """Try every kind of step once; whether one of them helped."""
        before = self.module
        self.enter()
        self.fewest(self.module.graph.outputs, _needed)
        self.fewest(self.module.graph.nodes, _cut)
        for name in [node.name for node in self.module.graph.nodes]:
            self.bypass(name)
        return self.module is not before

    def fewest(self, items: tuple[T, ...], of: Callable[[Graph, tuple[T, ...]], Graph]) -> None:
        """Drop groups of items, all, half, down to single ones, while the module fails."""
        graph, size = self.module.graph, len(items)
        while size:
            start = 0
            while start < len(items):
                fewer = (*items[:start], *items[start + size :])
                if self.accepts(of(graph, fewer)):
                    items = fewer
                else:
                    start += size
            size //= 2

    def enter(self) -> None:
        """Let a body be the whole module; it sees nothing but its inputs."""
        for node in self.module.graph.nodes:
            for body in node.bodies:
                if self.accepts(_tidy(body)):
                    self.enter()
                    return

    def bypass(self, name: str) -> None:
        """Let an operand stand for the result of the node of that name."""
        graph = self.module.graph
        node = next(node for node in graph.nodes if node.name == name)
        for value in node.operands:
            same = [(v.shape, v.dtype) for v in node.results] == [(value.shape, value.dtype)]
            if same and self.accepts(_without(graph, node, value)):
                return

    def accepts(self, graph: Graph) -> bool:
        """Whether the graph is a module that fails; it is the smallest one then."""
        if not graph.outputs or self.calls >= self.max_calls:
            return False
        try:
            smaller = Module.from_graph(graph, self.module.name)
        except IRError:
            return False
        self.calls += 1
        if not self.fails(smaller):
            return False
        self.module = smaller
        return True


def _needed(graph: Graph, outputs: tuple[Named, ...]) -> Graph:
    """These outputs and what they are computed from."""
    alive = {value.index for _, value in outputs}
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if any(value.index in alive for value in node.results):
            alive.update(value.index for value in node.operands)
            nodes.append(node)
    return _tidy(replace(graph, outputs=outputs, nodes=tuple(reversed(nodes))))


def _cut(graph: Graph, nodes: tuple[Node, ...]) -> Graph:
    """These nodes alone; a result that they miss is an input, a bared one an output."""
    kept = {node.name for node in nodes}
    read = _read(nodes)
    lost = {
        value.index: (node.name, value)
        for node in graph.nodes
        if node.name not in kept
        for value in node.results
    }
    inputs = [*graph.inputs, *(lost[index] for index in sorted(read & lost.keys()))]
    outputs = [named for named in graph.outputs if named[1].index not in lost]
    held = {value.index for _, value in outputs}
    bare = (_read(graph.nodes) - read) - held
    outputs += [
        (node.name, value) for node in nodes for value in node.results if value.index in bare
    ]
    return _tidy(replace(graph, inputs=_unique(inputs), outputs=_unique(outputs), nodes=nodes))


def _without(graph: Graph, node: Node, value: Value) -> Graph:
    """The node is gone, and `value` is read in place of its result."""

    def new(old: Value) -> Value:
        return value if old.index == node.result.index else old

    nodes = tuple(
        replace(other, operands=tuple(new(v) for v in other.operands))
        for other in graph.nodes
        if other.name != node.name
    )
    outputs = tuple((name, new(v)) for name, v in graph.outputs)
    return _tidy(replace(graph, nodes=nodes, outputs=outputs))


def _tidy(graph: Graph) -> Graph:
    """Without the inputs and constants that nothing reads."""
    used = _read(graph.nodes) | {value.index for _, value in graph.outputs}
    return replace(
        graph,
        inputs=tuple(named for named in graph.inputs if named[1].index in used),
        constants={i: symbol for i, symbol in graph.constants.items() if i in used},
        weights={i: array for i, array in graph.weights.items() if i in used},
    )


def _read(nodes: tuple[Node, ...]) -> set[int]:
    return {value.index for node in nodes for value in node.operands}


def _unique(named: list[Named]) -> tuple[Named, ...]:
    names = Names()
    return tuple((names.take(name), value) for name, value in named)
