"""Integer operators as ONNX: what ONNX Runtime executes with the same bits.

A convolution or product that is requantised at once becomes one QLinear operator. Its stored
scale s stands as ``x_scale = 1, w_scale = s, y_scale = 1``: ONNX Runtime multiplies by
``f32(f32(1 * s) / 1)``, which is s. A product with a bias is written as a 1x1 convolution,
because QLinearMatMul has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np

from tetrapla.frontend.onnx.export_integer import check_bytes, parameters
from tetrapla.frontend.onnx.export_linear import window
from tetrapla.frontend.onnx.table import RUNTIME
from tetrapla.frontend.onnx.writer import TYPES, Writer
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import DTYPES, Array, Node
from tetrapla.ir.quant.dialect import RANGES


def fused_requantizations(writer: Writer) -> frozenset[str]:
    """The names of the requantisations that a QLinear operator includes."""
    found: set[str] = set()
    for node in writer.graph.nodes:
        follower = requantization(node, writer)
        if follower is not None:
            found.add(follower.name)
    return frozenset(found)


def requantization(node: Node, writer: Writer) -> Node | None:
    """The requantisation that alone reads an integer product, on its channel axis."""
    if node.kind not in ("qnn.conv2d", "qnn.matmul"):
        return None
    follower = writer.only_use(node)
    if follower is None or follower.kind != "qnn.requantize":
        return None
    if not writer.graph.is_weight(follower.operands[1]):
        return None
    if follower.operands[1].elements > 1:
        rank = len(node.result.shape)
        channel = 1 if node.kind == "qnn.conv2d" else rank - 1
        if follower.int("axis") % rank != channel:
            return None
    # a matrix product by anything but one constant matrix takes the long form
    if node.kind == "qnn.matmul" and (
        len(node.operands[1].shape) != 2 or not writer.graph.is_weight(node.operands[1])
    ):
        return None
    return follower


def _quantize(node: Node, writer: Writer) -> None:
    _linear("QuantizeLinear", node, writer, node.str("dtype"))


def _dequantize(node: Node, writer: Writer) -> None:
    dtype = node.operands[0].dtype
    if dtype == "i32" and node.int("zero_point"):
        raise UnsupportedError(
            f"ONNX dequantises int32 with the zero point 0, not {node.int('zero_point')} "
            f"(node '{node.name}')"
        )
    _linear("DequantizeLinear", node, writer, dtype)


def _linear(op: str, node: Node, writer: Writer, dtype: str) -> None:
    x, scale = node.operands
    if not writer.graph.is_weight(scale):
        raise UnsupportedError(f"ONNX needs a constant scale (node '{node.name}')")
    values = writer.graph.weight(scale)
    shape = () if values.size == 1 else values.shape
    symbol = writer.graph.constants[scale.index]
    points = np.full(shape, node.int("zero_point"), DTYPES[dtype])
    names = [
        writer.name(x),
        writer.constant(values.reshape(shape), symbol),
        writer.constant(points, f"{node.name}_zero_point"),
    ]
    writer.add(op, names, writer.result(node), {"axis": node.int("axis")} if shape else {})


def _conv2d(node: Node, writer: Writer) -> None:
    check_bytes(node, node.operands[0].dtype, node.operands[1].dtype)
    follower = requantization(node, writer)
    if follower is None:
        _accumulate(node, writer, "ConvInteger", window(node))
        return
    x, w = writer.names(node.operands[:2])
    bias = writer.names(node.operands[2:])
    _qlinear("QLinearConv", node, follower, x, w, bias, writer, window(node))


def _matmul(node: Node, writer: Writer) -> None:
    check_bytes(node, node.operands[0].dtype, node.operands[1].dtype)
    follower = requantization(node, writer)
    if follower is None:
        _accumulate(node, writer, "MatMulInteger", {})
        return
    if len(node.operands) == 2:
        x, w = writer.names(node.operands)
        _qlinear("QLinearMatMul", node, follower, x, w, [], writer, {})
        return
    # y[m, n] = a 1x1 convolution of m images of one pixel and k channels
    w_value = node.operands[1]
    k, n = w_value.shape
    pixels = prod(node.operands[0].shape[:-1])
    filters = writer.constant(
        writer.graph.weight(w_value).T.reshape(n, k, 1, 1),
        writer.graph.constants[w_value.index],
    )
    image = _reshaped(writer, writer.name(node.operands[0]), (pixels, k, 1, 1), node.name)
    bias = writer.names(node.operands[2:])
    product = writer.fresh(f"{node.name}_pixel")
    window: dict[str, object] = {"kernel_shape": (1, 1)}
    _qlinear("QLinearConv", node, follower, image, filters, bias, writer, window, product)
    shape = writer.constant(np.array(follower.result.shape, np.int64), f"{node.name}_shape")
    writer.add("Reshape", [product, shape], writer.result(follower))


def _reshaped(writer: Writer, name: str, shape: tuple[int, ...], layer: str) -> str:
    constant = writer.constant(np.array(shape, np.int64), f"{layer}_shape")
    return writer.add("Reshape", [name, constant], writer.fresh(f"{layer}_reshaped"))


def _qlinear(
    op: str,
    node: Node,
    follower: Node,
    x: str,
    w: str,
    bias: list[str],
    writer: Writer,
    attributes: Mapping[str, object],
    result: str = "",
) -> None:
    """One QLinear operator for `node` and the requantisation behind it."""
    scale = writer.graph.weight(follower.operands[1])
    symbol = writer.graph.constants[follower.operands[1].index]
    shape = () if scale.size == 1 else scale.shape
    one = writer.constant(_f32(1), f"{node.name}_one")
    dtype = follower.str("dtype")
    names = [
        x,
        one,
        _zero_point(writer, node, "x", 0),
        w,
        writer.constant(scale.reshape(shape), symbol),
        _zero_point(writer, node, "w", 1, shape),
        one,
        writer.constant(
            np.array(follower.int("zero_point"), DTYPES[dtype]), f"{follower.name}_zero_point"
        ),
        *bias,
    ]
    _clipped(op, names, attributes, follower, result or writer.result(follower), writer)


def _clipped(
    op: str,
    names: list[str],
    attributes: Mapping[str, object],
    follower: Node,
    result: str,
    writer: Writer,
) -> None:
    """A QLinear operator, and a Clip where its bounds are narrower than the type's."""
    dtype = follower.str("dtype")
    bounds = (follower.int("low"), follower.int("high"))
    if bounds == RANGES[dtype]:
        writer.add(op, names, result, attributes)
        return
    wide = writer.add(op, names, writer.fresh(f"{follower.name}_wide"), attributes)
    limits = [
        writer.constant(np.array(bound, DTYPES[dtype]), f"{follower.name}_bound")
        for bound in bounds
    ]
    writer.add("Clip", [wide, *limits], result)


def _zero_point(
    writer: Writer, node: Node, which: str, index: int, shape: tuple[int, ...] = ()
) -> str:
    dtype = DTYPES[node.operands[index].dtype]
    points: Array = np.full(shape, node.int(f"{which}_zero_point"), dtype)
    return writer.constant(points, f"{node.name}_{which}_zero_point")


def _accumulate(node: Node, writer: Writer, op: str, attributes: Mapping[str, object]) -> None:
    """The int32 accumulator itself, for a reader that is no requantisation."""
    x, w = writer.names(node.operands[:2])
    points = [_zero_point(writer, node, "x", 0), _zero_point(writer, node, "w", 1)]
    if len(node.operands) == 2:
        writer.add(op, [x, w, *points], writer.result(node), attributes)
        return
    product = writer.add(op, [x, w, *points], writer.fresh(f"{node.name}_product"), attributes)
    bias = writer.name(node.operands[2])
    if node.kind == "qnn.conv2d":
        bias = _reshaped(writer, bias, (-1, 1, 1), f"{node.name}_bias")
    writer.add("Add", [product, bias], writer.result(node))


def _requantize(node: Node, writer: Writer) -> None:
    """Requantisation on its own, step by step in float32 as `evaluate` computes it."""
    acc, scale = node.operands
    values, rank = writer.graph.weight(scale), len(acc.shape)
    shape = [1] * rank
    shape[node.int("axis") % max(rank, 1)] = values.size
    zero_point = node.int("zero_point")
    steps: list[tuple[str, list[Array], dict[str, int]]] = [
        ("Cast", [], {"to": TYPES["f32"]}),
        ("Mul", [values.reshape(shape if values.size > 1 else ())], {}),
        ("Clip", [_f32(node.int("low") - zero_point), _f32(node.int("high") - zero_point)], {}),
        ("Round", [], {}),
        ("Add", [_f32(zero_point)], {}),
    ]
    name = writer.name(acc)
    for op, constants, attributes in steps:
        held = [writer.constant(array, f"{node.name}_{op.lower()}") for array in constants]
        name = writer.add(
            op, [name, *held], writer.fresh(f"{node.name}_{op.lower()}"), attributes
        )
    writer.add("Cast", [name], writer.result(node), {"to": TYPES[node.str("dtype")]})


def _f32(value: int) -> Array:
    return np.array(value, np.float32)


def _average_pool(node: Node, writer: Writer) -> None:
    attributes = {
        "kernel_shape": node.ints("kernel"),
        "strides": node.ints("strides"),
        "pads": node.ints("pads"),
        "count_include_pad": node.int("count_include_pad"),
    }
    _pool("QLinearAveragePool", node, writer, attributes)


def _global_average_pool(node: Node, writer: Writer) -> None:
    _pool("QLinearGlobalAveragePool", node, writer, {"channels_last": 0})


def _pool(op: str, node: Node, writer: Writer, attributes: Mapping[str, object]) -> None:
    names = [writer.name(node.operands[0])]
    names += parameters(node, writer, "x") + parameters(node, writer, "y")
    writer.add(op, names, writer.result(node), attributes, RUNTIME)


WRITERS: Mapping[str, Callable[[Node, Writer], None]] = {
    "qnn.quantize": _quantize,
    "qnn.dequantize": _dequantize,
    "qnn.conv2d": _conv2d,
    "qnn.matmul": _matmul,
    "qnn.requantize": _requantize,
    "qnn.average_pool2d": _average_pool,
    "qnn.global_average_pool": _global_average_pool,
}
