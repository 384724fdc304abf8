"""Pooling over windows of one, two or three dimensions, or over all of a value."""

from __future__ import annotations

from math import prod

from tetrapla.frontend.onnx.linear import scaled
from tetrapla.frontend.onnx.node import OnnxNode, Operand, Refusal, Scope
from tetrapla.frontend.onnx.table import translates
from tetrapla.frontend.onnx.window import average_window, max_window, planes
from tetrapla.ir.errors import ModelError


@translates("MaxPool")
def _max_pool(node: OnnxNode, scope: Scope) -> Operand:
    if node.extra_outputs:
        raise Refusal("only without its output of indices")
    x = node.operand(0)
    return planes("nn.max_pool2d", x, max_window(node, x), node, scope)


@translates("AveragePool")
def _average_pool(node: OnnxNode, scope: Scope) -> Operand:
    x = node.operand(0)
    return planes("nn.average_pool2d", x, average_window(node, x), node, scope)


@translates("GlobalAveragePool")
def _global_average_pool(node: OnnxNode, scope: Scope) -> Operand:
    x = _image(node)
    if len(x.shape) == 4:
        return scope.op("nn.global_average_pool", [x], {}, node.label)
    return scope.reduce("nn.reduce_mean", x, tuple(range(2, len(x.shape))), node.label)


@translates("GlobalMaxPool")
def _global_max_pool(node: OnnxNode, scope: Scope) -> Operand:
    x = _image(node)
    return scope.reduce("nn.reduce_max", x, tuple(range(2, len(x.shape))), node.label)


@translates("GlobalLpPool")
def _global_lp_pool(node: OnnxNode, scope: Scope) -> Operand:
    x = _image(node)
    if node.int("p", 2) != 2:
        raise Refusal("only with p 2")
    return scope.reduce("nn.reduce_l2", x, tuple(range(2, len(x.shape))), node.label)


@translates("LpPool")
def _lp_pool(node: OnnxNode, scope: Scope) -> Operand:
    x, label = node.operand(0), node.label
    if node.int("p", 2) != 2:
        raise Refusal("only with p 2")
    window = average_window(node, x, padding_counts=True)
    square = scope.op("nn.mul", [x, x], {}, f"{label}_square")
    mean = planes("nn.average_pool2d", square, window, node, scope)
    total = scaled(mean, float(prod(window.kernel)), scope, f"{label}_sum")
    return scope.op("nn.sqrt", [total], {}, f"{label}_root")


def _image(node: OnnxNode) -> Operand:
    x = node.operand(0)
    if len(x.shape) < 3:
        raise ModelError(f"{node.op} needs a value of rank 3 or more, not {list(x.shape)}")
    return x
