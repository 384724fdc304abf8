"""TVM's results against the reference, operator by operator.

A second build of the model gives every value, and each must lie within its own bound of what
the operator makes in float64 of what TVM computed before it, so that no bound grows with depth
(`backends/gpu/bounds`). The sums may have any order; operators that round once must agree to
the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tetrapla.backends.gpu.bounds.bound import any_order_bounds
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.simulators.report import CrossCheck

_U = 2.0**-24  # of float32

# What TVM's own formulas add to the bound of an operator that we compute by another one:
# tanh = (1 - e) / (1 + e), e = exp(-2 |x|) <= 1. e is off by at most 3 u (its argument is
# exact, the library's exponential has 2 ulp, assumed), each side by 4 u, the quotient by 9 u.
# hard sigmoid = clip(a x + 0.5), a = 1/6 or as given: where it is not clipped a x and the sum
# are at most 1, so it is off by 2 u; hard swish multiplies that by |x| <= 3.
_ABSOLUTE = {"nn.tanh": 9 * _U, "nn.hard_sigmoid": 2 * _U, "nn.hard_swish": 6 * _U}


def opened(module: Module) -> Module:
    """The module with every value that it computes as an output, ``v<index>``."""
    graph = module.graph
    values = [value for node in graph.nodes for value in node.results]
    outputs = tuple((f"v{value.index}", value) for value in values)
    return Module.from_graph(replace(graph, outputs=outputs), module.name)


def without_bound(module: Module) -> list[str]:
    """Kinds of operators that the analysis has no rule for: loops, several results.

    A normalisation that is not folded into a convolution is one too: it rounds several times,
    and the analysis takes it for one operation of every machine.
    """
    found: set[str] = set()
    for node in module.graph.nodes:
        if len(node.results) > 1 or node.bodies or node.kind == "nn.batch_norm":
            found.add(node.kind)
    return sorted(found)


def judged(
    module: Module, inputs: Mapping[str, Array], values: Mapping[int, Array]
) -> tuple[CrossCheck, str]:
    """The verdict, and the operator whose error comes nearest to its bound.

    Args:
        module: of operators with one result.
        inputs: (invocations, *shape) by name.
        values: by index, what TVM computed of the same invocations.
    """
    outside, worst, where = 0, (-1.0, 0.0, 0.0), ""
    nodes = {node.result.index: node for node in module.graph.nodes}
    for kept in any_order_bounds(module.graph, inputs, values):
        found = values[kept.index].astype(np.float64)
        with np.errstate(all="ignore"):
            same = (found == kept.exact) | (np.isnan(found) & np.isnan(kept.exact))
            error = np.where(same, 0.0, np.abs(found - kept.exact))
        limit = kept.bound + _ABSOLUTE.get(nodes[kept.index].kind, 0.0)
        outside += int(np.count_nonzero(~(error <= limit)))
        scale = float(np.abs(kept.exact[np.isfinite(kept.exact)]).max(initial=0)) or 1.0
        largest, bound = float(error.max(initial=0)), float(np.max(limit, initial=0))
        strain = largest / bound if bound else float(largest > 0) * np.inf
        if strain > worst[0]:
            worst, where = (strain, largest / scale, bound / scale), nodes[kept.index].name
    _, away, allowed = worst
    known = bool(np.isfinite(allowed))
    told = allowed if known else None
    return CrossCheck("tolerance", outside, away, told, known and outside == 0), where
