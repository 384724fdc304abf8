"""Products of one value with several weights become one product and slices of it.

    before   q = nn.matmul(x, @wq, @bq)       after   p = nn.matmul(x, @w, @b)   (w = wq|wk|wv)
             k = nn.matmul(x, @wk, @bk)               q = nn.slice(p)
             v = nn.matmul(x, @wv, @bv)               k = nn.slice(p)
                                                      v = nn.slice(p)

Also convolutions of one value with equal windows, joined along their filters. Weights and
biases must be constants, activations and element types equal; where only some have a bias, the
others get zeros.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tetrapla.ir.graph import DTYPES, Array, Graph, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.unfuse import has_residual
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.pass_ import Pass

# along which axis of the weight and of the result the outputs of an operator run
AXES = {"nn.matmul": (1, -1), "nn.conv2d": (0, 1)}
MOVES = ("nn.reshape", "nn.transpose", "nn.slice", "nn.rotary_embedding")


@dataclass(frozen=True)
class FuseSiblings(Pass):
    """The same products, which a machine may sum in another order.

    Any two orders of a sum of K products are within 2 K u of one another, relative to the sum
    of the terms' magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
    section 3.1; u = 2^-24): 5.5e-4 at K = 4608. Cancellation makes an output smaller than its
    terms, which rounding does not reach in practice: it grows as sqrt(K).

    Attributes:
        before: an operator that all results of a group must end at, by way of what moves or
            turns their elements; any where it is empty.
    """

    before: str = ""
    max_rel_error: ClassVar[float] = 2 * 4608 * 2.0**-24

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _Siblings(self.before))


class _Siblings:
    """The rule: the first of a group makes the product, the others take their slices."""

    def __init__(self, before: str) -> None:
        self._before = before
        # by graph, since the walk enters bodies in between; the graph is kept to keep its id
        self._known: dict[int, tuple[Graph, dict[int, list[Node]], dict[int, Value]]] = {}

    def __call__(self, edit: Edit, node: Node) -> Value | None:
        graph = edit.graph
        if id(graph) not in self._known:
            self._known[id(graph)] = graph, _groups(graph, self._before), {}
        _, groups, slices = self._known[id(graph)]
        index = node.result.index
        if index not in slices and index in groups:
            slices.update(_fused(edit, node, groups[index]))
        return slices.get(index)


def _groups(graph: Graph, before: str) -> dict[int, list[Node]]:
    """The siblings of each product that has some, itself included, by its result."""
    found: dict[Hashable, list[Node]] = {}
    ends = _Ends(graph)
    for node in graph.nodes:
        # a residual is not joined
        plain = node.kind in AXES and not has_residual(node)
        if plain and all(graph.is_weight(value) for value in node.operands[1:]):
            found.setdefault(_key(node), []).append(node)
    return {
        node.result.index: group
        for group in found.values()
        if len(group) > 1 and _alike(graph, group)
        if not before or all(ends.at(node.result) == {before} for node in group)
        for node in group
    }


class _Ends:
    """Which operators a value ends at: those that do more than move or turn its elements."""

    def __init__(self, graph: Graph) -> None:
        self._uses = graph.uses()
        self._outputs = {value.index for _, value in graph.outputs}

    def at(self, value: Value) -> set[str]:
        """Their kinds, and nothing's for an output of the model."""
        found = {""} if value.index in self._outputs else set[str]()
        for user in self._uses.get(value.index, ()):
            found |= self.at(user.result) if user.kind in MOVES else {user.kind}
        return found


def _key(node: Node) -> Hashable:
    x, w = node.operands[:2]
    attributes = tuple(sorted((key, repr(value)) for key, value in node.attributes.items()))
    if node.kind == "nn.matmul":
        return node.kind, x.index, len(w.shape) == 2 or node.name, attributes
    return node.kind, x.index, node.int("groups") == 1 or node.name, w.shape[2:], attributes


def _alike(graph: Graph, group: list[Node]) -> bool:
    """Whether all have a bias or none; zeros need arrays to stand beside."""
    counts = {len(node.operands) for node in group}
    return len(counts) == 1 or bool(graph.weights)


def _fused(edit: Edit, first: Node, group: list[Node]) -> dict[int, Value]:
    """The slice of each one's result."""
    of_weight, of_result = AXES[first.kind]
    weights = [node.operands[1] for node in group]
    outputs = [w.shape[of_weight] for w in weights]
    operands = [edit.of(first.operands[0]), _joined(edit, weights, of_weight)]
    if any(len(node.operands) > 2 for node in group):
        operands.append(_bias(edit, group, outputs))
    product = edit.op(first.kind, operands, first.attributes, f"{first.name}.siblings")
    axis = of_result % len(product.shape)
    steps = (1,) * len(product.shape)
    found: dict[int, Value] = {}
    start = 0
    for node, size in zip(group, outputs, strict=True):
        starts = tuple(start if i == axis else 0 for i in range(len(steps)))
        attributes = {"starts": starts, "sizes": node.result.shape, "steps": steps}
        found[node.result.index] = edit.op("nn.slice", [product], attributes, node.name)
        start += size
    return found


def _joined(edit: Edit, values: list[Value], axis: int) -> Value:
    first = values[0]
    total = sum(value.shape[axis] for value in values)
    shape = tuple(total if i == axis else size for i, size in enumerate(first.shape))

    def join(array: Array) -> Array:
        del array
        arrays = [edit.constant(value) for value in values]
        return np.concatenate([each for each in arrays if each is not None], axis=axis)

    return edit.derived("siblings", first, shape, join)


def _bias(edit: Edit, group: list[Node], outputs: list[int]) -> Value:
    dtype = DTYPES[group[0].result.dtype]
    biases = [
        node.operands[2] if len(node.operands) > 2 else edit.weight("zero", np.zeros(n, dtype))
        for node, n in zip(group, outputs, strict=True)
    ]
    return _joined(edit, biases, 0)
