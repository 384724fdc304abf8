"""Normalisations over reshaped groups become one group normalisation.

    before   a = nn.reshape(x) {shape = (n, groups, -1)}          after   y = nn.group_norm(
             b = nn.instance_norm(a, 1, 0)                                    x, @scale, @bias)
             c = nn.reshape(b) {shape = shape of x}                           {groups = groups}
             y = c * @scale + @bias       (both [C, 1, 1])

That is how exporters write a group normalisation as an instance normalisation. The inner one's
parameters may be any constants; a product or sum with a constant along the channels joins a
normalisation that nothing else reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tetrapla.ir.graph import Array, Attribute, Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.match_ import BEHIND, REAL, either, number
from tetrapla.passes.pass_ import Pass

# of one image's groups, each one channel of the reshaped value
NORMS = ("nn.group_norm", "nn.instance_norm")


@dataclass(frozen=True)
class RecognizeGroupNorm(Pass):
    """One rounding instead of three: normalisation, scale and bias.

    Each is within u = 2^-24 of its result; the scaled value and the bias may cancel down to the
    channel's deviation, assumed not below 2^-2 of the larger one: 4 (3 u + u). That the layers
    behind amplify it at most by `match_.BEHIND` is assumed.
    """

    max_rel_error: ClassVar[float] = BEHIND * 16 * 2.0**-24

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _whole, _scaled, _shifted)


def _whole(edit: Edit, node: Node) -> Value | None:
    """The normalisation of the channels in groups, in place of that of reshaped ones."""
    norm = edit.maker(node.operands[0], *NORMS) if node.kind == "nn.reshape" else None
    inner = None if norm is None else edit.maker(norm.operands[0], "nn.reshape")
    if norm is None or inner is None or edit.readers(norm.result) != 1:
        return None
    (x,), groups = inner.operands, inner.result.shape[1]
    if x.shape != node.result.shape or len(x.shape) < 3 or not _constants(edit, norm):
        return None
    images, channels, *_ = x.shape
    whole = norm.kind == "nn.instance_norm" or norm.int("groups") == groups
    if not whole or inner.result.shape[0] != images or channels % groups:
        return None
    parameters = [
        edit.derived("channels", p, (channels,), lambda a: np.repeat(a, channels // groups))
        for p in norm.operands[1:]
    ]
    attributes: dict[str, Attribute] = {"groups": groups, "epsilon": norm.float("epsilon")}
    return edit.op("nn.group_norm", [x, *parameters], attributes)


def _constants(edit: Edit, norm: Node) -> bool:
    return all(edit.is_constant(value) for value in norm.operands[1:])


def _scaled(edit: Edit, node: Node) -> Value | None:
    found = _norm(edit, node, "nn.mul")
    if found is None or number(edit, found[0].operands[2]) != 0.0:
        return None
    norm, factor = found
    x, scale, bias = norm.operands
    held = edit.derived("scaled", scale, scale.shape, lambda array: array * factor)
    return edit.op("nn.group_norm", [x, held, bias], norm.attributes)


def _shifted(edit: Edit, node: Node) -> Value | None:
    found = _norm(edit, node, "nn.add")
    if found is None:
        return None
    norm, shift = found
    x, scale, bias = norm.operands
    held = edit.derived("shifted", bias, bias.shape, lambda array: array + shift)
    return edit.op("nn.group_norm", [x, scale, held], norm.attributes)


def _norm(edit: Edit, node: Node, kind: str) -> tuple[Node, Array] | None:
    """A normalisation that the node alone reads, and its constant, one number per channel."""
    if node.kind != kind or node.result.dtype not in REAL:
        return None
    for value, other in either(node):
        norm, array = edit.maker(value, "nn.group_norm"), edit.constant(other)
        if norm is None or array is None or edit.readers(value) != 1:
            continue
        place = array.ndim - len(value.shape) + 1
        alone = all(size == 1 for i, size in enumerate(array.shape) if i != place)
        if alone and array.ndim <= len(value.shape) and _constants(edit, norm):
            return norm, array.reshape(-1)
    return None
