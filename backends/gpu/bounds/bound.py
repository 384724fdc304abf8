r"""How far a float plan may be from the reference: a bound on each element that it stores.

Running error analysis (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2002,
chapters 3 and 4) through the module's graph in float64. Two walks: one over the weights and
inputs as the plan rounds them, one over those of the reference. In each, a value has its exact
v and a bound d on what arithmetic in that format adds: ``|machine - v_m| <= d_m``.

A walk that is given what the kernels stored starts every kernel from it, so that no bound
grows with depth: ``|stored - v_r| <= |v_m - v_r| + d_m`` with v_r exact (`kernel_bounds`).
From the inputs to the outputs ``|machine - reference| <= |v_m - v_r| + d_m + d_r``, which
grows by a factor per layer and says little of deep networks (`error_bounds`).

* Storage: fl(z) is within ``u |z| + s`` of z: of float16 u = 2^-11, s = 2^-25 (half a
  subnormal), of bfloat16 2^-8 and 2^-134, of tf32 2^-11 and 2^-137. It is charged where a
  value has a buffer of the type, or is rounded as a product reads it (tf32 always).
* Products: with x' = x + dx and any order of summation of n terms in float32,
  ``|sum fl(x' w) - sum x w| <= sum dx |w| + g sum (|x| + dx) |w|``; g = n u / (1 - n u),
  u = 2^-24, n the roundings that a product goes through: in any order at most
  K + ceil(K / 16) + 3, and min(K, 64) + ceil(K / 16) + 3 for tiles of 16 to 64 products,
  their sums and the bias.
* Maxima, reshapes and transposes pass d on; ReLU does, less what stays below 0; sums add it;
  means average it.
* Errors of many inputs rarely conspire: beside d goes n, a bound on the Euclidean norm of an
  invocation's errors. A layer of constant weights stretches it by at most its spectral norm
  (`norms`), ReLU by 1, and an output's share is at most its weights' length times n; where that
  is less than ``sum dx |w|``, it is what d takes.
* Softmax under logits off by t_i <= d_i + max d: ``|dy| <= min(t / 4, y (e^t - 1))``.

* Products of 8-bit floats with scales: four roundings more of each term (`formats`).

A value that may overflow has an infinite bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from tetrapla.backends.gpu.bounds.attention import attention
from tetrapla.backends.gpu.bounds.code import is_inexact, rule
from tetrapla.backends.gpu.bounds.norms import operator_norms
from tetrapla.backends.gpu.bounds.rules import (
    ROUNDINGS,
    RULES,
    Rounding,
    Tracked,
    stored,
    tracked,
)
from tetrapla.backends.gpu.formats import SCALING, small_products
from tetrapla.backends.gpu.generated.expressions import EXPRESSIONS
from tetrapla.backends.gpu.plan import ATTENTION, PRODUCTS, Layout, multiplied
from tetrapla.ir.graph import DTYPES, Array, Graph, Node, Value
from tetrapla.ir.op import evaluated
from tetrapla.simulators.gpu.formats import is_float

# float results that depend on the order of a sum or on the library's exponential
INEXACT = (*PRODUCTS, "nn.softmax", "nn.average_pool2d", "nn.global_average_pool", ATTENTION)
# results that are some operand's element, or 0
KEPT = ("nn.relu", "nn.reshape", "nn.transpose", "nn.max_pool2d")
# products of a float tile, which are summed before they join the accumulator (`heads`)
LONGEST, LONGEST_SMALL = 64, 128  # the second of 8-bit floats
CHUNK = 64  # invocations at a time, which bounds the memory


@dataclass(frozen=True)
class Kept:
    """What a kernel may store.

    Attributes:
        index: of the value.
        machine: the exact result with the plan's roundings of weights and inputs.
        exact: that of the reference.
        bound: on |stored - exact|.
    """

    index: int
    machine: Array
    exact: Array
    bound: Array


def kernel_bounds(
    graph: Graph, layout: Layout, inputs: Mapping[str, Array], held: Mapping[int, Array]
) -> Iterator[Kept]:
    """Of every kernel in order, started from what the kernels before it stored.

    Args:
        graph: of the lowered module, with its weights.
        layout: which value has a buffer, of which type.
        inputs: (invocations, *shape) by input name.
        held: by index, what the machine stored of the same invocations.
    """
    machine, reference = (
        _Walk(graph, side, {}).kernels(inputs, held) for side in (layout, None)
    )
    with np.errstate(all="ignore"):  # an infinity is a bound too
        for (index, m), (_, r) in zip(machine, reference, strict=True):
            # also of infinities, and what is no number in both is none in the machine
            same = (m.v == r.v) | (np.isnan(m.v) & np.isnan(r.v))
            away = np.where(same, 0.0, np.abs(m.v - r.v))
            yield Kept(index, m.v, r.v, away + m.d)


def error_bounds(graph: Graph, layout: Layout, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Bounds on |machine - reference| by output name, shape (invocations, *shape), float64.

    Args:
        graph: of the lowered module, with its weights.
        layout: which value has a buffer, of which type.
        inputs: (invocations, *shape) by input name.
    """
    count = max(len(array) for array in inputs.values())
    entered = ROUNDINGS.get(layout.multiplied)
    sigma = operator_norms(graph, entered) if entered is not None else {}
    parts: dict[str, list[Array]] = {name: [] for name, _ in graph.outputs}
    with np.errstate(all="ignore"):
        for start in range(0, count, CHUNK):
            some = {name: array[start : start + CHUNK] for name, array in inputs.items()}
            rows = len(next(iter(some.values())))
            machine = _Walk(graph, layout, sigma).outputs(some)
            reference = _Walk(graph, None, {}).outputs(some)
            for name in parts:
                m, r = machine[name], reference[name]
                bound = np.abs(m.v - r.v) + m.d + r.d
                parts[name].append(np.broadcast_to(bound, (rows, *bound.shape[1:])))
    return {name: np.concatenate(found) for name, found in parts.items()}


class _Walk:
    """One side of the analysis; without a layout nothing is rounded to narrower floats."""

    def __init__(self, graph: Graph, layout: Layout | None, sigma: Mapping[str, float]) -> None:
        self.graph, self.sigma = graph, sigma
        self.reference = layout is None
        # what products round their operands to; None where nothing is narrower than float32
        self.entered = None if layout is None else ROUNDINGS.get(layout.multiplied)
        self.dtypes = layout.dtypes if layout is not None else {}
        # what both sides compute to the same bit stays in its own type and has no bound
        self.exact: dict[int, Array] = {i: w[None] for i, w in graph.weights.items()}
        self.known: dict[int, Tracked] = {}
        self.chain = LONGEST if layout is not None else 0
        self.rounded: set[int] = set()  # values that have been rounded to it
        self.small = small_products(graph) if layout is not None else {}
        self.multiplied = {v.index for node in graph.nodes for v in multiplied(node)}

    def outputs(self, inputs: Mapping[str, Array]) -> dict[str, Tracked]:
        """From the inputs to the outputs."""
        for name, value in self.graph.inputs:
            self._load(value, np.asarray(inputs[name]))
        for node in self.graph.nodes:
            self._step(node)
        return {name: self._tracked(value) for name, value in self.graph.outputs}

    def kernels(
        self, inputs: Mapping[str, Array], held: Mapping[int, Array]
    ) -> Iterator[tuple[int, Tracked]]:
        """What each value of `held` should be, by those before it."""
        for name, value in self.graph.inputs:
            self._load(value, np.asarray(inputs[name]))
            if value.index in held:
                yield value.index, self._tracked(value)
                self._load(value, held[value.index])
        last = {v.index: i for i, node in enumerate(self.graph.nodes) for v in node.operands}
        for i, node in enumerate(self.graph.nodes):
            self._step(node)
            value = node.result
            if value.index in held:
                yield value.index, self._tracked(value)
                self._load(value, held[value.index])
            for operand in node.operands:
                if last[operand.index] == i and not self.graph.is_weight(operand):
                    self.known.pop(operand.index, None)
                    self.exact.pop(operand.index, None)

    def _load(self, value: Value, array: Array) -> None:
        """Take an array as a value's buffer holds it."""
        self.known.pop(value.index, None)
        # operators must not compute in narrow floats, which hold values alone
        self.exact[value.index] = array.astype(DTYPES[value.dtype], copy=False)
        if self.entered is not None and value.dtype == "f32":
            kept = ROUNDINGS.get(self.dtypes.get(value.index, ""))
            self.known[value.index] = _exact(array, kept)
            self.rounded |= {value.index} if kept is not None else set()

    def _step(self, node: Node) -> None:
        value = node.result
        doubtful = any(v.index in self.known for v in node.operands)
        floats = self.entered is not None and value.dtype == "f32"
        if not (doubtful or inexact(node) or floats):
            arrays = [self.exact[v.index] for v in node.operands]
            self.exact[value.index] = _evaluated(node, arrays)
            return
        operands = [self._operand(node, i) for i in range(len(node.operands))]
        whole = node.kind == ATTENTION
        made = attention(node, operands, self.entered) if whole else _ruled(node, operands)
        if self.reference and node.kind not in RULES:
            # by the operator's own definition, which must not be the code that it judges
            v = _evaluated(node, [x.v for x in _typed(node, operands)])
            made = replace(made, v=v.astype(np.float64) if is_float(v.dtype) else v)
        kept = ROUNDINGS.get(self.dtypes.get(value.index, ""))
        if kept is not None:
            made = stored(made, kept)
            self.rounded.add(value.index)
        elif node.kind in KEPT and node.operands[0].index in self.rounded:
            self.rounded.add(value.index)
        self.known[value.index] = made

    def _operand(self, node: Node, position: int) -> Tracked:
        """An operand as the node reads it: a product takes narrower floats.

        Who else reads a weight finds it as it is kept, rounded or not.
        """
        value = node.operands[position]
        made = self._tracked(value)
        if self.entered is not None and value.index in self._read_narrow(node):
            made = stored(made, self.entered)
        if position != 1:
            return made
        small = node.name in self.small
        return replace(
            made,
            sigma=self.sigma.get(node.name, inf),
            chain=LONGEST_SMALL if small else self.chain,
            more=SCALING if small else 0,
        )

    def _read_narrow(self, node: Node) -> set[int]:
        """Values that are rounded as the node reads them, and have not been before."""
        assert self.entered is not None
        whole = self.entered.operand == "tf32"  # which nothing is kept in
        own = {v.index for v in multiplied(node)} if whole else self.multiplied
        return own - self.rounded

    def _tracked(self, value: Value) -> Tracked:
        found = self.known.get(value.index)
        return found if found is not None else _exact(self.exact[value.index], None)


def _ruled(node: Node, operands: Sequence[Tracked]) -> Tracked:
    """By the operator's rule, or its code's; integers made of what is doubtful have none."""
    if node.kind in RULES:
        return RULES[node.kind](node, operands)
    if node.kind in EXPRESSIONS:
        return rule(node, operands)
    v = _evaluated(node, [x.v for x in _typed(node, operands)]).astype(np.float64)
    return tracked(v, np.full(v.shape, inf))


def inexact(node: Node) -> bool:
    """Whether a float depends on the order of a sum, or on how a function is computed."""
    if node.kind in RULES or node.kind not in EXPRESSIONS:
        return node.kind in INEXACT
    return is_inexact(node)


def _typed(node: Node, operands: Sequence[Tracked]) -> list[Tracked]:
    """The operands in float64, or in the integers and truths that the operator reads."""
    pairs = zip(node.operands, operands, strict=True)
    return [
        x if v.dtype == "f32" else replace(x, v=x.v.astype(DTYPES[v.dtype])) for v, x in pairs
    ]


def _exact(array: Array, kept: Rounding | None) -> Tracked:
    """An array that is known, as its buffer holds it."""
    held = array.astype(np.float64) if kept is None else kept(array)
    return tracked(held, np.zeros_like(held))


def _evaluated(node: Node, operands: Sequence[Array]) -> Array:
    """A node in its own types, one invocation at a time."""
    count = max(len(array) for array in operands)
    rows = [np.broadcast_to(array, (count, *array.shape[1:])) for array in operands]
    return np.stack(
        [evaluated(node.kind, some, node.attributes) for some in zip(*rows, strict=True)]
    )
