"""Products around a softmax become one attention.

    before   s = nn.matmul(q * c, nn.transpose(k) * c)      after   y = nn.attention(q, k, v, m)
             p = nn.softmax(s + m)                                      {scale = c c}
             y = nn.matmul(p, v)

As exporters write it: scaled by products or quotients before or after the first product, masked
by sums or by a choice of minus infinity. A constant causal mask becomes the attribute, a choice
of 0 where the softmax is NaN becomes ``masked_rows = "zero"``, and keys and values that are
repeated for groups of queries are taken unrepeated. Nothing else may read the softmax.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from tetrapla.ir.graph import Attribute, Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.attention_ import (
    Scores,
    hidden_by,
    lifted,
    regrouped,
    scores_of,
    ungrouped,
    unturned,
)
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.match_ import REAL, unscaled
from tetrapla.passes.pass_ import Pass


@dataclass(frozen=True)
class RecognizeAttention(Pass):
    """The same sums with the scale in another place; no step is left out.

    With u = 2^-24 and D the head's width, each form's scores are within (D + 4) u of the exact
    ones, relative to ``s = scale sum |q k|`` (Higham, Accuracy and Stability of Numerical
    Algorithms, 2002, section 3.1; four roundings of scale and mask), and an error e of the
    scores moves the softmax by a factor within exp(2 e). The rest is rounded alike in both
    forms but for the order of the sums over S keys. At s = 2, D = 128, S = 1024 (assumed;
    rounding grows with the square root of D, which is the room for a larger s) that is
    2 (2 * 2 * 132 + 1024) u, relative to the largest of v, which a row that sees one key
    attains. A guard that gives 0 for NaN is taken for one against rows that see nothing: the
    operands are finite.
    """

    max_rel_error: ClassVar[float] = 2 * (2 * 2 * 132 + 1024) * 2.0**-24

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _rows, _columns)


def _rows(edit: Edit, node: Node) -> Value | None:
    """``p v``, a row for every query."""
    return _attention(edit, node, *node.operands) if _mixes(node) else None


def _columns(edit: Edit, node: Node) -> Value | None:
    """``v p``, both transposed: a column for every query."""
    turned = edit.maker(node.operands[1], "nn.transpose") if _mixes(node) else None
    if turned is None or edit.readers(turned.result) != 1:
        return None
    rank = len(node.result.shape)
    perm = (*range(rank - 2), rank - 1, rank - 2)
    (weights,) = turned.operands
    if turned.ints("perm") != perm or edit.maker(weights, "nn.softmax", "nn.where") is None:
        return None
    name = f"{node.name}.values"
    v = edit.op("nn.transpose", [node.operands[0]], {"perm": perm}, name)
    found = _attention(edit, node, weights, v)
    return found and edit.op("nn.transpose", [found], {"perm": perm}, f"{node.name}.turned")


def _mixes(node: Node) -> bool:
    """Whether it may be the second product of an attention."""
    if node.kind != "nn.matmul" or node.result.dtype not in REAL or len(node.operands) != 2:
        return False
    return node.str("activation") == "none" and len(node.result.shape) >= 3


def _attention(edit: Edit, node: Node, weights: Value, v: Value) -> Value | None:
    if edit.readers(weights) != 1 or len(v.shape) != len(node.result.shape):
        return None
    found = scores_of(edit, weights)
    if found is None or not _fit(found, v, weights):
        return None
    name = f"{node.name}.heads"
    masks, last = _masks(edit, found, weights, name)
    if masks is None:
        return None
    k, by_k = unturned(edit, found.keys, f"{node.name}.keys")
    q, by_q = unscaled(edit, found.q)
    operands = _unrepeated(edit, *(regrouped(edit, x, found.lead, name) for x in (q, k, v)))
    attributes: dict[str, Attribute] = {
        "scale": found.scale * by_k * by_q,
        "causal": int(last is not None),
        "causal_offset": last or 0,
        "masked_rows": "zero" if found.guarded else "nan",
        "block": 0,
    }
    operands += [] if not masks else [_one(edit, masks)]
    lead = weights.shape[:-2]
    if found.lead == lead:
        return edit.op("nn.attention", operands, attributes)
    return regrouped(edit, edit.op("nn.attention", operands, attributes, name), lead, node.name)


def _fit(found: Scores, v: Value, weights: Value) -> bool:
    """Whether nothing is broadcast but the masks."""
    q, keys = found.q.shape, found.keys.shape
    same = q[:-2] == keys[:-2] and v.shape[:-2] == weights.shape[:-2]
    same = same and prod(q[:-2]) == prod(v.shape[:-2]) == prod(found.lead)
    types = {mask.value.dtype for mask in found.masks}
    return same and (types <= {"i1"} or types <= {v.dtype})


def _unrepeated(edit: Edit, q: Value, k: Value, v: Value) -> list[Value]:
    one, other = ungrouped(edit, k), ungrouped(edit, v)
    return [q, one[0], other[0]] if one[1] == other[1] else [q, k, v]


def _masks(
    edit: Edit, found: Scores, weights: Value, name: str
) -> tuple[list[Value] | None, int | None]:
    """The masks, and the last key that query 0 sees where one of them is causal."""
    queries, keys = weights.shape[-2:]
    left: list[Value] = []
    last: int | None = None
    for mask in found.masks:
        array = edit.constant(mask.value)
        seen = None if array is None else hidden_by(array, queries, keys)
        if seen is None:
            value = lifted(edit, mask, found.lead, name)
            if value is None:
                return None, None
            left.append(value)
        elif seen < keys - 1:
            last = seen if last is None else min(last, seen)
    return left, last


def _one(edit: Edit, masks: list[Value]) -> Value:
    mask = masks[0]
    for other in masks[1:]:
        kind = "nn.and" if mask.dtype == "i1" else "nn.add"
        mask = edit.op(kind, [mask, other], name="mask")
    return mask
