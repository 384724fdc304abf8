"""A mean of squares and its root become one root-mean-square normalisation.

    before   p = nn.reduce_mean(x * x)                  after   y = nn.rms_norm(x, @scale)
             y = x * nn.reciprocal(nn.sqrt(p + epsilon)) * @scale

The axes must be the last ones. Also as exporters write it: ``pow(x, 2)``, the quotient by the
root, the power -1/2; the scale before the quotient, ``(@scale * x) / root``; a mean whose axes
a reshape puts back; without a scale. A product with a constant of the shape of the normalised
axes joins a normalisation that nothing else reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tetrapla.ir.graph import Attribute, Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.match_ import (
    BEHIND,
    REAL,
    either,
    factored,
    mean,
    number,
    parameter,
    scale,
    square,
    standardised,
    trailing,
)
from tetrapla.passes.pass_ import Pass


@dataclass(frozen=True)
class RecognizeRmsNorm(Pass):
    """One rounding instead of one per step.

    With u = 2^-24: the squares, their mean, epsilon, the sum, its root and the reciprocal are
    rounded once each, the first four under the root (halved); then two products. That is 6 u of
    every element, and u for the new form; that the layers
    behind amplify it at most by `match_.BEHIND` is assumed.
    """

    max_rel_error: ClassVar[float] = BEHIND * 7 * 2.0**-24

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _core, _scaled)


def _core(edit: Edit, node: Node) -> Value | None:
    found = standardised(edit, node) if node.result.dtype in REAL else None
    power = None if found is None else mean(edit, found.power)
    if found is None or power is None:
        return None
    base, axis = square(edit, power.x), trailing(power)
    if base is None or axis is None:
        return None
    for x, factor in factored(edit, found.x):
        held = scale(edit, base, axis, factor) if x.index == base.index else None
        if held is not None:
            attributes: dict[str, Attribute] = {"axis": axis, "epsilon": found.epsilon}
            return edit.op("nn.rms_norm", [base, held], attributes)
    return None


def _scaled(edit: Edit, node: Node) -> Value | None:
    if node.kind != "nn.mul" or node.result.dtype not in REAL:
        return None
    for value, factor in either(node):
        norm = edit.maker(value, "nn.rms_norm")
        if norm is None or number(edit, norm.operands[1]) != 1.0:
            continue
        held = parameter(edit, norm, factor)
        if held is not None:
            return edit.op("nn.rms_norm", [norm.operands[0], held], norm.attributes)
    return None
