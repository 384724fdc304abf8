"""Bodies of loops and branches: what a block reads from around it comes in as operands.

A foreign body sees every value around it; a body of `nn` sees only its arguments. Constants go
in as they are; other values become the last arguments of the body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tetrapla.frontend.foreign.scope import Constant, Operand, Refusal, Scope, Spread
from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import Attribute, Graph, Value

Env: TypeAlias = Mapping[Any, "Operand | None"]
# the values that a block ends with, in a scope; None where something inside is refused
Run: TypeAlias = Callable[[Any, Env, Scope], "list[Operand] | None"]
Body: TypeAlias = tuple["list[Operand]", Scope]  # what it ends with, and where


class Within(Refusal):
    """Something inside a body is refused, and was noted there."""


@dataclass(frozen=True)
class Site:
    """Where an operation with bodies stands: the values around it, and how a block is walked.

    Attributes:
        env: the operand that stands for each value of the bindings.
        run: walks one block.
    """

    env: Env
    run: Run

    def inline(self, block: Any, scope: Scope) -> tuple[Operand, ...]:
        """What a block ends with, its operations appended to the scope.

        Raises:
            Within: something in it is refused.
        """
        found = self.run(block, self.env, scope)
        if found is None:
            raise Within
        return tuple(found)


class Captured:
    """What the blocks of one operation read from around them."""

    def __init__(self, site: Site, blocks: Sequence[Any], scope: Scope) -> None:
        self._site = site
        self._held: dict[Any, Operand | None] = {}
        found: dict[int, Value] = {}
        for name in dict.fromkeys(_read(blocks)):
            if name in site.env:
                outer = site.env[name]
                held = None if outer is None else scope.settled(outer)
                self._held[name] = held
                value = held.value if isinstance(held, Spread) else held
                if isinstance(value, Value):
                    found[value.index] = value
        self.values = (*found.values(),)

    def entered(self, states: Mapping[Any, Operand], scope: Scope) -> tuple[Env, Scope]:
        """A scope that takes `states`, then `values`, and what stands for what in it."""
        inner = scope.inner()
        own = {
            name: inner.builder.input(f"x{i}", like.shape, like.dtype)
            for i, (name, like) in enumerate(states.items())
        }
        taken = {
            value.index: inner.builder.input(f"x{len(own) + i}", value.shape, value.dtype)
            for i, value in enumerate(self.values)
        }
        env = {name: _inside(held, taken) for name, held in self._held.items()}
        return {**env, **own}, inner

    def body(self, block: Any, states: Mapping[Any, Operand], scope: Scope) -> Body:
        """A block walked in a scope of its own, which takes `states`, then `values`.

        Raises:
            Within: something in it is refused.
        """
        env, inner = self.entered(states, scope)
        found = self._site.run(block, env, inner)
        if found is None:
            raise Within
        return found, inner


def finished(results: Sequence[Operand], inner: Scope) -> Graph:
    """The body whose results these are, as a graph."""
    for index, result in enumerate(results):
        inner.builder.output(f"y{index}", inner.value(result))
    return inner.builder.graph()


def regional(
    kind: str,
    scope: Scope,
    operands: Sequence[Value],
    attributes: Mapping[str, Attribute],
    bodies: Sequence[Graph],
    name: str,
) -> tuple[Value, ...]:
    """Append a loop or branch.

    Raises:
        Refusal: a constraint of it does not hold.
    """
    try:
        return scope.builder.ops(kind, operands, attributes, name, bodies)
    except IRError as error:
        raise Refusal(str(error)) from None


def _inside(held: Operand | None, taken: Mapping[int, Value]) -> Operand | None:
    if isinstance(held, Spread):
        return Spread(taken[held.value.index], held.shape)
    if isinstance(held, Value):
        return taken[held.index]
    assert held is None or isinstance(held, Constant)
    return held


def _read(blocks: Sequence[Any]) -> Iterator[Any]:
    """The values that blocks read, those of the blocks in them included."""
    waiting = [*blocks]
    while waiting:
        for op in waiting.pop().operations:
            handle = op.operation
            yield from handle.operands
            waiting.extend(block for region in handle.regions for block in region.blocks)
