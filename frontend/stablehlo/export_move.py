"""Operators that move values as StableHLO."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tetrapla.frontend.foreign.writer import Held, Unwritten, Write, Writer, ints
from tetrapla.ir.graph import DTYPES, Node
from tetrapla.ir.op import Tensor


def repeated(writer: Writer, x: Held, shape: tuple[int, ...]) -> Held:
    """The value repeated to a shape by NumPy's rule."""
    if x.shape == shape:
        return x
    first = len(shape) - len(x.shape)
    dims = ints(range(first, len(shape)))
    type_ = Tensor(shape, x.dtype)
    return writer.op("stablehlo.broadcast_in_dim", [x], type_, {"broadcast_dimensions": dims})


def reshaped(writer: Writer, x: Held, shape: Sequence[int]) -> Held:
    """The same values under another shape."""
    if x.shape == tuple(shape):
        return x
    return writer.op("stablehlo.reshape", [x], Tensor(tuple(shape), x.dtype))


def _reshape(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    return reshaped(writer, x, node.ints("shape"))


def _transpose(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    type_ = Tensor(node.result.shape, x.dtype)
    perm = {"permutation": ints(node.ints("perm"))}
    return writer.op("stablehlo.transpose", [x], type_, perm)


def _expand(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    return repeated(writer, x, node.ints("shape"))


def _concat(node: Node, writer: Writer) -> Held:
    a, b = writer.operands(node)
    axis = node.int("axis") % len(a.shape)
    type_ = Tensor(node.result.shape, a.dtype)
    return writer.op("stablehlo.concatenate", [a, b], type_, {"dimension": f"{axis} : i64"})


def _slice(node: Node, writer: Writer) -> Held:
    """A negative step walks over the reversed axis."""
    (x,) = writer.operands(node)
    starts, sizes, steps = [*node.ints("starts")], node.ints("sizes"), node.ints("steps")
    back = [axis for axis, step in enumerate(steps) if step < 0]
    if back:
        x = writer.op("stablehlo.reverse", [x], x.type, {"dimensions": ints(back)})
        for axis in back:
            starts[axis] = x.shape[axis] - 1 - starts[axis]
    strides = [abs(step) for step in steps]
    ends = [
        start + (size - 1) * stride + 1 if size else start
        for start, size, stride in zip(starts, sizes, strides, strict=True)
    ]
    attributes = {
        "start_indices": ints(starts),
        "limit_indices": ints(ends),
        "strides": ints(strides),
    }
    return writer.op("stablehlo.slice", [x], Tensor(tuple(sizes), x.dtype), attributes)


def _pad(node: Node, writer: Writer) -> Held:
    if node.str("mode") != "constant":
        raise Unwritten("only with one number")
    (x,) = writer.operands(node)
    rank, pads = len(x.shape), node.ints("pads")
    fill = writer.splat(node.float("value"), Tensor((), x.dtype))
    attributes = {
        "edge_padding_low": ints(pads[:rank]),
        "edge_padding_high": ints(pads[rank:]),
        "interior_padding": ints((0,) * rank),
    }
    return writer.op("stablehlo.pad", [x, fill], Tensor(node.result.shape, x.dtype), attributes)


def _from_front(writer: Writer, indices: Held, sizes: Sequence[int]) -> Held:
    """Indices with those below zero counted from the end; one size for each of a tuple."""
    zero = writer.splat(0, indices.type)
    direction = {"comparison_direction": "#stablehlo<comparison_direction LT>"}
    truths = Tensor(indices.shape, "i1")
    negative = writer.op("stablehlo.compare", [indices, zero], truths, direction)
    size = writer.constant(np.array(sizes, DTYPES[indices.dtype]))
    whole = repeated(writer, size, indices.shape)
    wrapped = writer.op("stablehlo.add", [indices, whole], indices.type)
    return writer.op("stablehlo.select", [negative, wrapped, indices], indices.type)


def _gather(node: Node, writer: Writer) -> Held:
    """Slices along one axis; an index below zero counts from its end."""
    x, indices = writer.operands(node)
    axis, count = node.int("axis") % len(x.shape), len(indices.shape)
    single = reshaped(writer, indices, (*indices.shape, 1))
    index = _from_front(writer, single, [x.shape[axis]])
    offsets = [i for i in range(len(node.result.shape)) if not axis <= i < axis + count]
    return _gathered(node, writer, x, index, [axis], offsets)


def _gather_nd(node: Node, writer: Writer) -> Held:
    """Slices behind the first axes, whose numbers stand together."""
    if node.int("batch_dims"):
        raise Unwritten("only without axes gone through together")
    x, indices = writer.operands(node)
    named, count = indices.shape[-1], len(indices.shape) - 1
    index = _from_front(writer, indices, x.shape[:named])
    offsets = [*range(count, len(node.result.shape))]
    return _gathered(node, writer, x, index, [*range(named)], offsets)


def _gathered(
    node: Node,
    writer: Writer,
    x: Held,
    index: Held,
    axes: Sequence[int],
    offsets: Sequence[int],
) -> Held:
    sizes = [1 if i in axes else size for i, size in enumerate(x.shape)]
    numbers = (
        f"#stablehlo.gather<offset_dims = {[*offsets]}, collapsed_slice_dims = {[*axes]}, "
        f"start_index_map = {[*axes]}, index_vector_dim = {len(index.shape) - 1}>"
    )
    attributes = {"dimension_numbers": numbers, "slice_sizes": ints(sizes)}
    made = Tensor(node.result.shape, x.dtype)
    return writer.op("stablehlo.gather", [x, index], made, attributes)


def _cast(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    return writer.op("stablehlo.convert", [x], Tensor(x.shape, node.str("dtype")))


WRITERS: dict[str, Write] = {
    "nn.cast": _cast,
    "nn.concat": _concat,
    "nn.expand": _expand,
    "nn.gather": _gather,
    "nn.gather_nd": _gather_nd,
    "nn.pad": _pad,
    "nn.reshape": _reshape,
    "nn.slice": _slice,
    "nn.transpose": _transpose,
}
