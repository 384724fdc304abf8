"""StableHLO's constants, and the operations that move values and compute nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tetrapla.frontend.foreign.move import padded, reversed_axes, sliced
from tetrapla.frontend.foreign.operation import ForeignOp, dense
from tetrapla.frontend.foreign.scope import (
    MAX_FOLDED,
    Constant,
    Operand,
    Refusal,
    Scope,
    Spread,
)
from tetrapla.frontend.foreign.walk import Translate
from tetrapla.ir.graph import DTYPES, Attribute


def _constant(op: ForeignOp, scope: Scope) -> Operand:
    return Constant(dense(op.attribute("value"), op.result))


def _iota(op: ForeignOp, scope: Scope) -> Operand:
    axis, shape = op.integer("iota_dimension"), op.result.shape
    if shape[axis] > MAX_FOLDED:
        raise Refusal(f"only up to {MAX_FOLDED} numbers")
    line = np.arange(shape[axis]).astype(DTYPES[op.result.dtype])
    column = line.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return Constant(np.broadcast_to(column, shape))


def _broadcast_in_dim(op: ForeignOp, scope: Scope) -> Operand:
    """Each axis of the operand goes to a place of the result; the others repeat it."""
    dims, shape = op.ints("broadcast_dimensions"), op.result.shape
    x = scope.settled(op.operands[0])
    if list(dims) != sorted(dims):
        x = scope.transpose(x, np.argsort(dims).tolist(), op.label)
        dims = tuple(sorted(dims))
    if isinstance(x, Constant):
        index = tuple(slice(None) if axis in dims else None for axis in range(len(shape)))
        return Constant(np.broadcast_to(x.array[index], shape))
    narrow = x.value if isinstance(x, Spread) else x
    own = dict(zip(dims, _aligned(narrow.shape, len(x.shape)), strict=True))
    sizes = tuple(own.get(axis, 1) for axis in range(len(shape)))
    if _aligned(narrow.shape, len(shape)) == sizes:
        return scope.spread(narrow, shape)
    first = next((axis for axis, size in enumerate(sizes) if size != 1), len(sizes))
    return scope.spread(scope.reshape(narrow, sizes[first:], op.label), shape)


def _aligned(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The shape with leading ones."""
    return (*(1,) * (rank - len(shape)), *shape)


def _broadcast(op: ForeignOp, scope: Scope) -> Operand:
    return scope.spread(scope.narrow(op.operands[0]), op.result.shape)


def _reshape(op: ForeignOp, scope: Scope) -> Operand:
    return scope.reshape(op.operands[0], op.result.shape, op.label)


def _transpose(op: ForeignOp, scope: Scope) -> Operand:
    return scope.transpose(op.operands[0], op.ints("permutation"), op.label)


def _slice(op: ForeignOp, scope: Scope) -> Operand:
    starts, steps = op.ints("start_indices"), op.ints("strides")
    return sliced(scope, op.operands[0], starts, op.result.shape, steps, op.label)


def _reverse(op: ForeignOp, scope: Scope) -> Operand:
    return reversed_axes(scope, op.operands[0], op.ints("dimensions"), op.label)


def _concatenate(op: ForeignOp, scope: Scope) -> Operand:
    axis: dict[str, Attribute] = {"axis": op.integer("dimension")}
    joined = op.operands[0]
    for operand in op.operands[1:]:
        joined = scope.op("nn.concat", [joined, operand], axis, op.label)
    return joined


def _pad(op: ForeignOp, scope: Scope) -> Operand:
    if any(op.ints("interior_padding")):
        raise Refusal("only around the values, not between them")
    low, high = op.ints("edge_padding_low"), op.ints("edge_padding_high")
    x, fill = op.operands
    return padded(scope, x, fill, low, high, op.label)


def _barrier(op: ForeignOp, scope: Scope) -> tuple[Operand, ...]:
    return op.operands


OPERATORS: Mapping[str, Translate] = {
    "arith.constant": _constant,
    "stablehlo.broadcast": _broadcast,
    "stablehlo.broadcast_in_dim": _broadcast_in_dim,
    "stablehlo.concatenate": _concatenate,
    "stablehlo.constant": _constant,
    "stablehlo.dynamic_broadcast_in_dim": _broadcast_in_dim,  # the result's type has the sizes
    "stablehlo.dynamic_iota": _iota,
    "stablehlo.dynamic_reshape": _reshape,
    "stablehlo.iota": _iota,
    "stablehlo.optimization_barrier": _barrier,
    "stablehlo.pad": _pad,
    "stablehlo.reshape": _reshape,
    "stablehlo.reverse": _reverse,
    "stablehlo.slice": _slice,
    "stablehlo.transpose": _transpose,
}
