"""StableHLO's operations that find their values by numbers: slices, gathers and updates.

Where a start or an index leads outside, StableHLO takes the nearest one that does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tetrapla.frontend.foreign.move import sliced
from tetrapla.frontend.foreign.operation import ForeignOp
from tetrapla.frontend.foreign.scope import Constant, Operand, Refusal, Scope
from tetrapla.frontend.foreign.walk import Translate
from tetrapla.ir.graph import DTYPES


def _dynamic_slice(op: ForeignOp, scope: Scope) -> Operand:
    """The axes of known starts as a slice, the others one by one as a gather."""
    x, sizes = op.operands[0], op.result.shape
    starts = op.operands[1:]
    known = [0] * len(sizes)
    taken = [*x.shape]
    for axis, start in enumerate(starts):
        if isinstance(start, Constant) or sizes[axis] == x.shape[axis]:
            first = int(start.array[()]) if isinstance(start, Constant) else 0
            known[axis] = min(max(first, 0), x.shape[axis] - sizes[axis])
            taken[axis] = sizes[axis]
    y = sliced(scope, x, known, taken, (1,) * len(sizes), op.label)
    for axis, size in enumerate(sizes):
        if taken[axis] != size:
            last = x.shape[axis] - size
            start = _inside(scope, starts[axis], [last + 1], op.label)
            line = Constant(np.arange(size, dtype=DTYPES[start.dtype]))
            one = scope.reshape(start, (1,), op.label)
            index = (
                one if size == 1 else scope.op("nn.add", [one, line], {}, f"{op.label}_index")
            )
            y = scope.op("nn.gather", [y, index], {"axis": axis}, op.label)
    return y


def _dynamic_update_slice(op: ForeignOp, scope: Scope) -> Operand:
    """Updates behind the last axis that they do not fill go as whole slices."""
    x, updates, *starts = op.operands
    room = [whole - size for whole, size in zip(x.shape, updates.shape, strict=True)]
    if not any(room):
        return updates
    if 0 in updates.shape:
        return x
    named = max(axis for axis, left in enumerate(room) if left) + 1
    found = [_start(scope, start, op.label) for start in starts[:named]]
    first = found[0]
    for other in found[1:]:
        first = scope.op("nn.concat", [first, other], {"axis": 0}, f"{op.label}_starts")
    first = _inside(scope, first, [left + 1 for left in room[:named]], op.label)
    sizes = updates.shape[:named]
    grid = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), -1)
    grid = np.ascontiguousarray(grid, DTYPES[first.dtype])
    index = scope.op("nn.add", [first, Constant(grid)], {}, f"{op.label}_index")
    return scope.op("nn.scatter_nd", [x, index, updates], {"reduction": "none"}, op.label)


def _start(scope: Scope, start: Operand, name: str) -> Operand:
    return scope.cast(scope.reshape(start, (1,), name), "i64", name)


def _gather_together(
    op: ForeignOp, scope: Scope, held: Mapping[str, tuple[int, ...]]
) -> Operand:
    """Elements by number behind the first axes, which are gone through together."""
    x, indices = op.operands
    batch = held["operand_batching_dims"]
    collapsed, last = held.get("collapsed_slice_dims", ()), len(indices.shape) - 1
    count = len(batch)
    named = tuple(range(count, count + len(collapsed)))
    if (
        batch != tuple(range(count))
        or held.get("start_indices_batching_dims") != batch
        or not collapsed
        or collapsed != named
        or held.get("start_index_map") != named
        or held.get("index_vector_dim", (0,))[0] != last
        or op.ints("slice_sizes")
        != ((1,) * (count + len(named)) + x.shape[count + len(named) :])
        or held.get("offset_dims", ()) != tuple(range(last, len(op.result.shape)))
    ):
        raise Refusal("with batches only along the axes right behind them")
    index = _inside(scope, indices, [x.shape[axis] for axis in named], op.label)
    return scope.op("nn.gather_nd", [x, index], {"batch_dims": count}, op.label)


def _gather(op: ForeignOp, scope: Scope) -> Operand:
    """Slices by their number along one axis, as an embedding reads rows, or several."""
    x, indices = op.operands
    held = op.lists("dimension_numbers")
    if held.get("operand_batching_dims"):
        return _gather_together(op, scope, held)
    collapsed, sizes = held.get("collapsed_slice_dims", ()), op.ints("slice_sizes")
    last = held.get("index_vector_dim", (0,))[0]
    whole = [size for axis, size in enumerate(sizes) if axis not in collapsed]
    others = [size for axis, size in enumerate(x.shape) if axis not in collapsed]
    if (
        not collapsed
        or held.get("start_index_map") != collapsed
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


OPERATORS: Mapping[str, Translate] = {
    "stablehlo.dynamic_slice": _dynamic_slice,
    "stablehlo.dynamic_update_slice": _dynamic_update_slice,
    "stablehlo.gather": _gather,
}
