"""Products with constant matrices that are not plain ones, in the form that arrays take.

    before   y = qnn.matmul(x, @w)           after   c = nn.transpose(x)   [.., k, m]
                 x [.., s, m, k]                     a = qnn.conv2d(c, @w.filters)
                 w [s, k, n]                             {groups = s}
                                                     y = nn.transpose(a)

    before   y = qnn.matmul(@w, x)           after   t = nn.transpose(x)
                 w [m, k]                            a = qnn.matmul(t, @w.turned)
                 x [.., k, n]                        y = nn.transpose(a)

A stack of matrices is a convolution in groups; a constant on the left is one on the right of
what is turned. Both keep every bit: they are integer products of the same numbers.
"""

from __future__ import annotations

from math import prod

import numpy as np

from tetrapla.ir.graph import Array, Attribute, Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.edit_ import Edit, rewrite


def on_arrays(module: Module) -> Module:
    """The module with its stacks and left constants in the form of right constants."""
    return rewrite(module, _stacked, _turned)


def _stacked(edit: Edit, node: Node) -> Value | None:
    """A product with a stack of constant matrices as a convolution in groups."""
    if node.kind != "qnn.matmul" or not _on_the_right(edit, node):
        return None
    if len(node.operands[1].shape) == 2:
        return None
    *lead, m, n = node.result.shape
    x, k = _expanded(edit, node, tuple(lead)), node.operands[0].shape[-1]
    held = (1,) * len(lead) + node.operands[1].shape[:-2]
    held = held[len(held) - len(lead) :]
    # what one matrix is for comes first: the images of the convolution
    order = sorted(range(len(lead)), key=lambda axis: held[axis] > 1)
    stack, outer = prod(held), prod(lead) // prod(held)
    before, after = f"{node.name}.operand", f"{node.name}.result"
    image = _reordered(edit, x, (*order, len(lead) + 1, len(lead)), before)
    image = edit.op("nn.reshape", [image], {"shape": (outer, stack * k, m, 1)}, before)
    window: dict[str, Attribute] = {"strides": (1, 1), "pads": (0, 0, 0, 0)}
    window |= {"dilations": (1, 1), "groups": stack}
    points = {key: node.int(key) for key in ("x_zero_point", "w_zero_point")}
    operands = [image, *_parameters(edit, node, stack)]
    made = edit.op("qnn.conv2d", operands, {**window, **points}, node.name)
    shape = (*(lead[i] for i in order), n, m)
    split = edit.op("nn.reshape", [made], {"shape": shape}, after)
    back = sorted(range(len(lead)), key=order.__getitem__)
    return _reordered(edit, split, (*back, len(lead) + 1, len(lead)), after)


def _parameters(edit: Edit, node: Node, stack: int) -> list[Value]:
    """Filters and bias of the convolution."""
    w, *biases = node.operands[1:]
    k, n = w.shape[-2:]
    filters = edit.derived("filters", w, (stack * n, k, 1, 1), _filters)
    return [
        filters,
        *(edit.derived("each", b, (stack * n,), lambda b: np.tile(b, stack)) for b in biases),
    ]


def _expanded(edit: Edit, node: Node, lead: tuple[int, ...]) -> Value:
    """The activations with all leading axes of the result."""
    x = node.operands[0]
    shape = (*lead, *x.shape[-2:])
    if x.shape == shape:
        return x
    return edit.op("nn.expand", [x], {"shape": shape}, f"{node.name}.repeated")


def _reordered(edit: Edit, x: Value, perm: tuple[int, ...], name: str) -> Value:
    return edit.op("nn.transpose", [x], {"perm": perm}, name)


def _turned(edit: Edit, node: Node) -> Value | None:
    """A product with a constant matrix on its left as one with it on the right."""
    if node.kind != "qnn.matmul" or node.operands[2:]:
        return None
    w, x = node.operands[:2]
    if not edit.is_constant(w) or edit.is_constant(x) or len(w.shape) != 2:
        return None
    turned = _swapped(edit, x, f"{node.name}.operand")
    right = edit.derived("turned", w, w.shape[::-1], lambda array: array.T)
    points = {
        "x_zero_point": node.int("w_zero_point"),
        "w_zero_point": node.int("x_zero_point"),
    }
    made = edit.op("qnn.matmul", [turned, right], points, node.name)
    return _swapped(edit, made, f"{node.name}.result")


def _swapped(edit: Edit, x: Value, name: str) -> Value:
    rank = len(x.shape)
    return _reordered(edit, x, (*range(rank - 2), rank - 1, rank - 2), name)


def _on_the_right(edit: Edit, node: Node) -> bool:
    x, *parameters = node.operands
    return not edit.is_constant(x) and all(map(edit.is_constant, parameters))


def _filters(w: Array) -> Array:
    """Matrices [..., k, n] as filters [stack n, k, 1, 1]."""
    k, n = w.shape[-2:]
    each: Array = w.reshape(-1, k, n).transpose(0, 2, 1)
    return each.reshape(-1, k, 1, 1)
