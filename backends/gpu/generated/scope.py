"""What a kernel reads where: the values of a graph, pulled element by element.

A rule asks for elements of its operands at coordinates. Where a value has a buffer that is a
load; where its node is folded into the kernel, it is the node's own rule at those coordinates.
So copies in another order, chains of functions and what joins them are one kernel, without a
buffer in between.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeAlias

import numpy as np

from tetrapla.backends.gpu.generated.registers import Code, Number, Register
from tetrapla.ir.graph import Array, Node, Value

Coordinates: TypeAlias = Sequence[Register]
Rule: TypeAlias = Callable[["Scope", Node, Coordinates], Register]


class Source(Protocol):
    """Where values lie."""

    def root(self, value: Value) -> Value:
        """The value whose buffer `value` reads: itself, or what it is a view of."""
        ...

    def load(self, value: Value) -> str:
        """The buffer of a value."""
        ...

    def order(self, value: Value) -> tuple[int, ...]:
        """The axes of a value from the outermost in memory; empty for its own order."""
        ...

    def table(self, name: str, array: Array) -> str:
        """A buffer of constants that the compiler makes."""
        ...


class Scope:
    """The code of one kernel.

    Attributes:
        code: in the making.
        source: of what has a buffer.
        inlined: the node of each value that has none.
        rules: by kind of node.
        given: registers that hold the element of a value, wherever it is asked for.
    """

    def __init__(
        self,
        code: Code,
        source: Source,
        inlined: Mapping[int, Node],
        rules: Mapping[str, Rule],
        given: Mapping[int, Register] | None = None,
    ) -> None:
        self.code = code
        self._given = dict(given or {})
        self._source, self._inlined, self._rules = source, inlined, rules
        self._inside: Register | None = None
        self._known: dict[tuple[int, tuple[int, ...], int], Register] = {}

    def element(self, value: Value, at: Coordinates) -> Register:
        """An element of a value, in the value's type."""
        inside = -1 if self._inside is None else self._inside.number
        key = (value.index, tuple(each.number for each in at), inside)
        if key not in self._known:
            self._known[key] = self._element(value, at)
        return self._known[key]

    def broadcast(self, value: Value, at: Coordinates) -> Register:
        """An element of a value whose axes are laid against the last ones, repeated."""
        last = list(at)[len(at) - len(value.shape) :]
        zero = self.code.constant(0)
        return self.element(
            value, [zero if n == 1 else c for c, n in zip(last, value.shape, strict=True)]
        )

    @contextmanager
    def where(self, condition: Register) -> Generator[None]:
        """Within, nothing is loaded unless the condition holds; elements are 0 instead."""
        before = self._inside
        self._inside = condition if before is None else before & condition
        yield
        self._inside = before

    def table(self, name: str, array: Array, at: Register) -> Register:
        """An element of constants: int32 or float32."""
        dtype = "f32" if array.dtype.kind == "f" else "i32"
        held = array.astype(np.float32 if dtype == "f32" else np.int32)
        return self.code.load(self._source.table(name, held), at, None, dtype)

    def place(self, value: Value, at: Coordinates) -> Register:
        """Where an element lies in the buffer that holds it."""
        order = self._source.order(value)
        if not order:
            return self.code.position(at, value.shape)
        return self.code.position([at[i] for i in order], [value.shape[i] for i in order])

    def walked(self, value: Value) -> tuple[Register, ...]:
        """The coordinates of a row's number, where rows lie as a value does in memory."""
        order = self._source.order(value) or range(len(value.shape))
        found = self.code.coordinates(self.code.row, [value.shape[i] for i in order])
        at = dict(zip(order, found, strict=True))
        return tuple(at[axis] for axis in range(len(value.shape)))

    def op(self, name: str, *given: Number) -> Register:
        """An operation of `simulators.gpu.code`."""
        return self.code.op(name, *given)

    def _element(self, value: Value, at: Coordinates) -> Register:
        root = self._source.root(value)
        if root.index in self._given:
            return self._given[root.index]
        node = self._inlined.get(root.index)
        if node is None:
            place = self.place(value, at)
            return self.code.load(self._source.load(value), place, self._inside, value.dtype)
        if root.index != value.index:
            at = self.code.regrouped(at, value.shape, root.shape)
        return self._rules[node.kind](self, node, at)
