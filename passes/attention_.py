"""The parts of an attention as exporters write it: scores, masks, keys turned and repeated."""

from __future__ import annotations

from math import prod
from typing import NamedTuple, TypeAlias

import numpy as np

from tetrapla.ir.graph import DTYPES, Array, Node, Value
from tetrapla.passes.edit_ import Edit
from tetrapla.passes.match_ import either, number, unscaled

# assumed: a sum with less than this hides a key (exporters write the smallest float32, some
# -1e4, which hides only scores that are far smaller than it: those stay an added mask)
HIDDEN = -1e30


Lead: TypeAlias = "tuple[int, ...]"


class Mask(NamedTuple):
    """What is added to scores [*lead, L, S], or truths where a key is seen."""

    value: Value
    lead: Lead


class Scores(NamedTuple):
    """``softmax(scale q keys + masks)``, the keys turned ([..., D, S]).

    Attributes:
        guarded: whether rows without a key give 0 in place of NaN.
        lead: the leading axes in their finest form: [images, heads] where a product takes both
            as one.
    """

    q: Value
    keys: Value
    scale: float
    masks: tuple[Mask, ...]
    guarded: bool
    lead: Lead


def scores_of(edit: Edit, value: Value) -> Scores | None:
    """What the value is the softmax of, if nothing else reads that."""
    softmax, guarded = _softmax(edit, _regrouped(edit, value))
    if softmax is None:
        return None
    inner, masks = softmax.operands[0], list[Mask]()
    leads = [inner.shape[:-2]]
    while found := _masked(edit, inner := _regrouped(edit, inner)):
        masks.append(Mask(found[1], inner.shape[:-2]))
        inner = found[0]
    inner, scale = unscaled(edit, inner)
    leads += [mask.lead for mask in masks] + [inner.shape[:-2]]
    product = edit.maker(_regrouped(edit, inner), "nn.matmul")
    if product is None or len(product.operands) != 2 or product.str("activation") != "none":
        return None
    q, keys = product.operands
    lead = max([*leads, q.shape[:-2]], key=len)
    return Scores(q, keys, scale, tuple(masks), guarded, lead)


def regrouped(edit: Edit, value: Value, lead: Lead, name: str) -> Value:
    """[*lead, a, b] of a value [..., a, b] with as many elements."""
    if value.shape[:-2] == lead:
        return value
    shape = (*lead, *value.shape[-2:])
    if edit.is_constant(value):
        return edit.derived("heads", value, shape, lambda array: array.reshape(shape))
    return edit.op("nn.reshape", [value], {"shape": shape}, name)


def lifted(edit: Edit, mask: Mask, lead: Lead, name: str) -> Value | None:
    """A mask of scores with other leading axes; None where it broadcasts along some of them."""
    own = mask.value.shape[:-2]
    if mask.lead == lead or not own:
        return mask.value
    if prod(own) == 1:
        return regrouped(edit, mask.value, (1,) * len(lead), name)
    return regrouped(edit, mask.value, lead, name) if own == mask.lead else None


def _regrouped(edit: Edit, value: Value) -> Value:
    """The value before reshapes that keep its last two axes."""
    while node := edit.maker(value, "nn.reshape"):
        (x,) = node.operands
        if len(x.shape) < 3 or x.shape[-2:] != value.shape[-2:]:
            break
        value = x
    return value


def _softmax(edit: Edit, value: Value) -> tuple[Node | None, bool]:
    """The softmax over the last axis, and whether NaN in it is replaced by 0."""
    node, readers = edit.maker(value, "nn.softmax", "nn.where"), 1
    if node is not None and node.kind == "nn.where":
        if edit.readers(value) != 1:
            return None, False
        value, readers = _unguarded(edit, node)
        node = edit.maker(value, "nn.softmax")
    if node is None or edit.readers(value) != readers:
        return None, False
    last = node.int("axis") in (-1, len(value.shape) - 1)
    return (node if last else None), readers > 1


def _unguarded(edit: Edit, where: Node) -> tuple[Value, int]:
    """What is chosen unless it is NaN, and by how many operands it is read for that."""
    condition, zero, value = where.operands
    test = edit.maker(condition, "nn.is_nan", "nn.not")
    if test is not None and test.kind == "nn.not":
        same = edit.maker(test.operands[0], "nn.equal")
        of = None if same is None or same.operands[0] != same.operands[1] else same.operands[0]
        readers = 3
    else:
        of, readers = (None, 0) if test is None else (test.operands[0], 2)
    guards = of == value and number(edit, zero) == 0.0
    return value, readers if guards else 0


def _masked(edit: Edit, value: Value) -> tuple[Value, Value] | None:
    """The scores, and a mask: added, or of truths where a key is seen."""
    node = edit.maker(value, "nn.add", "nn.where")
    if node is not None and node.kind == "nn.where":
        return _chosen(edit, node)
    for scores, mask in either(node) if node is not None else ():
        if scores.shape == value.shape and _leads(edit, scores):
            return scores, _truths(edit, mask)
    return None


def _leads(edit: Edit, value: Value) -> bool:
    """Whether a product is behind the value, through masks and scales."""
    pending, seen = [value], set[int]()
    while pending:
        inner, _ = unscaled(edit, _regrouped(edit, pending.pop()))
        if inner.index in seen:  # sums of sums lead to one value in many ways
            continue
        seen.add(inner.index)
        node = edit.maker(_regrouped(edit, inner), "nn.matmul", "nn.add", "nn.where")
        if node is not None and node.kind == "nn.matmul":
            return True
        if node is not None:
            pending.extend(node.operands)
    return False


def _chosen(edit: Edit, node: Node) -> tuple[Value, Value] | None:
    condition, a, b = node.operands
    for scores, other, seen in ((a, b, True), (b, a, False)):
        fill = number(edit, other)
        if fill is None or fill > HIDDEN or scores.shape != node.result.shape:
            continue
        if fill == -np.inf and seen:
            return scores, condition
        if fill == -np.inf:
            return scores, _seen(edit, condition)
        # a finite number hides as well where it is added, and leaves an average of all keys to
        # a row that is hidden whole
        return scores, _added(edit, condition, DTYPES[other.dtype].type(fill), seen)
    return None


def _seen(edit: Edit, condition: Value) -> Value:
    if edit.is_constant(condition):
        return edit.derived("seen", condition, condition.shape, np.logical_not)
    return edit.op("nn.not", [condition], name="seen")


def _added(edit: Edit, condition: Value, fill: np.generic, seen: bool) -> Value:
    zero = np.zeros((), fill.dtype)
    chosen = (zero, np.asarray(fill)) if seen else (np.asarray(fill), zero)
    array = edit.constant(condition)
    if array is not None:
        return edit.weight("mask", np.where(array, *chosen))
    operands = [condition, *(edit.weight("fill", each) for each in chosen)]
    return edit.op("nn.where", operands, name="mask")


def _truths(edit: Edit, mask: Value) -> Value:
    """A mask of truths in place of one that adds 0 or minus infinity by it."""
    node = edit.maker(mask, "nn.where")
    if node is not None and node.operands[0].shape == mask.shape:
        fills = [number(edit, value) for value in node.operands[1:]]
        if fills == [0.0, -np.inf]:
            return node.operands[0]
    return mask


def hidden_by(array: Array, queries: int, keys: int) -> int | None:
    """The last key that query 0 sees, if the mask is causal: query i sees i more.

    Args:
        array: truths, or numbers that are added.
        queries: L of the mask [..., L, S] that is one for all heads.
        keys: S.
    """
    if array.size != queries * keys or array.shape[-2:] != (queries, keys):
        return None
    table = array.reshape(queries, keys)
    seen = table if table.dtype == np.bool_ else table == 0
    if table.dtype != np.bool_ and not bool((seen | (table < HIDDEN)).all()):
        return None
    last = int(seen[0].sum()) - 1
    causal = np.arange(keys) <= np.arange(queries)[:, None] + last
    return last if last >= 0 and bool((seen == causal).all()) else None


def unturned(edit: Edit, value: Value, name: str) -> tuple[Value, float]:
    """[..., S, D] of the keys that are given as [..., D, S], and what they were scaled by."""
    value, factor = unscaled(edit, value)
    *lead, width, count = value.shape
    node = edit.maker(value, "nn.transpose", "nn.reshape")
    if node is not None and node.kind == "nn.reshape":
        (x,) = node.operands
        if x.shape[-2:] == (width, count):
            inner, more = unturned(edit, x, name)
            shape = (*lead, count, width)
            return edit.op("nn.reshape", [inner], {"shape": shape}, name), factor * more
    perm = tuple(range(len(value.shape)))
    x = value
    if node is not None and node.kind == "nn.transpose":
        (x,), perm = node.operands, node.ints("perm")
    turned = (*perm[:-2], perm[-1], perm[-2])
    if turned != tuple(range(len(turned))):
        x = edit.op("nn.transpose", [x], {"perm": turned}, name)
    x, more = unscaled(edit, x)
    return x, factor * more


def ungrouped(edit: Edit, value: Value) -> tuple[Value, int]:
    """[..., Hk, S, D] of keys that are repeated to [..., Hk n, S, D], and n, or 1."""
    *lead, heads, count, width = value.shape
    inner = value
    while node := edit.maker(inner, "nn.reshape"):
        (inner,) = node.operands
    expand = edit.maker(inner, "nn.expand")
    if expand is None or len(inner.shape) != len(value.shape) + 1:
        return value, 1
    (x,) = expand.operands
    times = inner.shape[-3]
    groups = heads // max(times, 1)
    fits = inner.shape == (*lead, groups, times, count, width)
    if not fits or x.shape != (*lead, groups, 1, count, width):
        return value, 1
    shape: tuple[int, ...] = (*lead, groups, count, width)
    return edit.op("nn.reshape", [x], {"shape": shape}, "ungrouped"), times
