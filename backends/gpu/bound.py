r"""How far a float plan may be from the reference: a bound on each output element.

Running error analysis (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2002,
chapters 3 and 4), carried through the module's graph in float64 and never on the machine's
results. Two walks: one over the weights and inputs as the plan rounds them, one over those of
the reference. In each, a value has its exact v and a bound d on what arithmetic in that
format adds: ``|machine - v_m| <= d_m`` and ``|reference - v_r| <= d_r``, so

    |machine - reference| <= |v_m - v_r| + d_m + d_r.

* Storage: fl16(z) is within ``u16 |z| + 2^-25`` of z, u16 = 2^-11 (2^-25: half a subnormal).
  Every arithmetic result is charged for it, also where a fused kernel keeps it in registers.
* Products: with x' = x + dx and any order of summation of n terms in float32,
  ``|sum fl(x' w) - sum x w| <= sum dx |w| + g sum (|x| + dx) |w|``; g = n u / (1 - n u),
  u = 2^-24, n = K + ceil(K / 16) + 3 for K products, the sums of k tiles (at least 16 wide),
  and the bias.
* Maxima, ReLU, reshapes and transposes pass d on; sums add it; means average it.
* Errors of many inputs rarely conspire: beside d goes n, a bound on the Euclidean norm of an
  invocation's errors. A layer of constant weights stretches it by at most its spectral norm
  (`norms`), ReLU by 1, and an output's share is at most its weights' length times n; where that
  is less than ``sum dx |w|``, it is what d takes.
* Softmax under logits off by t_i <= d_i + max d: ``|dy| <= min(t / 4, y (e^t - 1))``.

The bound of a report is its largest element over max |reference|, the error's own
normalisation. An fp16 value that may overflow makes it infinite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf

import numpy as np

from tetrapla.backends.gpu.norms import operator_norms
from tetrapla.backends.gpu.rules import KEPT, RULES, Tracked, stored, tracked
from tetrapla.ir.graph import Array, Graph, Node, Value
from tetrapla.ir.op import OPS

PRODUCTS = ("nn.matmul", "nn.conv2d")
# float results that depend on the order of a sum or on the library's exponential
INEXACT = (*PRODUCTS, "nn.softmax", "nn.average_pool2d", "nn.global_average_pool")
CHUNK = 64  # invocations at a time, which bounds the memory


def error_bounds(
    graph: Graph, number_format: str, inputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Bounds on |machine - reference| by output name, shape (invocations, *shape), float64.

    Args:
        graph: of the lowered module, with its weights.
        number_format: fp16, or fp32 or int8 (whose float part is float32).
        inputs: (invocations, *shape) by input name.
    """
    count = max(len(array) for array in inputs.values())
    halves = number_format == "fp16"
    sigma = operator_norms(graph, np.float16) if halves else {}
    parts: dict[str, list[Array]] = {name: [] for name, _ in graph.outputs}
    with np.errstate(all="ignore"):  # an infinity is a bound too
        for start in range(0, count, CHUNK):
            some = {name: array[start : start + CHUNK] for name, array in inputs.items()}
            held = len(next(iter(some.values())))
            machine, reference = (
                _walk(graph, halves, some, sigma),
                _walk(graph, False, some, {}),
            )
            for name in parts:
                m, r = machine[name], reference[name]
                bound = np.abs(m.v - r.v) + m.d + r.d
                parts[name].append(np.broadcast_to(bound, (held, *bound.shape[1:])))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _walk(
    graph: Graph, halves: bool, inputs: Mapping[str, Array], sigma: Mapping[str, float]
) -> dict[str, Tracked]:
    """One side's outputs; `halves` rounds weights, inputs and results to float16."""
    # what both sides compute to the same bit stays in its own type and has no bound
    exact: dict[int, Array] = {i: w[None] for i, w in graph.weights.items()}
    known: dict[int, Tracked] = {}

    multiplied = {
        v.index for node in graph.nodes if node.kind in PRODUCTS for v in node.operands[:2]
    }

    def operand(node: Node, value: Value, position: int) -> Tracked:
        rounds = halves and value.index in multiplied
        made = known.get(value.index)
        if made is None:
            made = _exact(exact[value.index], rounds)
        elif rounds and not made.d.any():  # a view of a constant
            made = _exact(made.v, True)
        return replace(made, sigma=sigma.get(node.name, inf)) if position == 1 else made

    for name, value in graph.inputs:
        exact[value.index] = np.asarray(inputs[name])
        if halves and value.dtype == "f32":
            known[value.index] = _exact(exact[value.index], True)
    for node in graph.nodes:
        value = node.result
        doubtful = any(v.index in known for v in node.operands)
        if not (doubtful or node.kind in INEXACT or (halves and value.dtype == "f32")):
            exact[value.index] = _evaluated(node, [exact[v.index] for v in node.operands])
            continue
        operands = [operand(node, v, i) for i, v in enumerate(node.operands)]
        made = RULES[node.kind](node, operands)
        known[value.index] = stored(made) if halves and node.kind not in KEPT else made
    return {
        name: known[v.index] if v.index in known else _exact(exact[v.index], False)
        for name, v in graph.outputs
    }


def _exact(array: Array, halved: bool) -> Tracked:
    """An array that is known, as its buffer holds it."""
    held = (array.astype(np.float16) if halved else array).astype(np.float64)
    return tracked(held, np.zeros_like(held))


def _evaluated(node: Node, operands: Sequence[Array]) -> Array:
    """A node in its own types, one invocation at a time."""
    count = max(len(array) for array in operands)
    rows = [np.broadcast_to(array, (count, *array.shape[1:])) for array in operands]
    return np.stack(
        [OPS[node.kind].evaluate(*some, **node.attributes) for some in zip(*rows, strict=True)]
    )
