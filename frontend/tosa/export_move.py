"""Constants, shapes, and operators that move values as TOSA."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from tetrapla.frontend.foreign.writer import Held, Unwritten, Write, Writer, dense_text, ints
from tetrapla.ir.graph import DTYPES, Array, Node
from tetrapla.ir.op import Tensor


def constant(writer: Writer, array: Array) -> Held:
    """A constant of TOSA."""
    dtype = next(name for name, held in DTYPES.items() if held == array.dtype)
    type_ = Tensor(array.shape, dtype)
    return writer.op("tosa.const", [], type_, {"values": dense_text(array, type_)})


def shape(writer: Writer, numbers: Sequence[int]) -> Held:
    """A shape operand."""
    count = len(numbers)
    listed = f"[{', '.join(map(str, numbers))}]" if count else ""
    attributes = {"values": f"dense<{listed}> : tensor<{count}xindex>"}
    return writer.op("tosa.const_shape", [], Tensor((count,), "shape"), attributes)


def zero(writer: Writer, dtype: str, number: int = 0) -> Held:
    """A zero point, or a shift."""
    return writer.splat(number, Tensor((1,), dtype))


def reshaped(writer: Writer, x: Held, sizes: Sequence[int]) -> Held:
    """The same values under another shape."""
    if x.shape == tuple(sizes):
        return x
    return writer.op("tosa.reshape", [x, shape(writer, sizes)], Tensor(tuple(sizes), x.dtype))


def leveled(writer: Writer, x: Held, rank: int) -> Held:
    """The value with leading axes of size 1: operands of TOSA have one rank."""
    return reshaped(writer, x, (*(1,) * (rank - len(x.shape)), *x.shape))


def moved(writer: Writer, x: Held, perm: Sequence[int]) -> Held:
    """Axes in another order."""
    type_ = Tensor(tuple(x.shape[axis] for axis in perm), x.dtype)
    return writer.op("tosa.transpose", [x], type_, {"perms": ints(perm, 32)})


def repeated(writer: Writer, x: Held, sizes: tuple[int, ...]) -> Held:
    """The value repeated to a shape by NumPy's rule."""
    x = leveled(writer, x, len(sizes))
    if x.shape == sizes:
        return x
    times = [1 if own == size else size for own, size in zip(x.shape, sizes, strict=True)]
    return writer.op("tosa.tile", [x, shape(writer, times)], Tensor(sizes, x.dtype))


def cut(writer: Writer, x: Held, starts: Sequence[int], sizes: Sequence[int]) -> Held:
    """A box of the value."""
    if x.shape == tuple(sizes):
        return x
    operands = [x, shape(writer, starts), shape(writer, sizes)]
    return writer.op("tosa.slice", operands, Tensor(tuple(sizes), x.dtype))


def _reshape(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    return reshaped(writer, x, node.ints("shape"))


def _transpose(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    return moved(writer, x, node.ints("perm"))


def _expand(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    return repeated(writer, x, node.ints("shape"))


def _concat(node: Node, writer: Writer) -> Held:
    a, b = writer.operands(node)
    axis = {"axis": f"{node.int('axis') % len(a.shape)} : i32"}
    return writer.op("tosa.concat", [a, b], Tensor(node.result.shape, a.dtype), axis)


def _slice(node: Node, writer: Writer) -> Held:
    """Steps of 1, or of -1 over the reversed axis."""
    (x,) = writer.operands(node)
    starts, sizes, steps = [*node.ints("starts")], node.ints("sizes"), node.ints("steps")
    for axis, step in enumerate(steps):
        if abs(step) != 1 and sizes[axis] > 1:
            raise Unwritten("only with steps of 1 or -1")
        if step < 0:
            x = writer.op("tosa.reverse", [x], x.type, {"axis": f"{axis} : i32"})
            starts[axis] = x.shape[axis] - 1 - starts[axis]
    return cut(writer, x, starts, sizes)


def _pad(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    rank, pads = len(x.shape), node.ints("pads")
    if node.str("mode") != "constant":
        raise Unwritten("only with one number")
    low, high = pads[:rank], pads[rank:]
    starts = [max(0, -count) for count in low]
    ends = [size + min(0, count) for size, count in zip(x.shape, high, strict=True)]
    x = cut(writer, x, starts, [end - start for start, end in zip(starts, ends, strict=True)])
    counts = [max(0, count) for pair in zip(low, high, strict=True) for count in pair]
    return padded(writer, x, counts, node.float("value"))


def padded(writer: Writer, x: Held, counts: Sequence[int], value: float) -> Held:
    """One number around the value: `counts` holds begin and end of each axis in turn."""
    sizes = [size + sum(counts[2 * axis : 2 * axis + 2]) for axis, size in enumerate(x.shape)]
    if x.shape == tuple(sizes):
        return x
    fill = writer.splat(value, Tensor((1,), x.dtype))
    operands = [x, shape(writer, counts), fill]
    return writer.op("tosa.pad", operands, Tensor(tuple(sizes), x.dtype))


def _gather(node: Node, writer: Writer) -> Held:
    """Rows of the axis, brought to the front; an index below zero counts from the end."""
    x, indices = writer.operands(node)
    axis, rank = node.int("axis") % len(x.shape), len(x.shape)
    if axis:
        x = moved(writer, x, (axis, *(i for i in range(rank) if i != axis)))
    index = _from_front(writer, indices, x.shape[:1])
    made = _rows(writer, x, index, (*indices.shape, *x.shape[1:]))
    if not axis:
        return made
    lead = len(indices.shape)  # the axes of the indices go where the axis was
    before, behind = range(lead, lead + axis), range(lead + axis, len(made.shape))
    return moved(writer, made, (*before, *range(lead), *behind))


def _gather_nd(node: Node, writer: Writer) -> Held:
    """Rows by the place that the numbers of the first axes give together."""
    if node.int("batch_dims"):
        raise Unwritten("only without axes gone through together")
    x, indices = writer.operands(node)
    sizes = x.shape[: indices.shape[-1]]
    steps = np.array([prod(sizes[i + 1 :]) for i in range(len(sizes))], np.int32)
    index = _from_front(writer, indices, sizes)
    column = leveled(writer, writer.constant(steps), len(indices.shape))
    places = writer.op("tosa.mul", [index, column, zero(writer, "i8")], index.type)
    last = {"axis": f"{len(index.shape) - 1} : i32"}
    total = Tensor((*index.shape[:-1], 1), "i32")
    place = writer.op("tosa.reduce_sum", [places], total, last)
    rows = reshaped(writer, x, (prod(sizes), *x.shape[len(sizes) :]))
    return _rows(writer, rows, place, node.result.shape)


def _from_front(writer: Writer, indices: Held, sizes: Sequence[int]) -> Held:
    """Indices as i32, those below zero counted from the end; one size for each of a tuple."""
    flat, truths = Tensor(indices.shape, "i32"), Tensor(indices.shape, "i1")
    if indices.dtype != "i32":
        indices = writer.op("tosa.cast", [indices], flat)
    each = np.array(sizes if len(sizes) > 1 else sizes[0], np.int32)
    size = writer.constant(np.broadcast_to(each, indices.shape))
    below = writer.op("tosa.greater", [writer.splat(0, flat), indices], truths)
    wrapped = writer.op("tosa.add", [indices, size], flat)
    return writer.op("tosa.select", [below, wrapped, indices], flat)


def _rows(writer: Writer, x: Held, places: Held, sizes: Sequence[int]) -> Held:
    """The rows of the first axis that `places` name, under another shape."""
    count, width = prod(places.shape), prod(x.shape[1:])
    rows = reshaped(writer, x, (1, x.shape[0], width))
    named = reshaped(writer, places, (1, count))
    taken = writer.op("tosa.gather", [rows, named], Tensor((1, count, width), x.dtype))
    return reshaped(writer, taken, sizes)


WRITERS: dict[str, Write] = {
    "nn.concat": _concat,
    "nn.expand": _expand,
    "nn.gather": _gather,
    "nn.gather_nd": _gather_nd,
    "nn.pad": _pad,
    "nn.reshape": _reshape,
    "nn.slice": _slice,
    "nn.transpose": _transpose,
}
