"""Convolutions and matrix products as ONNX; an activation inside becomes its own node."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tetrapla.frontend.onnx.writer import Writer
from tetrapla.ir.graph import Node


def window(node: Node) -> dict[str, object]:
    """Attributes of Conv and its relatives."""
    return {
        "kernel_shape": node.operands[1].shape[2:],
        "strides": node.ints("strides"),
        "pads": node.ints("pads"),
        "dilations": node.ints("dilations"),
        "group": node.int("groups"),
    }


def _conv2d(node: Node, writer: Writer) -> None:
    result = _before_activation(node, writer)
    writer.add("Conv", writer.names(node.operands), result, window(node))
    _activate(node, result, writer)


def _conv3d(node: Node, writer: Writer) -> None:
    writer.add("Conv", writer.names(node.operands), writer.result(node), window(node))


def _conv_transpose(node: Node, writer: Writer) -> None:
    held = {**window(node), "output_padding": node.ints("output_padding")}
    writer.add("ConvTranspose", writer.names(node.operands), writer.result(node), held)


def _matmul(node: Node, writer: Writer) -> None:
    result = _before_activation(node, writer)
    names = writer.names(node.operands)
    ranks = {len(operand.shape) for operand in node.operands[:2]}
    if len(names) == 2:
        writer.add("MatMul", names, result)
    elif ranks == {2}:
        writer.add("Gemm", names, result)
    else:
        product = writer.add("MatMul", names[:2], writer.fresh(f"{node.name}_product"))
        writer.add("Add", [product, names[2]], result)
    _activate(node, result, writer)


def _before_activation(node: Node, writer: Writer) -> str:
    if node.str("activation") == "none":
        return writer.result(node)
    return writer.fresh(f"{node.name}_sum")


def _activate(node: Node, result: str, writer: Writer) -> None:
    if node.str("activation") == "relu":
        writer.add("Relu", [result], writer.result(node))


WRITERS: Mapping[str, Callable[[Node, Writer], None]] = {
    "nn.conv2d": _conv2d,
    "nn.conv3d": _conv3d,
    "nn.conv_transpose2d": _conv_transpose,
    "nn.conv_transpose3d": _conv_transpose,
    "nn.matmul": _matmul,
}
