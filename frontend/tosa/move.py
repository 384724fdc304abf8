"""TOSA's constants, and the operators that move values."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from tetrapla.frontend.foreign.move import padded, sliced
from tetrapla.frontend.foreign.operation import ForeignOp, dense
from tetrapla.frontend.foreign.scope import Constant, Operand, Refusal, Scope
from tetrapla.frontend.foreign.walk import Translate
from tetrapla.ir.graph import DTYPES, Array


def _const(op: ForeignOp, scope: Scope) -> Operand:
    key = "value" if op.kind == "arith.constant" else "values"
    return Constant(dense(op.attribute(key), op.result))


def _const_shape(op: ForeignOp, scope: Scope) -> Operand:
    return Constant(np.array(op.ints("values"), np.int64).reshape(op.result.shape))


def _numbers(op: ForeignOp, index: int, what: str) -> tuple[int, ...]:
    """A shape operand."""
    return tuple(int(number) for number in op.constant(index, what).reshape(-1))


def _identity(op: ForeignOp, scope: Scope) -> Operand:
    return op.operands[0]


def _reshape(op: ForeignOp, scope: Scope) -> Operand:
    return scope.reshape(op.operands[0], op.result.shape, op.label)


def _transpose(op: ForeignOp, scope: Scope) -> Operand:
    return scope.transpose(op.operands[0], op.ints("perms"), op.label)


def _reverse(op: ForeignOp, scope: Scope) -> Operand:
    x, axis = op.operands[0], op.integer("axis")
    starts = [size - 1 if i == axis else 0 for i, size in enumerate(x.shape)]
    steps = [-1 if i == axis else 1 for i in range(len(x.shape))]
    return sliced(scope, x, starts, x.shape, steps, op.label)


def _concat(op: ForeignOp, scope: Scope) -> Operand:
    joined = op.operands[0]
    for operand in op.operands[1:]:
        joined = scope.op(
            "nn.concat", [joined, operand], {"axis": op.integer("axis")}, op.label
        )
    return joined


def _slice(op: ForeignOp, scope: Scope) -> Operand:
    starts = _numbers(op, 1, "start")
    steps = (1,) * len(starts)
    return sliced(scope, op.operands[0], starts, op.result.shape, steps, op.label)


def _pad(op: ForeignOp, scope: Scope) -> Operand:
    counts = _numbers(op, 1, "padding")
    x, _, fill = op.operands
    return padded(scope, x, fill, counts[0::2], counts[1::2], op.label)


def _tile(op: ForeignOp, scope: Scope) -> Operand:
    """Each axis gets one before it that repeats it."""
    x, times = op.operands[0], _numbers(op, 1, "count")
    if prod(times) == 1:
        return x
    if all(size == 1 or count == 1 for size, count in zip(x.shape, times, strict=True)):
        return scope.spread(scope.narrow(x), op.result.shape)
    apart = [size for each in x.shape for size in (1, each)]
    whole = [size for pair in zip(times, x.shape, strict=True) for size in pair]
    spaced = scope.reshape(x, apart, op.label)
    repeated = scope.op("nn.expand", [spaced], {"shape": tuple(whole)}, op.label)
    return scope.reshape(repeated, op.result.shape, f"{op.label}_result")


def _gather(op: ForeignOp, scope: Scope) -> Operand:
    """``y[n, w, c] = x[n, indices[n, w], c]``."""
    x, indices = op.operands
    if x.shape[0] == 1:
        rows = scope.reshape(x, x.shape[1:], f"{op.label}_x")
        places = scope.reshape(indices, indices.shape[1:], f"{op.label}_index")
        y = scope.op("nn.gather", [rows, places], {"axis": 0}, op.label)
        return scope.reshape(y, op.result.shape, f"{op.label}_result")
    places = scope.reshape(indices, (*indices.shape, 1), f"{op.label}_index")
    return scope.op("nn.gather_nd", [x, places], {"batch_dims": 1}, op.label)


def _table(op: ForeignOp, scope: Scope) -> Operand:
    x, table = op.operands
    if x.dtype != "i8" or table.shape != (256,):
        raise Refusal("only of 256 entries for i8")
    return scope.op("qnn.lookup", [x, table], {}, op.label)


def _resize(op: ForeignOp, scope: Scope) -> Operand:
    """Rows, then columns: the nearest ones, or two of them weighted."""
    x = op.operands[0]
    scale, offset = _numbers(op, 1, "scale"), _numbers(op, 2, "offset")
    linear = op.word("mode") == "BILINEAR"
    if linear and x.dtype[0] not in "fb":
        raise Refusal("bilinear only of floats")
    for axis in (1, 2):
        ratio = scale[2 * axis - 2 : 2 * axis]
        size, count = op.operands[0].shape[axis], op.result.shape[axis]
        first, part = _places(count, ratio, offset[axis - 1])
        if not linear:
            chosen = first + (2 * part >= ratio[0])
            x = _taken(scope, x, chosen, size, axis, op.label)
            continue
        share = (part / ratio[0]).astype(DTYPES[x.dtype])
        column = share.reshape([-1 if i == axis else 1 for i in range(4)])
        lower = _taken(scope, x, first, size, axis, f"{op.label}_lower")
        upper = _taken(scope, x, first + 1, size, axis, f"{op.label}_upper")
        x = _weighted(scope, lower, upper, column, op.label)
    return x


def _places(count: int, ratio: tuple[int, ...], offset: int) -> tuple[Array, Array]:
    """Where each result lies: a number of the input, and how many n-ths behind it."""
    numerator, denominator = ratio
    place = np.arange(count) * denominator + offset
    first = place // numerator
    return first, place - first * numerator


def _taken(scope: Scope, x: Operand, places: Array, size: int, axis: int, name: str) -> Operand:
    inside = Constant(np.clip(places, 0, size - 1).astype(np.int64))
    return scope.op("nn.gather", [x, inside], {"axis": axis}, name)


def _weighted(scope: Scope, lower: Operand, upper: Operand, share: Array, name: str) -> Operand:
    rest = Constant(np.broadcast_to((1 - share).astype(share.dtype), lower.shape))
    part = Constant(np.broadcast_to(share, lower.shape))
    below = scope.elementwise("nn.mul", [lower, rest], {}, f"{name}_below")
    above = scope.elementwise("nn.mul", [upper, part], {}, f"{name}_above")
    return scope.elementwise("nn.add", [below, above], {}, name)


OPERATORS: Mapping[str, Translate] = {
    "arith.constant": _const,  # torch-mlir leaves some
    "tosa.concat": _concat,
    "tosa.const": _const,
    "tosa.const_shape": _const_shape,
    "tosa.gather": _gather,
    "tosa.identity": _identity,
    "tosa.pad": _pad,
    "tosa.reshape": _reshape,
    "tosa.resize": _resize,
    "tosa.reverse": _reverse,
    "tosa.slice": _slice,
    "tosa.table": _table,
    "tosa.tile": _tile,
    "tosa.transpose": _transpose,
}
