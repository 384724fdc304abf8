"""Means, squares and roots become one layer normalisation.

    before   m = nn.reduce_mean(x)              after   y = nn.layer_norm(x, @scale, @bias)
             d = nn.sub(x, m)
             v = nn.reduce_mean(d * d)
             n = nn.div(d, nn.sqrt(v + epsilon))
             y = n * @scale + @bias

The axes must be the last ones. Also as exporters write it: ``pow(d, 2)``, the difference
computed twice, ``x + (-m)``, the root's reciprocal or power -1/2 times d; the scale before the
quotient, ``(@scale * d) / root``; means whose axes a reshape puts back; without scale or bias.
A product or sum with a constant of the shape of the normalised axes joins a normalisation that
nothing else reads.
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
    Mean,
    either,
    factored,
    mean,
    number,
    parameter,
    scale,
    square,
    standardised,
    trailing,
    unscaled,
)
from tetrapla.passes.pass_ import Pass


@dataclass(frozen=True)
class RecognizeLayerNorm(Pass):
    """One rounding instead of one per step.

    With u = 2^-24 and k = |mean| / deviation: rounding the mean moves x - mean by k u, the
    difference by u, both relative to the deviation, once in the numerator and once under the
    root (twice the variance, halved). Squares, their mean, epsilon, the sum and the root, each
    of them halved or once, quotient, scale (before it or after) and bias add u: 2 (k + 1) u +
    8 u. A mean of up to 2^5 deviations is assumed, and that the layers behind amplify at most
    by `match_.BEHIND`.
    """

    max_rel_error: ClassVar[float] = BEHIND * (2 * (2**5 + 1) + 8) * 2.0**-24

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _core, _scaled, _shifted)


def _core(edit: Edit, node: Node) -> Value | None:
    found = standardised(edit, node) if node.result.dtype in REAL else None
    power = None if found is None else mean(edit, found.power)
    deviation = None if power is None else square(edit, power.x)
    if found is None or power is None or deviation is None:
        return None
    centred, axis = _centred(edit, deviation), trailing(power)
    if centred is None or axis is None or power.axes != centred.axes:
        return None
    for difference, factor in factored(edit, found.x):
        # the difference may be one value or be computed twice
        same = _centred(edit, difference) == centred
        held = scale(edit, centred.x, axis, factor) if same else None
        if held is not None:
            attributes: dict[str, Attribute] = {"axis": axis, "epsilon": found.epsilon}
            return edit.op("nn.layer_norm", [centred.x, held], attributes)
    return None


def _centred(edit: Edit, value: Value) -> Mean | None:
    """What the value is, less its own mean."""
    node = edit.maker(value, "nn.sub", "nn.add")
    if node is None:
        return None
    minus = 1.0 if node.kind == "nn.sub" else -1.0
    pairs = [(node.operands[0], node.operands[1])] if node.kind == "nn.sub" else either(node)
    for x, other in pairs:
        inner, factor = unscaled(edit, other)
        found = mean(edit, inner)
        if found is not None and factor == minus and found.x.index == x.index:
            return found
    return None


def _scaled(edit: Edit, node: Node) -> Value | None:
    if node.kind != "nn.mul" or node.result.dtype not in REAL:
        return None
    for value, factor in either(node):
        norm = edit.maker(value, "nn.layer_norm")
        held = None if norm is None else parameter(edit, norm, factor)
        if norm is None or held is None:
            continue
        x, ones, *bias = norm.operands
        if not bias and number(edit, ones) == 1.0:
            return edit.op("nn.layer_norm", [x, held], norm.attributes)
    return None


def _shifted(edit: Edit, node: Node) -> Value | None:
    if node.kind != "nn.add" or node.result.dtype not in REAL:
        return None
    for value, bias in either(node):
        norm = edit.maker(value, "nn.layer_norm")
        if norm is None or len(norm.operands) > 2:
            continue
        held = parameter(edit, norm, bias)
        if held is not None:
            return edit.op("nn.layer_norm", [*norm.operands, held], norm.attributes)
    return None
