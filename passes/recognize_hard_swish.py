"""A product of a value and its hard sigmoid becomes one hard swish.

    before   s = nn.hard_sigmoid(x) {alpha = 1/6, beta = 1/2}       after   y = nn.hard_swish(x)
             y = nn.mul(x, s)

Also the clip that the hard sigmoid stands for: ``x clip(x + 3, 0, 6) / 6``, with the sixth on
any factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tetrapla.ir.graph import Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.match_ import BEHIND, REAL, close, either, number, unscaled, with_number
from tetrapla.passes.pass_ import Pass


@dataclass(frozen=True)
class RecognizeHardSwish(Pass):
    """One rounding instead of up to four.

    With u = 2^-24: a constant within `match_.SAME_REL` = 16 u moves the line, at most 1/2 where
    it counts, by 8 u; the line, the two products and the new form round by 4 u of x: 12 u,
    relative to the largest x, which is taken to be positive (an output near it). That the
    layers behind amplify it at most by `match_.BEHIND` is assumed.
    """

    max_rel_error: ClassVar[float] = BEHIND * 12 * 2.0**-24

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _swish)


def _swish(edit: Edit, node: Node) -> Value | None:
    if node.kind not in ("nn.mul", "nn.div") or node.result.dtype not in REAL:
        return None
    product, outer = _unscaled(edit, node)
    if product is None:
        return None
    for one, other in either(product):
        x, by_x = unscaled(edit, one)
        line, by_line = unscaled(edit, other)
        factor = outer * by_x * by_line * _height(edit, line, x)
        if x.shape == node.result.shape and close(factor, 1.0):
            return edit.op("nn.hard_swish", [x])
    return None


def _unscaled(edit: Edit, node: Node) -> tuple[Node | None, float]:
    """The product of two computed values behind one number, and that number."""
    a, b = node.operands
    for value, other in ((a, b), (b, a)):
        found = number(edit, other)
        if found is not None and (node.kind == "nn.mul" or (value is a and found != 0)):
            inner, factor = unscaled(edit, value)
            last = found if node.kind == "nn.mul" else 1 / found
            return edit.maker(inner, "nn.mul"), factor * last
    return (node if node.kind == "nn.mul" else None), 1.0


def _height(edit: Edit, line: Value, x: Value) -> float:
    """How high the hard sigmoid of x rises that the value is a multiple of; 0 if it is none."""
    node = edit.maker(line, "nn.hard_sigmoid", "nn.clip")
    if node is None:
        return 0.0
    if node.kind == "nn.hard_sigmoid":
        slope, middle = node.float("alpha"), node.float("beta")
        fits = node.operands[0].index == x.index and close(slope, 1 / 6)
        return 1.0 if fits and middle == 0.5 else 0.0
    add = edit.maker(node.operands[0], "nn.add")
    found = None if add is None else with_number(edit, add)
    fits = found is not None and found[0].index == x.index and found[1] == 3.0
    return 6.0 if fits and (node.float("low"), node.float("high")) == (0.0, 6.0) else 0.0
