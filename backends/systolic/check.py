"""The machine held against the interpreter: bit by bit, float products within a derived bound.

Integers, and what the vector unit computes by the reference's own definitions, must be equal.
A float product is summed in another order than the interpreter's, so it is judged by itself:
the network is compiled once more with every product's result as an output, and each result must
lie within its bound of what float64 makes of the operands that the machine itself stored. No
bound looks at what it judges, nor grows with depth.

With n products in one sum and its bias, whatever the order, of operands whose products float32
holds (8 + 8 and 11 + 11 bits; but for underflow, half a subnormal each), Higham ("Accuracy and
Stability of Numerical Algorithms", 2002, section 4.2) gives

    |float32 sum - exact| <= e = g_n (sum |x| |w| + |bias|) + n 2^-150,  g_n = n u / (1 - n u)

with u = 2^-24. ReLU and the rounding to the result's type are monotone, so a result lies
between those of exact - e and of exact + e.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf, prod

import numpy as np

from tetrapla.backends.systolic.array.formats import CLAMPS, CONVOLUTIONS, FLOATS, PRODUCTS
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.backends.target_ import Inputs, Lowered
from tetrapla.ir.graph import DTYPES, Array, Graph, Node
from tetrapla.ir.nn.precision import rounded
from tetrapla.ir.op import evaluated
from tetrapla.simulators.report import CrossCheck, Run
from tetrapla.simulators.systolic.machine import outputs
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec

WIDEST = 0.1
"""Of a product's largest result; a wider bound would pass results that say nothing."""

_UNIT = 2.0**-24
_UNIT_EXACT = 2.0**-53
_UNDERFLOW = 2.0**-150
_LARGEST = float(np.finfo(np.float32).max)
_NO_LIMIT = CLAMPS["none"]


CHUNK = 8
"""Invocations at a time, which bounds the memory."""


@dataclass
class Compared:
    """A product's results against what they should be, over all invocations.

    Attributes:
        outside: elements beyond their own bound.
        error: the largest.
        bound: likewise.
        largest: magnitude of an exact result.
    """

    outside: int = 0
    error: float = 0.0
    bound: float = 0.0
    largest: float = 0.0

    @property
    def relative(self) -> tuple[float, float]:
        """Error and bound over the largest magnitude."""
        scale = self.largest or 1.0
        return self.error / scale, self.bound / scale

    @property
    def nearness(self) -> float:
        """How near the error comes to the bound; infinite where that says too little."""
        error, bound = self.relative
        if not bound <= WIDEST:
            return inf
        return error / bound if bound else float(self.outside)


def cross_check(
    lowered: Lowered[Program],
    spec: SystolicSpec,
    inputs: Inputs,
    run: Run,
    reference: Mapping[str, Array],
) -> CrossCheck:
    """Judge a run: `bit_exact`, or by products where some are of floats (see above).

    The figures are of the product whose error comes nearest to its bound, or whose bound is
    over `WIDEST` of its largest result, which fails.
    """
    graph = lowered.module.graph
    if not any(_is_float(node) for node in graph.nodes):
        mismatches = sum(
            differences(np.asarray(run.outputs[name]), wanted)
            for name, wanted in reference.items()
        )
        return CrossCheck("bit_exact", mismatches, None, None, mismatches == 0)
    program = compile_graph(_probed(graph), spec, lowered.module.name)
    compared = {n.result.index: Compared() for n in graph.nodes if _is_float(n)}
    mismatches, count = 0, max(len(array) for array in inputs.values())
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        some = {name: np.asarray(array)[part] for name, array in inputs.items()}
        held = {int(key): array for key, array in outputs(program, some).items()}
        wanted = _walk(graph, some, held, compared)
        for name, value in graph.outputs:
            found = np.asarray(run.outputs[name])[part]
            mismatches += differences(found, wanted[value.index])
    mismatches += sum(one.outside for one in compared.values())
    shown = max(compared.values(), key=lambda one: one.nearness)
    error, bound = shown.relative
    bounded = all(one.relative[1] <= WIDEST for one in compared.values())
    return CrossCheck(
        "tolerance", mismatches, _finite(error), _finite(bound), mismatches == 0 and bounded
    )


def differences(found: Array, wanted: Array) -> int:
    """How many elements are not equal; one NaN is like another."""
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return max(found.size, wanted.size, 1)
    equal = found == wanted
    if found.dtype.kind not in "iub":
        equal |= (found != found) & (wanted != wanted)
    return int(equal.size - np.count_nonzero(equal))


def _is_float(node: Node) -> bool:
    return node.kind in PRODUCTS and node.operands[0].dtype in FLOATS


def _probed(graph: Graph) -> Graph:
    """The graph with every float product's result as an output, named by its number."""
    found = {f"{n.result.index}": n.result for n in graph.nodes if _is_float(n)}
    return replace(graph, outputs=tuple(found.items()))


def _walk(
    graph: Graph,
    inputs: Mapping[str, Array],
    held: Mapping[int, Array],
    compared: Mapping[int, Compared],
) -> dict[int, Array]:
    """Each product from the operands that are held; returns the outputs that follow."""
    values = {index: array[None] for index, array in graph.weights.items()}
    values |= {value.index: inputs[name] for name, value in graph.inputs}
    kept = {value.index for _, value in graph.outputs}
    last = {v.index: n for n, node in enumerate(graph.nodes) for v in node.operands}
    with np.errstate(all="ignore"):  # an infinity is a bound too
        for number, node in enumerate(graph.nodes):
            rows = list(_rows([values[value.index] for value in node.operands]))
            if _is_float(node):
                made = held[node.result.index]
                _compare(compared[node.result.index], node, rows, made)
            else:
                made = np.stack([evaluated(node.kind, row, node.attributes) for row in rows])
            values[node.result.index] = made
            for value in node.operands:
                if last[value.index] == number and value.index not in kept:
                    values.pop(value.index, None)
    return {index: values[index] for index in kept}


def _compare(into: Compared, node: Node, rows: list[list[Array]], found: Array) -> None:
    dtype = DTYPES[node.result.dtype]
    low, high = (_limit(number) for number in CLAMPS[node.str("activation")])
    for row, stored in zip(rows, found, strict=True):
        exact, away = _sum(node, row)
        first, last = (
            rounded(np.clip(end, low, high), dtype).astype(np.float64)
            for end in (exact - away, exact + away)
        )
        exact, real = np.clip(exact, low, high), stored.astype(np.float64)
        inside = (first <= real) & (real <= last)
        into.outside += int(inside.size - np.count_nonzero(inside))
        into.error = max(into.error, _most(real - exact))
        into.bound = max(into.bound, _most(last - exact), _most(exact - first))
        into.largest = max(into.largest, _most(exact))


def _sum(node: Node, operands: list[Array]) -> tuple[Array, Array]:
    """The exact sums with their bias, and how far float32's may be from them."""
    attributes = {**node.attributes, "activation": "none"}
    wide = [array.astype(np.float64) for array in operands]
    exact = evaluated(node.kind, wide, attributes)
    sizes = evaluated(node.kind, [np.abs(array) for array in wide], attributes)
    shape = node.operands[1].shape
    terms = (prod(shape[1:]) if node.kind in CONVOLUTIONS else shape[-2]) + 1
    share = terms * _UNIT / (1 - terms * _UNIT) + 2 * terms * _UNIT_EXACT
    away = share * sizes + terms * _UNDERFLOW
    return exact, np.where(sizes + away < _LARGEST, away, inf)  # a sum may overflow


def _limit(number: int) -> float:
    """A clamp's number; the outermost stand for none."""
    return {_NO_LIMIT[0]: -inf, _NO_LIMIT[1]: inf}.get(number, float(number))


def _rows(operands: list[Array]) -> Iterator[list[Array]]:
    """The operands of each invocation; constants are the same in all."""
    count = max(len(array) for array in operands)
    for i in range(count):
        yield [array[i if len(array) > 1 else 0] for array in operands]


def _most(array: Array) -> float:
    """The largest magnitude; infinite where there is none."""
    found = float(np.abs(array).max(initial=0.0))
    return inf if np.isnan(found) else found


def _finite(number: float) -> float | None:
    return number if np.isfinite(number) else None
