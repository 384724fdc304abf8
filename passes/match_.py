"""What recognisers look for: constants of one number, scaled values, squares, means, roots.

Every function follows a value back to its maker and gives None where the form is another. All
expect that constants are folded (`fold-constants`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tetrapla.ir.graph import DTYPES, Node, Value
from tetrapla.passes.edit_ import Edit

# the element types that the bounds of the recognisers are derived for
REAL = ("f32", "f64")
# assumed: how much the layers behind a rewritten value may enlarge its error, relative to the
# largest output; a layer that amplifies more makes any float32 result as uncertain
BEHIND = 2**5
# assumed: a constant written as float32, or made of a few such, is off by less
SAME_REL = 2.0**-20


class Standardised(NamedTuple):
    """``x / sqrt(power + epsilon)``."""

    x: Value
    power: Value
    epsilon: float


class Mean(NamedTuple):
    """The mean over axes, counted from the front, which stay with size 1."""

    x: Value
    axes: tuple[int, ...]


def close(found: float, wanted: float) -> bool:
    """Whether a constant is the wanted one, up to rounding."""
    return abs(found - wanted) <= SAME_REL * abs(wanted)


def number(edit: Edit, value: Value) -> float | None:
    """The number that every element of a known constant is."""
    array = edit.constant(value)
    if array is None or array.size == 0 or array.dtype.kind not in "fiu":
        return None
    first = array.flat[0]
    # most large weights are told from one number by their last element
    same = bool(array.flat[-1] == first) and bool((array == first).all())
    return float(first) if same else None


def either(node: Node) -> Iterator[tuple[Value, Value]]:
    """The operands of a commutative operator in both orders."""
    a, b = node.operands
    yield a, b
    yield b, a


def with_number(edit: Edit, node: Node) -> tuple[Value, float] | None:
    """The operand and the number of a sum or product that has the operand's shape."""
    for value, other in either(node):
        found = number(edit, other)
        if found is not None and value.shape == node.result.shape:
            return value, found
    return None


def unscaled(edit: Edit, value: Value) -> tuple[Value, float]:
    """A value without the factors before it, and their product: ``value == factor * found``."""
    factor = 1.0
    while node := edit.maker(value, "nn.mul", "nn.div", "nn.neg"):
        if node.kind == "nn.neg":
            value, factor = node.operands[0], -factor
            continue
        if node.kind == "nn.mul":
            found = with_number(edit, node)
        else:
            found = _over_number(edit, node)
        if found is None:
            break
        value, factor = found[0], factor * found[1]
    return value, factor


def square(edit: Edit, value: Value) -> Value | None:
    """What the value is the square of."""
    node = edit.maker(value, "nn.mul", "nn.pow")
    if node is None:
        return None
    base, other = node.operands
    if node.kind == "nn.mul":
        return base if base.index == other.index else None
    same = base.shape == value.shape
    return base if same and number(edit, other) == 2.0 else None


def mean(edit: Edit, value: Value) -> Mean | None:
    """What the value is the mean of; the axes may be dropped and put back."""
    node = edit.maker(value, "nn.reduce_mean", "nn.reshape")
    if node is not None and node.kind == "nn.reshape":
        node = edit.maker(node.operands[0], "nn.reduce_mean")
    if node is None:
        return None
    x = node.operands[0]
    rank = len(x.shape)
    axes = tuple(sorted(axis % rank for axis in node.ints("axes")))
    # of the same order as the mean, so that the shape alone tells
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    return Mean(x, axes) if value.shape == kept else None


def trailing(found: Mean) -> int | None:
    """The first axis, where the mean is over all axes from there on."""
    rank = len(found.x.shape)
    first = rank - len(found.axes)
    whole = bool(found.axes) and found.axes == tuple(range(first, rank))
    return first if whole else None


def factored(edit: Edit, value: Value) -> Iterator[tuple[Value, Value | None]]:
    """The value without a factor, and if it is a product with a constant, both of its parts."""
    yield value, None
    node = edit.maker(value, "nn.mul")
    for inner, factor in () if node is None else either(node):
        if edit.is_constant(factor) and inner.shape == value.shape:
            yield inner, factor


def scale(edit: Edit, x: Value, axis: int, factor: Value | None) -> Value | None:
    """A constant factor as the scale of a normalisation of x from an axis on; ones if None."""
    if factor is not None:
        return _trailing_constant(edit, factor, x.shape, axis)
    name = "norm" if edit.node is None else edit.node.name
    return edit.weight(f"{name}.scale", np.ones(x.shape[axis:], DTYPES[x.dtype]))


def parameter(edit: Edit, norm: Node, other: Value) -> Value | None:
    """A constant as a parameter of a normalisation of the last axes that nothing else reads."""
    if edit.readers(norm.result) != 1:
        return None
    whole = norm.result.shape
    return _trailing_constant(edit, other, whole, norm.int("axis") % len(whole))


def _trailing_constant(
    edit: Edit, other: Value, whole: tuple[int, ...], axis: int
) -> Value | None:
    """A constant that varies along the axes from `axis` on, of just their shape."""
    shape = whole[axis:]
    lead = len(other.shape) - len(shape)
    if not 0 <= lead <= axis or other.shape != (*(1,) * lead, *shape):
        return None
    if not edit.is_constant(other):
        return None
    if not lead:
        return other
    return edit.derived("flat", other, shape, lambda array: array.reshape(shape))


def standardised(edit: Edit, node: Node) -> Standardised | None:
    """``x / sqrt(p + e)``, or x times the reciprocal of that root, or of its power."""
    if node.kind == "nn.div":
        x, under = node.operands
        return _standardised(edit, node, x, _root(edit, under))
    if node.kind == "nn.mul":
        for x, under in either(node):
            found = _standardised(edit, node, x, _inverse_root(edit, under))
            if found is not None:
                return found
    return None


def _standardised(edit: Edit, node: Node, x: Value, sum_: Value | None) -> Standardised | None:
    add = None if sum_ is None else edit.maker(sum_, "nn.add")
    found = None if add is None else with_number(edit, add)
    if found is None or x.shape != node.result.shape or found[1] < 0:
        return None
    return Standardised(x, *found)


def _root(edit: Edit, value: Value) -> Value | None:
    """What the value is the square root of."""
    node = edit.maker(value, "nn.sqrt", "nn.pow")
    if node is None:
        return None
    if node.kind == "nn.sqrt":
        return node.operands[0]
    return _power(edit, node, 0.5)


def _inverse_root(edit: Edit, value: Value) -> Value | None:
    node = edit.maker(value, "nn.reciprocal", "nn.div", "nn.pow", "nn.sqrt")
    if node is None:
        return None
    if node.kind == "nn.pow":
        return _power(edit, node, -0.5)
    if node.kind == "nn.sqrt":
        inner = edit.maker(node.operands[0], "nn.reciprocal", "nn.div")
        return None if inner is None else _inverted(edit, inner)
    under = _inverted(edit, node)
    return None if under is None else _root(edit, under)


def _inverted(edit: Edit, node: Node) -> Value | None:
    """What ``1 / x`` of this node is taken of."""
    if node.kind == "nn.reciprocal":
        return node.operands[0]
    one, x = node.operands
    return x if number(edit, one) == 1.0 and x.shape == node.result.shape else None


def _power(edit: Edit, node: Node, exponent: float) -> Value | None:
    base, other = node.operands
    same = base.shape == node.result.shape
    return base if same and number(edit, other) == exponent else None


def _over_number(edit: Edit, node: Node) -> tuple[Value, float] | None:
    value, other = node.operands
    found = number(edit, other)
    if not found or value.shape != node.result.shape:
        return None
    return value, float(np.float64(1) / found)
