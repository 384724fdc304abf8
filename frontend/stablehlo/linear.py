"""StableHLO's products and convolutions: axes are brought into `nn`'s order and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from tetrapla.frontend.foreign.move import sliced
from tetrapla.frontend.foreign.operation import ForeignOp
from tetrapla.frontend.foreign.scope import Operand, Refusal, Scope, Settled
from tetrapla.frontend.foreign.walk import Translate
from tetrapla.ir.graph import Attribute


def _dot_general(op: ForeignOp, scope: Scope) -> Operand:
    held = op.lists("dot_dimension_numbers")
    left_batch = held.get("lhs_batching_dimensions", ())
    right_batch = held.get("rhs_batching_dimensions", ())
    left_sum = held.get("lhs_contracting_dimensions", ())
    right_sum = held.get("rhs_contracting_dimensions", ())
    return _product(op, scope, (left_batch, left_sum), (right_batch, right_sum))


def _dot(op: ForeignOp, scope: Scope) -> Operand:
    last = len(op.operands[0].shape) - 1
    return _product(op, scope, ((), (last,)), ((), (0,)))


def _product(
    op: ForeignOp,
    scope: Scope,
    left: tuple[Sequence[int], Sequence[int]],
    right: tuple[Sequence[int], Sequence[int]],
) -> Operand:
    """``[batch, free, summed] @ [batch, summed, free]``, each kind of axis as one."""
    a, b = op.operands
    (left_batch, left_sum), (right_batch, right_sum) = left, right
    left_free = _others(len(a.shape), (*left_batch, *left_sum))
    right_free = _others(len(b.shape), (*right_batch, *right_sum))
    batch = [a.shape[axis] for axis in left_batch]
    rows = [a.shape[axis] for axis in left_free]
    columns = [b.shape[axis] for axis in right_free]
    summed = prod(a.shape[axis] for axis in left_sum)
    lead = rows if not batch else [prod(rows)]  # without a batch the rows keep their axes
    a = scope.transpose(a, (*left_batch, *left_free, *left_sum), f"{op.label}_a")
    a = scope.reshape(a, (*batch, *(lead or [1]), summed), f"{op.label}_a")
    b = scope.transpose(b, (*right_batch, *right_sum, *right_free), f"{op.label}_b")
    b = scope.reshape(b, (*batch, summed, prod(columns)), f"{op.label}_b")
    return scope.reshape(
        _multiplied(op, scope, a, b), (*batch, *rows, *columns), f"{op.label}_result"
    )


def _multiplied(op: ForeignOp, scope: Scope, a: Operand, b: Operand) -> Operand:
    dtype = op.result.dtype
    if dtype == "i32" and {a.dtype, b.dtype} <= {"i8", "ui8"}:
        points: dict[str, Attribute] = {"x_zero_point": 0, "w_zero_point": 0}
        return scope.op("qnn.matmul", [a, b], points, op.label)
    a = scope.cast(a, dtype, f"{op.label}_a")
    b = scope.cast(b, dtype, f"{op.label}_b")
    return scope.op("nn.matmul", [a, b], {"activation": "none"}, op.label)


def _convolution(op: ForeignOp, scope: Scope) -> Operand:
    numbers = re.fullmatch(
        r"#stablehlo\.conv<\[(.*)\]x\[(.*)\]->\[(.*)\]>", op.text("dimension_numbers")
    )
    assert numbers is not None, "the verifier has seen the attribute"
    x_order, w_order, y_order = (part.split(", ") for part in numbers.groups())
    places = len(x_order) - 2
    attributes = _window(op, places)
    spread = op.ints("lhs_dilation", (1,) * places)
    x = scope.transpose(op.operands[0], _order(x_order, "bf"), f"{op.label}_x")
    w = scope.transpose(op.operands[1], _order(w_order, "oi"), f"{op.label}_weight")
    if len(x_order) == 3:  # one axis of places: the image has one row
        x = scope.reshape(x, (*x.shape[:2], 1, x.shape[2]), f"{op.label}_x")
        w = scope.reshape(w, (*w.shape[:2], 1, w.shape[2]), f"{op.label}_weight")
    if set(spread) == {1}:
        y = _convolved(op, scope, x, w, attributes)
    else:
        y = _transposed(op, scope, x, w, attributes, (*(1,) * (2 - places), *spread))
    if len(x_order) == 3:
        y = scope.reshape(y, (*y.shape[:2], y.shape[3]), f"{op.label}_result")
    return scope.transpose(y, np.argsort(_order(y_order, "bf")).tolist(), f"{op.label}_result")


def _convolved(
    op: ForeignOp, scope: Scope, x: Operand, w: Operand, attributes: dict[str, Attribute]
) -> Settled:
    dtype = op.result.dtype
    if dtype == "i32" and {x.dtype, w.dtype} <= {"i8", "ui8"}:
        points = {"x_zero_point": 0, "w_zero_point": 0}
        return scope.op("qnn.conv2d", [x, w], {**attributes, **points}, op.label)
    x = scope.cast(x, dtype, f"{op.label}_x")
    w = scope.cast(w, dtype, f"{op.label}_weight")
    return scope.op("nn.conv2d", [x, w], {**attributes, "activation": "none"}, op.label)


def _transposed(
    op: ForeignOp,
    scope: Scope,
    x: Operand,
    w: Operand,
    attributes: dict[str, Attribute],
    strides: tuple[int, ...],
) -> Settled:
    """A convolution of an input with gaps: a transposed one with the mirrored filters."""
    pads, dilations, groups = (attributes[key] for key in ("pads", "dilations", "groups"))
    assert isinstance(pads, tuple)
    assert isinstance(dilations, tuple)
    assert isinstance(groups, int)
    if attributes["strides"] != (1, 1):
        raise Refusal("only with an input that is dilated or a window that moves on, not both")
    reach = [
        d * (k - 1) for d, k in zip(dilations * 2, (*w.shape[2:], *w.shape[2:]), strict=True)
    ]
    cut = [whole - pad for whole, pad in zip(reach, pads, strict=True)]
    if min(cut[:2]) < 0:
        raise Refusal("with a dilated input only with less padding than filter")
    filters, each, *kernel = w.shape
    label = f"{op.label}_weight"
    starts = (0, 0, *(size - 1 for size in kernel))
    w = sliced(scope, w, starts, w.shape, (1, 1, -1, -1), f"{label}_mirrored")
    w = scope.reshape(w, (groups, filters // groups, each, *kernel), label)
    w = scope.transpose(w, (0, 2, 1, 3, 4), label)
    w = scope.reshape(w, (groups * each, filters // groups, *kernel), label)
    held: dict[str, Attribute] = {
        "strides": strides,
        "pads": tuple(max(0, size) for size in cut),
        "dilations": dilations,
        "output_padding": tuple(max(0, -size) for size in cut[2:]),
        "groups": groups,
    }
    return scope.op("nn.conv_transpose2d", [x, w], held, op.label)


def _window(op: ForeignOp, places: int) -> dict[str, Attribute]:
    """The attributes of nn.conv2d, with a row put before the only axis of places."""
    if places not in (1, 2):
        raise Refusal("only over one or two axes of places")
    ones = (1,) * places
    if any(op.ints("window_reversal")):
        raise Refusal("only without reversed filters")
    if op.integer("batch_group_count", 1) != 1:
        raise Refusal("only with one group of the batch")
    pads = op.ints("padding", (0,) * 2 * places)
    if min(pads) < 0:
        raise Refusal("only without negative padding")
    row = () if places == 2 else (1,)
    none = () if places == 2 else (0,)
    return {
        "strides": (*row, *op.ints("window_strides", ones)),
        "pads": (*none, *pads[0::2], *none, *pads[1::2]),
        "dilations": (*row, *op.ints("rhs_dilation", ones)),
        "groups": op.integer("feature_group_count", 1),
    }


def _batch_norm(op: ForeignOp, scope: Scope) -> Operand:
    x, scale, bias, mean, variance = op.operands
    feature, rank = op.integer("feature_index"), len(x.shape)
    perm = [0, feature, *_others(rank, (0, feature))] if feature != 0 else None
    if perm is None:
        raise Refusal("only with a batch before the features")
    x = scope.transpose(x, perm, f"{op.label}_x")
    operands = [x, scale, bias, mean, variance]
    epsilon: dict[str, Attribute] = {"epsilon": op.number("epsilon")}
    y = scope.op("nn.batch_norm", operands, epsilon, op.label)
    return scope.transpose(y, np.argsort(perm).tolist(), f"{op.label}_result")


def _others(rank: int, axes: Sequence[int]) -> list[int]:
    return [axis for axis in range(rank) if axis not in axes]


def _order(names: Sequence[str], first: str) -> list[int]:
    """Where the two named axes stand, and behind them the places in order."""
    places = [str(place) for place in range(len(names) - 2)]
    return [names.index(name) for name in (*first, *places)]


OPERATORS: Mapping[str, Translate] = {
    "stablehlo.batch_norm_inference": _batch_norm,
    "stablehlo.convolution": _convolution,
    "stablehlo.dot": _dot,
    "stablehlo.dot_general": _dot_general,
}
