"""Products, convolutions and pools as TOSA."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from tetrapla.frontend.foreign.writer import Held, Unwritten, Write, Writer, ints
from tetrapla.frontend.tosa.export_move import (
    constant,
    cut,
    moved,
    padded,
    repeated,
    reshaped,
    zero,
)
from tetrapla.frontend.tosa.export_values import relu, same
from tetrapla.frontend.tosa.linear import FROM_IMAGE, TO_IMAGE
from tetrapla.ir.graph import Node, Value
from tetrapla.ir.op import Tensor


def _matmul(node: Node, writer: Writer) -> Held:
    """One product per batch; rank 3 there."""
    a, b, *bias = writer.operands(node)
    batch, (m, n) = node.result.shape[:-2], node.result.shape[-2:]
    count, k = prod(batch), a.shape[-1]
    if len(b.shape) == 2:  # the rows of all batches at once
        count, m = 1, m * count
        a = reshaped(writer, a, (1, m, k))
        b = reshaped(writer, b, (1, k, n))
    else:
        a = reshaped(writer, repeated(writer, a, (*batch, m, k)), (count, m, k))
        b = reshaped(writer, repeated(writer, b, (*batch, k, n)), (count, k, n))
    integer = node.kind == "qnn.matmul"
    points = [node.int(key) if integer else 0 for key in ("x_zero_point", "w_zero_point")]
    _check_types(node)
    operands = [a, b, zero(writer, a.dtype, points[0]), zero(writer, b.dtype, points[1])]
    made = Tensor((count, m, n), node.result.dtype)
    y = reshaped(writer, writer.op("tosa.matmul", operands, made), node.result.shape)
    return _epilogue(node, writer, same(writer, "add", y, bias[0]) if bias else y)


def _check_types(node: Node) -> None:
    """TOSA multiplies floats, and i8 into i32."""
    types = {value.dtype for value in node.operands[:2]}
    if node.kind.startswith("qnn.") and types != {"i8"}:
        raise Unwritten("only of i8")
    if node.kind.startswith("nn.") and not types <= {"f16", "bf16", "f32"}:
        raise Unwritten("only of f16, bf16 and f32")


def _epilogue(node: Node, writer: Writer, y: Held) -> Held:
    activation = node.attributes.get("activation", "none")
    if activation not in ("none", "relu"):
        raise Unwritten("only with no activation or a ReLU")
    return relu(writer, y) if activation == "relu" else y


def _conv2d(node: Node, writer: Writer) -> Held:
    """Each channel by itself, or all together; TOSA has no other groups."""
    first, w, *_ = node.operands
    x = writer.operand(first)
    groups, integer = node.int("groups"), node.kind == "qnn.conv2d"
    _check_types(node)
    if groups != 1 and w.shape[1] != 1:
        raise Unwritten("only with one group, or one per channel")
    kernel, strides, dilations = w.shape[2:], node.ints("strides"), node.ints("dilations")
    x = moved(writer, x, FROM_IMAGE)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    x, pads = _divisible(writer, x, extent, strides, node.ints("pads"))
    points = [node.int(key) if integer else 0 for key in ("x_zero_point", "w_zero_point")]
    kind = "tosa.conv2d" if groups == 1 else "tosa.depthwise_conv2d"
    operands = [
        x,
        _filters(writer, w, groups),
        _bias(node, writer),
        zero(writer, x.dtype, points[0]),
        zero(writer, w.dtype, points[1]),
    ]
    n, channels, height, width = node.result.shape
    attributes = {
        "pad": ints(pads),
        "stride": ints(strides),
        "dilation": ints(dilations),
        "acc_type": "i32" if integer else "f32",
    }
    made = Tensor((n, height, width, channels), node.result.dtype)
    y = writer.op(kind, operands, made, attributes)
    return moved(writer, _epilogue(node, writer, y), TO_IMAGE)


def _conv_transpose(node: Node, writer: Writer) -> Held:
    """What the pads cut off is negative padding of the result there."""
    first, w, *_ = node.operands
    if node.int("groups") != 1 or node.ints("dilations") != (1, 1):
        raise Unwritten("only with one group and no gaps in the filter")
    x = moved(writer, writer.operand(first), FROM_IMAGE)
    filters = moved(writer, writer.operand(w), (1, 2, 3, 0))
    top, left, bottom, right = node.ints("pads")
    more = node.ints("output_padding")
    bias = node.operands[2:]
    added = writer.operand(bias[0]) if bias else writer.splat(0, Tensor(w.shape[1:2], x.dtype))
    operands = [x, filters, added, zero(writer, x.dtype), zero(writer, x.dtype)]
    attributes = {
        "out_pad": ints((-top, more[0] - bottom, -left, more[1] - right)),
        "stride": ints(node.ints("strides")),
        "acc_type": "f32",
    }
    n, channels, height, width = node.result.shape
    made = Tensor((n, height, width, channels), x.dtype)
    y = writer.op("tosa.transpose_conv2d", operands, made, attributes)
    return moved(writer, y, TO_IMAGE)


def _filters(writer: Writer, w: Value, groups: int) -> Held:
    """[O,I,kh,kw] as [O,kh,kw,I], or one channel's filters together as [kh,kw,C,M]."""
    filters, _, height, width = w.shape
    split = (groups, filters // groups, height, width)
    order = (2, 3, 0, 1)
    if w.index in writer.graph.weights:
        array = writer.graph.weight(w)
        if groups == 1:
            return constant(writer, np.ascontiguousarray(array.transpose(FROM_IMAGE)))
        return constant(writer, np.ascontiguousarray(array.reshape(split).transpose(order)))
    held = writer.operand(w)
    if groups == 1:
        return moved(writer, held, FROM_IMAGE)
    return moved(writer, reshaped(writer, held, split), order)


def _bias(node: Node, writer: Writer) -> Held:
    _, w, *bias = node.operands
    if bias:
        return writer.operand(bias[0])
    return writer.splat(0, Tensor((w.shape[0],), node.result.dtype))


def _divisible(
    writer: Writer, x: Held, extent: Sequence[int], strides: Sequence[int], pads: Sequence[int]
) -> tuple[Held, tuple[int, ...]]:
    """The image and its pads (top, bottom, left, right) such that the last window ends them.

    TOSA wants the windows to use every row; those behind the last window are left out.
    """
    ends = [pads[2], pads[3]]
    sizes = [*x.shape]
    for axis in (0, 1):
        padded_size = sizes[axis + 1] + pads[axis] + ends[axis]
        spare = (padded_size - extent[axis]) % strides[axis]
        from_pad = min(spare, ends[axis])
        ends[axis] -= from_pad
        sizes[axis + 1] -= spare - from_pad
    x = cut(writer, x, (0,) * 4, sizes)
    return x, (pads[0], ends[0], pads[1], ends[1])


def _max_pool(node: Node, writer: Writer) -> Held:
    if node.ints("dilations") != (1, 1):
        raise Unwritten("only without gaps in the window")
    x = moved(writer, writer.operand(node.operands[0]), FROM_IMAGE)
    return _pooled(node, writer, "tosa.max_pool2d", x, node.ints("pads"))


def _average_pool(node: Node, writer: Writer) -> Held:
    x = moved(writer, writer.operand(node.operands[0]), FROM_IMAGE)
    top, left, bottom, right = pads = node.ints("pads")
    if node.int("count_include_pad"):  # the padding becomes part of the image
        x = padded(writer, x, (0, 0, top, bottom, left, right, 0, 0), 0.0)
        pads = (0, 0, 0, 0)
    return _pooled(node, writer, "tosa.avg_pool2d", x, pads)


def _pooled(node: Node, writer: Writer, kind: str, x: Held, pads: Sequence[int]) -> Held:
    kernel, strides = node.ints("kernel"), node.ints("strides")
    x, pads = _divisible(writer, x, kernel, strides, pads)
    return _windowed(node, writer, kind, x, kernel, strides, pads)


def _windowed(
    node: Node,
    writer: Writer,
    kind: str,
    x: Held,
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
) -> Held:
    attributes = {"kernel": ints(kernel), "stride": ints(strides), "pad": ints(pads)}
    operands = [x]
    if kind == "tosa.avg_pool2d":
        attributes["acc_type"] = "f32"
        operands += [zero(writer, x.dtype), zero(writer, x.dtype)]
    else:
        attributes["nan_mode"] = "#tosa.nan_mode<PROPAGATE>"
    n, channels, height, width = node.result.shape
    y = writer.op(kind, operands, Tensor((n, height, width, channels), x.dtype), attributes)
    return moved(writer, y, TO_IMAGE)


def _global_average_pool(node: Node, writer: Writer) -> Held:
    x = moved(writer, writer.operand(node.operands[0]), FROM_IMAGE)
    kernel = x.shape[1:3]
    return _windowed(node, writer, "tosa.avg_pool2d", x, kernel, (1, 1), (0, 0, 0, 0))


WRITERS: dict[str, Write] = {
    "nn.average_pool2d": _average_pool,
    "nn.conv2d": _conv2d,
    "nn.conv_transpose2d": _conv_transpose,
    "nn.global_average_pool": _global_average_pool,
    "nn.matmul": _matmul,
    "nn.max_pool2d": _max_pool,
    "qnn.conv2d": _conv2d,
    "qnn.matmul": _matmul,
}
