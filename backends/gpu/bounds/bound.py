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
from tetrapla.backends.gpu.bounds.recurrent import exact, recurrent
from tetrapla.backends.gpu.bounds.rules import (
    ROUNDINGS,
    RULES,
    U32,
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
from tetrapla.simulators.gpu.recurrent import GATES

# float results that depend on the order of a sum or on the library's exponential
INEXACT = (*PRODUCTS, "nn.softmax", "nn.average_pool2d", "nn.global_average_pool", ATTENTION)
# results that are some operand's element, or 0
KEPT = ("nn.relu", "nn.reshape", "nn.transpose", "nn.max_pool2d")
# products of a float tile, which are summed before they join the accumulator (`heads`)
LONGEST, LONGEST_SMALL = 64, 128  # the second of 8-bit floats
# invocations at a time, and elements of all values, assumed: both bound the memory
CHUNK, MOST_ELEMENTS = 64, 2**24


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
    machine = _Walk(graph, layout, {}).kernels(inputs, held)
    reference = _Walk(graph, None, {}, values=True).kernels(inputs, held)
    with np.errstate(all="ignore"):  # an infinity is a bound too
        for (index, m), (_, r) in zip(machine, reference, strict=True):
            # also of infinities, and what is no number in both is none in the machine
            same = (m.v == r.v) | (np.isnan(m.v) & np.isnan(r.v))
            apart = np.subtract(m.v, r.v, dtype=np.float64)  # truths have no difference
            away = np.where(same, 0.0, np.abs(apart))
            yield Kept(index, m.v, r.v, away + m.d)


def any_order_bounds(
    graph: Graph, inputs: Mapping[str, Array], held: Mapping[int, Array]
) -> Iterator[Kept]:
    """Of every value in `held`: `kernel_bounds` of float32 operators with no plan.

    Their sums have any order, as those of a compiler that is not ours.
    """
    with np.errstate(all="ignore"):
        for index, found in _Walk(graph, None, {}).kernels(inputs, held):
            yield Kept(index, found.v, found.v, found.d)


def error_bounds(graph: Graph, layout: Layout, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Bounds on |machine - reference| by output name, shape (invocations, *shape), float64.

    Args:
        graph: of the lowered module, with its weights.
        layout: which value has a buffer, of which type.
        inputs: (invocations, *shape) by input name.
    """
    count = max(len(array) for array in inputs.values())
    each = sum(value.elements for node in graph.nodes for value in node.results)
    step = max(1, min(CHUNK, MOST_ELEMENTS // max(1, each)))
    entered = ROUNDINGS.get(layout.multiplied)
    sigma = operator_norms(graph, entered) if entered is not None else {}
    parts: dict[str, list[Array]] = {name: [] for name, _ in graph.outputs}
    with np.errstate(all="ignore"):
        for start in range(0, count, step):
            some = {name: array[start : start + step] for name, array in inputs.items()}
            rows = len(next(iter(some.values())))
            machine = _Walk(graph, layout, sigma).outputs(some)
            reference = _Walk(graph, None, {}).outputs(some)
            for name in parts:
                m, r = machine[name], reference[name]
                bound = np.abs(m.v - r.v) + m.d + r.d
                parts[name].append(np.broadcast_to(bound, (rows, *bound.shape[1:])))
    return {name: np.concatenate(found) for name, found in parts.items()}


class _Walk:
    """One side of the analysis; without a layout nothing is rounded to narrower floats.

    With `values` alone nothing is bounded, and every value is by its operator's definition.
    """

    def __init__(
        self,
        graph: Graph,
        layout: Layout | None,
        sigma: Mapping[str, float],
        values: bool = False,
    ) -> None:
        self.graph, self.sigma, self.values = graph, sigma, values
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
            self._step(node, held)
            value = node.results[0]
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

    def _step(self, node: Node, held: Mapping[int, Array] | None = None) -> None:
        value = node.results[0]
        if node.kind in GATES:
            self.known[value.index] = self._recurred(node, (held or {}).get(value.index))
            return
        doubtful = any(v.index in self.known for v in node.operands)
        floats = self.entered is not None and value.dtype == "f32"
        if not (doubtful or inexact(node) or floats):
            arrays = [self.exact[v.index] for v in node.operands]
            self.exact[value.index] = _evaluated(node, arrays)
            return
        operands = [self._operand(node, i) for i in range(len(node.operands))]
        if self.values:
            v = _evaluated(node, [x.v for x in _typed(node, operands)])
            self.known[value.index] = _known(v.astype(np.float64) if is_float(v.dtype) else v)
            return
        whole = node.kind == ATTENTION
        made = attention(node, operands, self.entered) if whole else _ruled(node, operands)
        if not whole and node.kind not in RULES:
            made = _defined(made, _evaluated(node, [x.v for x in _typed(node, operands)]))
        kept = ROUNDINGS.get(self.dtypes.get(value.index, ""))
        if kept is not None:
            made = stored(made, kept)
            self.rounded.add(value.index)
        elif node.kind in KEPT and node.operands[0].index in self.rounded:
            self.rounded.add(value.index)
        self.known[value.index] = made

    def _recurred(self, node: Node, states: Array | None) -> Tracked:
        """A recurrent layer, whose steps begin with the states that are stored."""
        operands = [self._operand(node, i) for i in range(len(node.operands))]
        kept = ROUNDINGS.get(self.dtypes.get(node.results[0].index, ""))

        def store(x: Tracked) -> Tracked:
            return x if kept is None else stored(x, kept)

        made = recurrent(node, operands, states, store, self.entered, kept is not None)
        v = exact(node, [x.v for x in _typed(node, operands)], states)
        return store(replace(made, v=v.astype(np.float64)))

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


def _defined(made: Tracked, v: Array) -> Tracked:
    """What generated code makes, about the operator's own definition.

    The code is what is judged, so that its distance from the definition counts no further than
    its roundings explain: each constant that it reads is rounded as an operation is, and what
    a polynomial leaves out is below a rounding of the result.
    """
    own, exact = (each.astype(np.float64) for each in (made.v, v))
    same = (own == exact) | (np.isnan(own) & np.isnan(exact))
    rounding = U32 * np.abs(exact) if is_float(v.dtype) else 0.0
    left_out = np.minimum(np.abs(own - exact), 2 * made.d + rounding)
    d = np.where(same, made.d, made.d + np.where(np.isnan(left_out), 0.0, left_out))
    return tracked(exact if is_float(v.dtype) else v, d)


def inexact(node: Node) -> bool:
    """Whether a float depends on the order of a sum, or on how a function is computed."""
    if node.kind in RULES or node.kind not in EXPRESSIONS:
        return node.kind in (*INEXACT, *GATES)
    return is_inexact(node)


def _typed(node: Node, operands: Sequence[Tracked]) -> list[Tracked]:
    """The operands in float64, or in the integers and truths that the operator reads."""
    pairs = zip(node.operands, operands, strict=True)
    return [
        x if v.dtype == "f32" else replace(x, v=x.v.astype(DTYPES[v.dtype])) for v, x in pairs
    ]


def _exact(array: Array, kept: Rounding | None) -> Tracked:
    """An array that is known, as its buffer holds it."""
    if kept is not None:
        return _known(kept(array))
    # an integer of 64 bits may have more than a float64
    return _known(array.astype(np.float64) if is_float(array.dtype) else array)


def _known(held: Array) -> Tracked:
    """Without an error, whose zeros take no memory."""
    return Tracked(held, np.broadcast_to(np.zeros(()), held.shape), np.zeros(len(held)))


def _evaluated(node: Node, operands: Sequence[Array]) -> Array:
    """A node in its own types, one invocation at a time."""
    count = max(len(array) for array in operands)
    rows = [np.broadcast_to(array, (count, *array.shape[1:])) for array in operands]
    return np.stack(
        [evaluated(node.kind, some, node.attributes) for some in zip(*rows, strict=True)]
    )
