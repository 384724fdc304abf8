"""Rewriting by copying: a pass walks a graph and emits what it wants into a new module."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Array, Node, Value
from tetrapla.ir.module import Module


class Rebuild:
    """A module under copy: which value of the new one stands for each value of the old.

    Weights are declared when they are first needed, so unused ones drop out.

    Attributes:
        graph: the old module.
        builder: the new one; whatever a pass adds goes there.
    """

    def __init__(self, module: Module) -> None:
        self._module = module
        self.graph = module.graph
        self.shape_only = module.shape_only
        self.builder = ModuleBuilder(module.name)
        _, *bodies = self.graph.nested()
        self._inner = {symbol for body in bodies for symbol in body.constants.values()}
        self.builder.reserve(self._inner)
        self._values = {
            value.index: self.builder.input(name, value.shape, value.dtype)
            for name, value in self.graph.inputs
        }
        self._symbols: dict[str, Value] = {}
        self._copies = 0
        self._changed = False

    def of(self, value: Value) -> Value:
        """The new value that stands for an old one."""
        if value.index not in self._values:
            self._values[value.index] = self._weight(value)
        return self._values[value.index]

    def knows(self, value: Value) -> bool:
        """Whether `of` has an answer: the value was set, copied, or is a constant."""
        return value.index in self._values or self.graph.is_weight(value)

    def set(self, old: Value, new: Value) -> None:
        """Let `new` stand for `old` from here on.

        What a pass adds reaches an output through this alone; a pass that never calls it and
        copies every node has changed nothing.
        """
        self._values[old.index] = new
        self._changed = True

    def copy(self, node: Node) -> None:
        """Emit the node as it is, on the new operands."""
        operands = [self.of(value) for value in node.operands]
        made = self.builder.ops(node.kind, operands, node.attributes, node.name, node.bodies)
        for old, new in zip(node.results, made, strict=True):
            self._values[old.index] = new
        self._copies += 1

    def derived(
        self, symbol: str, of: Value, shape: tuple[int, ...], make: Callable[[Array], Array]
    ) -> Value:
        """A weight made from the array of another; its shape alone in a shape-only module."""
        if self.shape_only:
            return self.builder.shape_of_weight(symbol, shape, of.dtype)
        array = np.asarray(make(self.graph.weight(of)), order="C")
        return self.builder.weight(symbol, array)

    def only_user(self, value: Value, kind: str) -> Node | None:
        """The one node that reads the value, if it is of that kind and nothing else sees it."""
        users = self._uses.get(value.index, [])
        if len(users) != 1 or users[0].kind != kind or value.index in self._outputs:
            return None
        return users[0]

    def finish(self) -> Module:
        """The new module, with the old one's outputs; the old one itself if it is the same."""
        if self._unchanged():
            return self._module
        for name, value in self.graph.outputs:
            self.builder.output(name, self.of(value))
        return self.builder.finish()

    @cached_property
    def _uses(self) -> dict[int, list[Node]]:
        return self.graph.uses()

    @cached_property
    def _outputs(self) -> frozenset[int]:
        return frozenset(value.index for _, value in self.graph.outputs)

    def _unchanged(self) -> bool:
        if self._changed or self._copies != len(self.graph.nodes):
            return False
        for _, value in self.graph.outputs:
            self.of(value)
        # unless every constant was declared and the store holds no others, copying cleans up
        declared = len(self._symbols) == len(self.graph.constants)
        known = self._symbols.keys() | self._inner
        return declared and known >= self._module.weights.keys()

    def _weight(self, value: Value) -> Value:
        symbol = self.graph.constants[value.index]
        # one symbol may be named by several operations; it stays one weight
        if symbol not in self._symbols:
            if value.index in self.graph.weights:
                new = self.builder.weight(symbol, self.graph.weights[value.index])
            else:
                new = self.builder.shape_of_weight(symbol, value.shape, value.dtype)
            self._symbols[symbol] = new
        return self._symbols[symbol]
