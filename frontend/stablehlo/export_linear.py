"""Products, convolutions and pools as StableHLO."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np

from tetrapla.frontend.foreign.writer import Held, Unwritten, Write, Writer, ints
from tetrapla.frontend.stablehlo.export_move import repeated, reshaped
from tetrapla.frontend.stablehlo.export_values import (
    combining,
    kept,
    mean,
    number,
    relu,
    same,
)
from tetrapla.ir.graph import DTYPES, Node
from tetrapla.ir.nn.pool import window_counts
from tetrapla.ir.op import Tensor

_IMAGE = "#stablehlo.conv<[b, f, 0, 1]x[o, i, 0, 1]->[b, f, 0, 1]>"


def _matmul(node: Node, writer: Writer) -> Held:
    a, b, *bias = writer.operands(node)
    product = _product(writer, a, b, node.result.shape)
    return _epilogue(node, writer, product, bias)


def _product(writer: Writer, a: Held, b: Held, shape: tuple[int, ...]) -> Held:
    """``a @ b``; where b is a matrix its batch is none, else both get the whole batch."""
    batch = 0
    if len(b.shape) > 2:
        lead = shape[:-2]
        a = repeated(writer, a, (*lead, *a.shape[-2:]))
        b = repeated(writer, b, (*lead, *b.shape[-2:]))
        batch = len(lead)
    places = list(range(batch))
    numbers = (
        f"#stablehlo.dot<lhs_batching_dimensions = {places}, "
        f"rhs_batching_dimensions = {places}, "
        f"lhs_contracting_dimensions = [{len(a.shape) - 1}], "
        f"rhs_contracting_dimensions = [{batch}]>"
    )
    attributes = {"dot_dimension_numbers": numbers}
    return writer.op("stablehlo.dot_general", [a, b], Tensor(shape, a.dtype), attributes)


def _conv2d(node: Node, writer: Writer) -> Held:
    x, w, *bias = writer.operands(node)
    pads = node.ints("pads")
    attributes = {
        "window_strides": ints(node.ints("strides")),
        "padding": f"dense<{_pairs(pads)}> : tensor<2x2xi64>",
        "rhs_dilation": ints(node.ints("dilations")),
        "dimension_numbers": _IMAGE,
        "feature_group_count": f"{node.int('groups')} : i64",
        "batch_group_count": "1 : i64",
    }
    type_ = Tensor(node.result.shape, x.dtype)
    y = writer.op("stablehlo.convolution", [x, w], type_, attributes)
    column = [reshaped(writer, each, (*each.shape, 1, 1)) for each in bias]
    return _epilogue(node, writer, y, column)


def _epilogue(node: Node, writer: Writer, y: Held, bias: Sequence[Held]) -> Held:
    if node.str("activation") not in ("none", "relu"):
        raise Unwritten("only with no activation or a ReLU")
    for each in bias:
        y = same(writer, "add", y, each)
    return relu(writer, y) if node.str("activation") == "relu" else y


def _pairs(pads: Sequence[int]) -> str:
    """Begin and end of each of two axes."""
    return f"[[{pads[0]}, {pads[2]}], [{pads[1]}, {pads[3]}]]"


def _windowed(
    node: Node, writer: Writer, name: str, start: float, dilations: Sequence[int]
) -> Held:
    (x,) = writer.operands(node)
    dtype = DTYPES[x.dtype]
    if abs(start) == inf and dtype.kind in "iu":
        start = np.iinfo(dtype).min
    padding = f"[[0, 0], [0, 0], {_pairs(node.ints('pads'))[1:-1]}]"
    attributes = {
        "window_dimensions": ints((1, 1, *node.ints("kernel"))),
        "window_strides": ints((1, 1, *node.ints("strides"))),
        "window_dilations": ints((1, 1, *dilations)),
        "padding": f"dense<{padding}> : tensor<4x2xi64>",
    }
    return writer.op(
        "stablehlo.reduce_window",
        [x, number(writer, start, x)],
        Tensor(node.result.shape, x.dtype),
        attributes,
        combining(name, x.dtype),
    )


def _max_pool(node: Node, writer: Writer) -> Held:
    return _windowed(node, writer, "maximum", -inf, node.ints("dilations"))


def _average_pool(node: Node, writer: Writer) -> Held:
    total = _windowed(node, writer, "add", 0.0, (1, 1))
    kernel, strides, pads = (node.ints(key) for key in ("kernel", "strides", "pads"))
    size = node.operands[0].shape[2:]
    counts = window_counts(size, kernel, strides, pads, node.int("count_include_pad"))
    dtype = DTYPES[node.result.dtype]
    return same(writer, "divide", total, writer.constant(counts.astype(dtype)))


def _global_average_pool(node: Node, writer: Writer) -> Held:
    (x,) = writer.operands(node)
    return kept(writer, mean(writer, x, [2, 3]), [2, 3], x)


WRITERS: dict[str, Write] = {
    "nn.average_pool2d": _average_pool,
    "nn.conv2d": _conv2d,
    "nn.global_average_pool": _global_average_pool,
    "nn.matmul": _matmul,
    "nn.max_pool2d": _max_pool,
}
