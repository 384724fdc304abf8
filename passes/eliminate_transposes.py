"""Transposes sink towards the outputs, where two meet and become one or none.

    before   a = nn.transpose(x) {perm = (0, 2, 3, 1)}      after   y = nn.relu(nn.add(x, @b'))
             b = nn.add(a, @b)                                      (b' = b, transposed)
             c = nn.relu(b)
             y = nn.transpose(c) {perm = (0, 3, 1, 2)}

A transpose sinks through element-wise operators (both operands transposed alike, or one and a
constant, which is transposed instead), concatenations, slices, pads and reductions that do not
round. One that moves only axes of size 1 becomes a reshape. What is read more than once stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tetrapla.ir.graph import Attribute, Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.elementwise_ import binary, unary
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rules_ import transposes

# a reduction whose result does not depend on the order of the elements
ORDERLESS = ("nn.reduce_max", "nn.reduce_min")
# attributes with one number per axis
PER_AXIS = ("starts", "sizes", "steps")


@dataclass(frozen=True)
class EliminateTransposes(Pass):
    """Elements are computed as before and stand elsewhere in between: bit exact."""

    def __call__(self, module: Module) -> Module:
        return rewrite(module, transposes, _reshaped, _one, _two, _joined, _cut, _reduced)


def _reshaped(edit: Edit, node: Node) -> Value | None:
    """A transpose that keeps the order of the axes of more than one element."""
    if node.kind != "nn.transpose":
        return None
    (x,) = node.operands
    wide = [axis for axis in node.ints("perm") if x.shape[axis] != 1]
    if wide != sorted(wide):
        return None
    return edit.op("nn.reshape", [x], {"shape": node.result.shape})


def _one(edit: Edit, node: Node) -> Value | None:
    if not unary(node.kind):
        return None
    found = _turned(edit, node.operands[0])
    return found and _sunk(edit, node, [found[0]], found[1], node.attributes)


def _two(edit: Edit, node: Node) -> Value | None:
    if not binary(node.kind):
        return None
    found = [_turned(edit, value) for value in node.operands]
    perms = [each[1] for each in found if each is not None]
    if not perms or perms[-1] != perms[0] or len(perms[0]) != len(node.result.shape):
        return None
    operands: list[Value] = []
    for value, each in zip(node.operands, found, strict=True):
        held = each[0] if each is not None else _constant(edit, value, perms[0])
        if held is None:
            return None
        operands.append(held)
    return _sunk(edit, node, operands, perms[0], node.attributes)


def _joined(edit: Edit, node: Node) -> Value | None:
    if node.kind != "nn.concat":
        return None
    found = [_turned(edit, value) for value in node.operands]
    both = [each for each in found if each is not None]
    if len(both) < 2 or both[0][1] != both[1][1]:
        return None
    perm = both[0][1]
    axis = perm[node.int("axis") % len(perm)]
    return _sunk(edit, node, [x for x, _ in both], perm, {"axis": axis})


def _cut(edit: Edit, node: Node) -> Value | None:
    found = _turned(edit, node.operands[0]) if node.kind == "nn.slice" else None
    if found is None:
        return None
    x, perm = found
    back = np.argsort(perm)
    attributes: dict[str, Attribute] = {
        key: tuple(node.ints(key)[axis] for axis in back) for key in PER_AXIS
    }
    return _sunk(edit, node, [x], perm, attributes)


def _reduced(edit: Edit, node: Node) -> Value | None:
    found = _turned(edit, node.operands[0]) if node.kind in ORDERLESS else None
    if found is None:
        return None
    x, perm = found
    axes = tuple(perm[axis % len(perm)] for axis in node.ints("axes"))
    if node.int("keepdims"):
        return _sunk(edit, node, [x], perm, {"axes": axes, "keepdims": 1})
    kept = [axis for axis in perm if axis not in axes]
    rest = tuple(sorted(kept).index(axis) for axis in kept)
    return _sunk(edit, node, [x], rest, {"axes": axes, "keepdims": 0})


def _turned(edit: Edit, value: Value) -> tuple[Value, tuple[int, ...]] | None:
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


def _sunk(
    edit: Edit,
    node: Node,
    operands: Sequence[Value],
    perm: tuple[int, ...],
    attributes: Mapping[str, Attribute],
) -> Value:
    """The operator on untransposed operands, then the transpose."""
    made = edit.op(node.kind, operands, attributes)
    return edit.op("nn.transpose", [made], {"perm": perm}, f"{node.name}.turned")
