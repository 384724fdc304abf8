"""StableHLO's sorting, and CHLO's largest numbers, as nn.top_k.

nn.top_k counts NaN as the largest number and keeps equal ones in their order, which is what
JAX's comparison says (it makes zeros equal and NaN positive before it compares in total order).
"""

from __future__ import annotations

from collections.abc import Mapping

from tetrapla.frontend.foreign.operation import ForeignOp
from tetrapla.frontend.foreign.scope import Operand, Refusal, Scope, Settled
from tetrapla.frontend.foreign.walk import Translate
from tetrapla.frontend.stablehlo.reduce import said
from tetrapla.ir.graph import Attribute

# of a and b what JAX compares: a zero for zeros, a NaN for NaN, the number itself otherwise
_JAX = (
    "compare EQ 0 ?; select v0 ? 0; compare NE 0 0; select v2 ? v1; "
    "compare EQ 1 ?; select v4 ? 1; compare NE 1 1; select v6 ? v5; compare {} v3 v7; return v8"
)
_LARGEST: Mapping[str, int] = {
    **{form.format("LT"): 0 for form in (_JAX, "compare {} 0 1; return v0")},
    **{form.format("GT"): 1 for form in (_JAX, "compare {} 0 1; return v0")},
    "compare LT 1 0; return v0": 1,
    "compare GT 1 0; return v0": 0,
}


def _sort(op: ForeignOp, scope: Scope) -> tuple[Operand, ...]:
    """Whole lines in order of the first operand; the others follow it."""
    largest = _LARGEST.get(said(op.handle.regions[0].blocks[0]))
    if largest is None:
        raise Refusal("only by one comparison, LT or GT, of the first operand")
    keys, *others = op.operands
    axis = op.integer("dimension")
    values, places = _top_k(op, scope, keys, keys.shape[axis], axis, largest)
    found: list[Operand] = [values]
    for other in others:
        operands = [other, places]
        found.append(scope.op("nn.gather_elements", operands, {"axis": axis}, op.label))
    return tuple(found)


def _largest(op: ForeignOp, scope: Scope) -> tuple[Operand, ...]:
    """CHLO's top_k, or a composite that stands for it."""
    (x,) = op.operands
    size = op.result.shape[-1]
    values, places = _top_k(op, scope, x, size, len(x.shape) - 1, 1)
    return values, scope.cast(places, op.results[1].dtype, op.label)


def _top_k(
    op: ForeignOp, scope: Scope, x: Operand, k: int, axis: int, largest: int
) -> tuple[Settled, ...]:
    attributes: dict[str, Attribute] = {"k": k, "axis": axis, "largest": largest}
    return scope.ops("nn.top_k", [x], attributes, op.label)


OPERATORS: Mapping[str, Translate] = {
    "chlo.top_k": _largest,
    "stablehlo.sort": _sort,
}
