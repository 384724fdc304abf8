"""Operators that move values as StableHLO."""

from __future__ import annotations

from collections.abc import Sequence

from tetrapla.frontend.foreign.writer import Held, Unwritten, Write, Writer, ints
from tetrapla.ir.graph import Node
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


def _gather(node: Node, writer: Writer) -> Held:
    """Slices along one axis; an index below zero counts from its end."""
    x, indices = writer.operands(node)
    axis = node.int("axis") % len(x.shape)
    zero = writer.splat(0, indices.type)
    direction = {"comparison_direction": "#stablehlo<comparison_direction LT>"}
    truths = Tensor(indices.shape, "i1")
    negative = writer.op("stablehlo.compare", [indices, zero], truths, direction)
    size = writer.splat(x.shape[axis], indices.type)
    wrapped = writer.op("stablehlo.add", [indices, size], indices.type)
    index = writer.op("stablehlo.select", [negative, wrapped, indices], indices.type)
    index = reshaped(writer, index, (*indices.shape, 1))
    rank, count = len(node.result.shape), len(indices.shape)
    offsets = [i for i in range(rank) if not axis <= i < axis + count]
    sizes = [1 if i == axis else size for i, size in enumerate(x.shape)]
    numbers = (
        f"#stablehlo.gather<offset_dims = {offsets}, collapsed_slice_dims = [{axis}], "
        f"start_index_map = [{axis}], index_vector_dim = {count}>"
    )
    attributes = {"dimension_numbers": numbers, "slice_sizes": ints(sizes)}
    return writer.op(
        "stablehlo.gather", [x, index], Tensor(node.result.shape, x.dtype), attributes
    )


def _cast(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    return writer.op("stablehlo.convert", [x], Tensor(x.shape, node.str("dtype")))


WRITERS: dict[str, Write] = {
    "nn.cast": _cast,
    "nn.concat": _concat,
    "nn.expand": _expand,
    "nn.gather": _gather,
    "nn.pad": _pad,
    "nn.reshape": _reshape,
    "nn.slice": _slice,
    "nn.transpose": _transpose,
}
