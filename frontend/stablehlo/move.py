"""StableHLO's constants, and the operations that move values and compute nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tetrapla.frontend.foreign.move import padded, sliced
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


def _dynamic_slice(op: ForeignOp, scope: Scope) -> Operand:
    x, sizes = op.operands[0], op.result.shape
    starts = [int(op.constant(i + 1, "start")) for i in range(len(sizes))]
    starts = [
        min(max(start, 0), whole - size)
        for start, whole, size in zip(starts, x.shape, sizes, strict=True)
    ]
    return sliced(scope, x, starts, sizes, (1,) * len(sizes), op.label)


def _reverse(op: ForeignOp, scope: Scope) -> Operand:
    x, axes = op.operands[0], op.ints("dimensions")
    starts = [size - 1 if axis in axes else 0 for axis, size in enumerate(x.shape)]
    steps = [-1 if axis in axes else 1 for axis in range(len(x.shape))]
    return sliced(scope, x, starts, x.shape, steps, op.label)


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


def _gather(op: ForeignOp, scope: Scope) -> Operand:
    """Slices by their number along one axis, as an embedding reads rows, or several."""
    x, indices = op.operands
    held = op.lists("dimension_numbers")
    collapsed, sizes = held.get("collapsed_slice_dims", ()), op.ints("slice_sizes")
    last = held.get("index_vector_dim", (0,))[0]
    whole = [size for axis, size in enumerate(sizes) if axis not in collapsed]
    others = [size for axis, size in enumerate(x.shape) if axis not in collapsed]
    if (
        not collapsed
        or held.get("start_index_map") != collapsed
        or held.get("operand_batching_dims")
        or whole != others
        or last < len(indices.shape) - 1
    ):
        raise Refusal("only of whole slices by their numbers along the axes that it drops")
    axis, *several = collapsed
    if several:
        return _gather_several(op, scope, collapsed)
    numbers = scope.reshape(indices, indices.shape[:last], op.label)
    index = _inside(scope, numbers, [x.shape[axis]], op.label)
    rows = scope.op("nn.gather", [x, index], {"axis": axis}, op.label)
    return scope.transpose(rows, _places(op, axis, last), f"{op.label}_result")


def _gather_several(op: ForeignOp, scope: Scope, collapsed: tuple[int, ...]) -> Operand:
    x, indices = op.operands
    offsets = op.lists("dimension_numbers").get("offset_dims", ())
    first = len(indices.shape) - 1
    if collapsed != tuple(range(len(collapsed))) or offsets != tuple(
        range(first, len(op.result.shape))
    ):
        raise Refusal("along several axes only along the first ones")
    index = _inside(scope, indices, x.shape[: len(collapsed)], op.label)
    return scope.op("nn.gather_nd", [x, index], {"batch_dims": 0}, op.label)


def _inside(scope: Scope, indices: Operand, sizes: Sequence[int], name: str) -> Operand:
    """Indices as StableHLO reads them: those outside are moved to the nearest end."""
    dtype = indices.dtype if indices.dtype in ("i32", "i64") else "i64"
    index = scope.cast(indices, dtype, name)
    last = np.array(sizes, DTYPES[dtype]) - 1
    ends = last if len(sizes) > 1 else last.reshape(())
    for kind, bound in (("nn.maximum", 0 * ends), ("nn.minimum", ends)):
        end = Constant(np.broadcast_to(bound, index.shape))
        index = scope.elementwise(kind, [index, end], {}, f"{name}_index")
    return index


def _places(op: ForeignOp, axis: int, count: int) -> Sequence[int]:
    """Which axis of nn.gather's result stands where in StableHLO's."""
    offsets = op.lists("dimension_numbers").get("offset_dims", ())
    of_indices = iter(range(axis, axis + count))
    rank = len(op.result.shape)
    of_slices = iter([*range(axis), *range(axis + count, rank)])
    return [next(of_slices if place in offsets else of_indices) for place in range(rank)]


def _barrier(op: ForeignOp, scope: Scope) -> tuple[Operand, ...]:
    return op.operands


OPERATORS: Mapping[str, Translate] = {
    "arith.constant": _constant,
    "stablehlo.broadcast": _broadcast,
    "stablehlo.broadcast_in_dim": _broadcast_in_dim,
    "stablehlo.concatenate": _concatenate,
    "stablehlo.constant": _constant,
    "stablehlo.dynamic_slice": _dynamic_slice,
    "stablehlo.dynamic_broadcast_in_dim": _broadcast_in_dim,  # the result's type has the sizes
    "stablehlo.dynamic_iota": _iota,
    "stablehlo.dynamic_reshape": _reshape,
    "stablehlo.gather": _gather,
    "stablehlo.iota": _iota,
    "stablehlo.optimization_barrier": _barrier,
    "stablehlo.pad": _pad,
    "stablehlo.reshape": _reshape,
    "stablehlo.reverse": _reverse,
    "stablehlo.slice": _slice,
    "stablehlo.transpose": _transpose,
}
