"""Patterns in Python: a function that looks at one node and may give a value for its result.

    @pattern("nn.neg")
    def neg_of_neg(edit: Edit, node: Node) -> Value | None:
        inner = edit.maker(node.operands[0], "nn.neg")
        return None if inner is None else inner.operands[0]          # None: no match

    rewritten(module, [neg_of_neg])

The walk is `edit_`'s; here a pattern gets a name, the operators that it looks at, and an end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.op import Tensor
from tetrapla.passes.edit_ import Edit, Rule, rewrite

# assumed: rules that make operators for one another this deep, or match this often for every
# node of the module, come to no end
DEPTH = 100
MATCHES = 100


@dataclass(frozen=True)
class Pattern:
    """A rewrite of single nodes; it is called like any rule of `edit_`.

    Attributes:
        kinds: the operators that it looks at; each has one result.
        rule: from a node on operands that are rewritten already to the value that stands for
            its result, or None where there is no match. It makes what it needs through the
            `Edit` alone.
    """

    kinds: frozenset[str]
    rule: Rule

    @property
    def name(self) -> str:
        """The function's name with hyphens."""
        return str(getattr(self.rule, "__name__", "unnamed")).replace("_", "-")

    def __call__(self, edit: Edit, node: Node) -> Value | None:
        """The value for the node's result, if the pattern matches.

        Raises:
            IRError: it gives a value of another type, or breaks an operator's constraint.
        """
        if node.kind not in self.kinds:
            return None
        try:
            found = self.rule(edit, node)
        except IRError as error:
            if str(error).startswith("pattern "):  # of an operator that this one made
                raise
            raise IRError(f"pattern {self.name}: {error}") from None
        if found is None or found in node.results:
            return None
        old, new = (Tensor(value.shape, value.dtype) for value in (node.result, found))
        if old != new:
            raise IRError(f"pattern {self.name}: {node.name} must stay {old}, not become {new}")
        return found


def pattern(*kinds: str) -> Callable[[Rule], Pattern]:
    """Make a function a pattern for operators of these kinds."""
    return lambda rule: Pattern(frozenset(kinds), rule)


def rewritten(module: Module, patterns: Iterable[Pattern]) -> Module:
    """The module in which no pattern matches; itself if none did, and verified otherwise.

    Args:
        module: stays as it is.
        patterns: the first that matches a node wins.

    Raises:
        IRError: a pattern gives a value of another type or breaks a constraint, or the
            patterns come to no end.
    """
    nodes = sum(len(graph.nodes) for graph in module.graph.nested())
    guard = _Guard(MATCHES * (nodes + 1))
    return rewrite(module, *(guard.over(each) for each in patterns))


class _Guard:
    """What bounds patterns that feed one another."""

    def __init__(self, matches: int) -> None:
        self.left = matches
        self.depth = 0

    def over(self, pattern: Pattern) -> Rule:
        """The pattern, refused when it comes to no end."""

        def bounded(edit: Edit, node: Node) -> Value | None:
            if node.kind not in pattern.kinds:
                return None
            if self.depth >= DEPTH or self.left <= 0:
                raise IRError(
                    f"pattern {pattern.name}: must come to an end, not match {node.name} again "
                    "and again; let it not match what another pattern or it itself makes"
                )
            self.depth += 1
            found = pattern(edit, node)
            self.depth -= 1
            self.left -= found is not None
            return found

        return bounded
