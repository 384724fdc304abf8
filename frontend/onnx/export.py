"""A module as an ONNX file: float operators as themselves, integer ones as QLinear operators.

ONNX Runtime computes from the file what the reference interpreter computes from the module:
bit for bit for integers, within float32 rounding otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tetrapla.frontend.names import safe
from tetrapla.frontend.onnx import export_quant
from tetrapla.frontend.onnx.writer import Writer
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Node
from tetrapla.ir.module import Module


def export(module: Module) -> bytes:
    """The module as the bytes of an ONNX model (opset 17, IR version 8).

    Raises:
        ModelError: the module is shape-only, or a name cannot be written.
        UnsupportedError: listing the operators that ONNX cannot express.
    """
    if module.shape_only:
        raise ModelError(
            f"model '{module.name}' must have weights to be exported, not only shapes"
        )
    unknown = [node for node in module.graph.nodes if node.kind not in WRITERS]
    if unknown:
        kinds = sorted({node.kind for node in unknown})
        raise UnsupportedError(
            f"the ONNX exporter has no form of {', '.join(kinds)} (node '{unknown[0].name}'); "
            f"compile for a target whose lowered module has none of them"
        )
    writer = Writer(module.graph)
    fused = export_quant.fused_requantizations(writer)
    for node in module.graph.nodes:
        if node.name not in fused:
            WRITERS[node.kind](node, writer)
    return writer.finish(safe(module.name))


def _conv2d(node: Node, writer: Writer) -> None:
    result = _before_activation(node, writer)
    writer.add("Conv", writer.names(node.operands), result, _convolution(node))
    _activate(node, result, writer)


def _convolution(node: Node) -> dict[str, object]:
    """Attributes of Conv and its integer relatives."""
    return {
        "kernel_shape": node.operands[1].shape[2:],
        "strides": node.ints("strides"),
        "pads": node.ints("pads"),
        "dilations": node.ints("dilations"),
        "group": node.int("groups"),
    }


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


def _max_pool(node: Node, writer: Writer) -> None:
    attributes = {
        "kernel_shape": node.ints("kernel"),
        "strides": node.ints("strides"),
        "pads": node.ints("pads"),
        "dilations": node.ints("dilations"),
    }
    writer.add("MaxPool", writer.names(node.operands), writer.result(node), attributes)


def _average_pool(node: Node, writer: Writer) -> None:
    attributes = {
        "kernel_shape": node.ints("kernel"),
        "strides": node.ints("strides"),
        "pads": node.ints("pads"),
        "count_include_pad": node.int("count_include_pad"),
    }
    writer.add("AveragePool", writer.names(node.operands), writer.result(node), attributes)


def _reshape(node: Node, writer: Writer) -> None:
    shape = np.array(node.ints("shape"), np.int64)
    names = [writer.name(node.operands[0]), writer.constant(shape, f"{node.name}_shape")]
    # a 0 is a size here, not a copy of the operand's
    writer.add("Reshape", names, writer.result(node), {"allowzero": 1} if 0 in shape else {})


def _same(op: str, *attributes: str) -> Callable[[Node, Writer], None]:
    """An operator that ONNX has under another name with the same attributes."""

    def write(node: Node, writer: Writer) -> None:
        held = {key: node.attributes[key] for key in attributes}
        writer.add(op, writer.names(node.operands), writer.result(node), held)

    return write


WRITERS: Mapping[str, Callable[[Node, Writer], None]] = {
    **export_quant.WRITERS,
    "nn.conv2d": _conv2d,
    "nn.matmul": _matmul,
    "nn.max_pool2d": _max_pool,
    "nn.average_pool2d": _average_pool,
    "nn.reshape": _reshape,
    "nn.add": _same("Add"),
    "nn.mul": _same("Mul"),
    "nn.relu": _same("Relu"),
    "nn.abs": _same("Abs"),
    "nn.neg": _same("Neg"),
    "nn.sign": _same("Sign"),
    "nn.floor": _same("Floor"),
    "nn.ceil": _same("Ceil"),
    "nn.round": _same("Round"),
    "nn.sqrt": _same("Sqrt"),
    "nn.reciprocal": _same("Reciprocal"),
    "nn.exp": _same("Exp"),
    "nn.log": _same("Log"),
    "nn.sin": _same("Sin"),
    "nn.cos": _same("Cos"),
    "nn.tanh": _same("Tanh"),
    "nn.erf": _same("Erf"),
    "nn.sigmoid": _same("Sigmoid"),
    "nn.softplus": _same("Softplus"),
    "nn.hard_swish": _same("HardSwish"),
    "nn.elu": _same("Elu", "alpha"),
    "nn.leaky_relu": _same("LeakyRelu", "alpha"),
    "nn.sub": _same("Sub"),
    "nn.div": _same("Div"),
    "nn.pow": _same("Pow"),
    "nn.minimum": _same("Min"),
    "nn.maximum": _same("Max"),
    "nn.concat": _same("Concat", "axis"),
    "nn.log_softmax": _same("LogSoftmax", "axis"),
    "nn.softmax": _same("Softmax", "axis"),
    "nn.transpose": _same("Transpose", "perm"),
    "nn.global_average_pool": _same("GlobalAveragePool"),
    "nn.batch_norm": _same("BatchNormalization", "epsilon"),
}
