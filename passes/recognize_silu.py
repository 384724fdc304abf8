"""A product of a value and its sigmoid becomes one SiLU.

    before   s = nn.sigmoid(x)           after   y = nn.silu(x)
             y = nn.mul(x, s)

Also the quotient ``x / (1 + exp(-x))``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tetrapla.ir.graph import Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.match_ import BEHIND, REAL, either, unscaled, with_number
from tetrapla.passes.pass_ import Pass


@dataclass(frozen=True)
class RecognizeSilu(Pass):
    """One rounding instead of up to four.

    The steps of the quotient (exponential, sum, quotient) and of the product (sigmoid, product)
    round at most three times, the new form once: 4 u of every element, u = 2^-24. That the
    layers behind amplify it at most by `match_.BEHIND` is assumed.
    """

    max_rel_error: ClassVar[float] = BEHIND * 4 * 2.0**-24

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _product, _quotient)


def _product(edit: Edit, node: Node) -> Value | None:
    if node.kind != "nn.mul" or node.result.dtype not in REAL:
        return None
    for x, other in either(node):
        sigmoid = edit.maker(other, "nn.sigmoid")
        if sigmoid is not None and sigmoid.operands[0].index == x.index:
            return edit.op("nn.silu", [x])
    return None


def _quotient(edit: Edit, node: Node) -> Value | None:
    if node.kind != "nn.div" or node.result.dtype not in REAL:
        return None
    x, under = node.operands
    add = edit.maker(under, "nn.add")
    found = None if add is None else with_number(edit, add)
    power = None if found is None or found[1] != 1.0 else edit.maker(found[0], "nn.exp")
    if power is None:
        return None
    inner, factor = unscaled(edit, power.operands[0])
    return edit.op("nn.silu", [x]) if inner.index == x.index and factor == -1.0 else None
