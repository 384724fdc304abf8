"""Rules that move a transpose behind the operator that reads it.

Each gives None unless nothing else reads the transpose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tetrapla.ir.graph import Attribute, Node, Value
from tetrapla.passes.edit_ import Edit, Rule
from tetrapla.passes.elementwise_ import binary, unary

# attributes with one number per axis
PER_AXIS = ("starts", "sizes", "steps")


def one(edit: Edit, node: Node) -> Value | None:
    """A function of each element."""
    if not unary(node.kind):
        return None
    found = turned(edit, node.operands[0])
    return found and sunk(edit, node, [found[0]], found[1], node.attributes)


def two(edit: Edit, node: Node) -> Value | None:
    """A function of two elements: both transposed alike, or one and a constant."""
    if not binary(node.kind):
        return None
    found = [turned(edit, value) for value in node.operands]
    perms = [each[1] for each in found if each is not None]
    if not perms or perms[-1] != perms[0] or len(perms[0]) != len(node.result.shape):
        return None
    operands: list[Value] = []
    for value, each in zip(node.operands, found, strict=True):
        held = each[0] if each is not None else _constant(edit, value, perms[0])
        if held is None:
            return None
        operands.append(held)
    return sunk(edit, node, operands, perms[0], node.attributes)


def joined(edit: Edit, node: Node) -> Value | None:
    """A concatenation of values that are transposed alike."""
    if node.kind != "nn.concat":
        return None
    found = [turned(edit, value) for value in node.operands]
    both = [each for each in found if each is not None]
    if len(both) < 2 or both[0][1] != both[1][1]:
        return None
    perm = both[0][1]
    axis = perm[node.int("axis") % len(perm)]
    return sunk(edit, node, [x for x, _ in both], perm, {"axis": axis})


def cut(edit: Edit, node: Node) -> Value | None:
    """A slice."""
    found = turned(edit, node.operands[0]) if node.kind == "nn.slice" else None
    if found is None:
        return None
    x, perm = found
    back = np.argsort(perm)
    attributes: dict[str, Attribute] = {
        key: tuple(node.ints(key)[axis] for axis in back) for key in PER_AXIS
    }
    return sunk(edit, node, [x], perm, attributes)


def reduced(edit: Edit, node: Node) -> Value | None:
    """A reduction over axes, whichever it is."""
    if "axes" not in node.attributes or len(node.operands) != 1:
        return None
    found = turned(edit, node.operands[0])
    if found is None:
        return None
    x, perm = found
    axes = tuple(perm[axis % len(perm)] for axis in node.ints("axes"))
    if node.int("keepdims"):
        return sunk(edit, node, [x], perm, {"axes": axes, "keepdims": 1})
    kept = [axis for axis in perm if axis not in axes]
    rest = tuple(sorted(kept).index(axis) for axis in kept)
    return sunk(edit, node, [x], rest, {"axes": axes, "keepdims": 0})


def turned(edit: Edit, value: Value) -> tuple[Value, tuple[int, ...]] | None:
    """What the value is the transpose of, if nothing else reads the transpose."""
    node = edit.maker(value, "nn.transpose")
    if node is None or edit.readers(value) > 1:
        return None
    return node.operands[0], node.ints("perm")


def _constant(edit: Edit, value: Value, perm: tuple[int, ...]) -> Value | None:
    """A constant as it must be for the transpose to come after."""
    if value.elements == 1 and len(value.shape) <= len(perm):
        return value
    if not edit.is_constant(value) or len(value.shape) > len(perm):
        return None
    back = np.argsort(perm)
    full = (*(1,) * (len(perm) - len(value.shape)), *value.shape)
    shape = tuple(full[axis] for axis in back)
    return edit.derived("turned", value, shape, lambda a: a.reshape(full).transpose(back))


def sunk(
    edit: Edit,
    node: Node,
    operands: Sequence[Value],
    perm: tuple[int, ...],
    attributes: Mapping[str, Attribute],
) -> Value:
    """The operator on untransposed operands, then the transpose."""
    made = edit.op(node.kind, operands, attributes)
    return edit.op("nn.transpose", [made], {"perm": perm}, f"{node.name}.turned")


# what does not round, or rounds each element alone
EXACT: tuple[Rule, ...] = (one, two, joined, cut)
