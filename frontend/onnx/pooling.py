"""Pooling over windows of one, two or three dimensions, or over all of a value."""

from __future__ import annotations

from tetrapla.frontend.onnx.node import OnnxNode, Operand, Refusal, Scope
from tetrapla.frontend.onnx.table import translates
from tetrapla.frontend.onnx.window import Window, average_window, image, max_window
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Attribute


@translates("MaxPool")
def _max_pool(node: OnnxNode, scope: Scope) -> Operand:
    if node.extra_outputs:
        raise Refusal("only without its output of indices")
    x = node.operand(0)
    window = max_window(node, x)
    attributes = {**window.flat().attributes(), "dilations": window.flat().dilations}
    kind = "nn.max_pool3d" if len(x.shape) == 5 else "nn.max_pool2d"
    return _pooled(kind, x, attributes, node, scope)


@translates("AveragePool")
def _average_pool(node: OnnxNode, scope: Scope) -> Operand:
    x = node.operand(0)
    window = average_window(node, x)
    include = node.int("count_include_pad", 0)
    general = any(window.overhang) and include and any(window.pads)
    if len(x.shape) == 5 or any(step != 1 for step in window.dilations) or general:
        return _box(x, window.flat(), include, node, scope)
    # windows that ceil_mode lets stick out never count what lies outside
    flat = window.flat().widened()
    attributes = {
        **flat.attributes(),
        "count_include_pad": 0 if any(window.overhang) else include,
    }
    return _pooled("nn.average_pool2d", x, attributes, node, scope)


def _box(x: Operand, window: Window, include: int, node: OnnxNode, scope: Scope) -> Operand:
    """The general mean, which the IR has over three dimensions."""
    shape = x.shape
    if len(shape) < 5:
        x = image(x, scope, f"{node.label}_image")
        x = scope.reshape(x, (*x.shape[:2], 1, *x.shape[2:]), f"{node.label}_box")
        window = window.deep()
    attributes: dict[str, Attribute] = {
        **window.attributes(),
        "dilations": window.dilations,
        "overhang": window.overhang,
        "count_include_pad": include,
    }
    y = scope.op("nn.average_pool3d", [x], attributes, node.label)
    sizes = y.shape[len(y.shape) - len(shape) + 2 :]
    return scope.reshape(y, (*shape[:2], *sizes), f"{node.label}_flatten")


@translates("LpPool")
def _lp_pool(node: OnnxNode, scope: Scope) -> Operand:
    x = node.operand(0)
    if len(x.shape) > 4:
        raise Refusal("only in one or two dimensions")
    flat = average_window(node, x).flat().widened()
    p = node.int("p", 2) if node.version > 1 else int(node.float("p", 2.0))
    attributes = {**flat.attributes(), "dilations": flat.dilations, "p": p}
    return _pooled("nn.lp_pool2d", x, attributes, node, scope)


def _pooled(
    kind: str, x: Operand, attributes: dict[str, Attribute], node: OnnxNode, scope: Scope
) -> Operand:
    flat = image(x, scope, f"{node.label}_image")
    y = scope.op(kind, [flat], attributes, node.label)
    shape = (*y.shape[:2], y.shape[3]) if len(x.shape) == 3 else y.shape
    return scope.reshape(y, shape, f"{node.label}_flatten")


@translates("GlobalAveragePool")
def _global_average_pool(node: OnnxNode, scope: Scope) -> Operand:
    return _over_all("nn.global_average_pool", "nn.reduce_mean", node, scope)


@translates("GlobalMaxPool")
def _global_max_pool(node: OnnxNode, scope: Scope) -> Operand:
    return _over_all("nn.global_max_pool", "nn.reduce_max", node, scope)


@translates("GlobalLpPool")
def _global_lp_pool(node: OnnxNode, scope: Scope) -> Operand:
    if (node.int("p", 2) if node.version > 1 else int(node.float("p", 2.0))) != 2:
        raise Refusal("only with p 2")
    return _over_all("nn.reduce_l2", "nn.reduce_l2", node, scope)


def _over_all(image_kind: str, kind: str, node: OnnxNode, scope: Scope) -> Operand:
    """Over all but the first two axes; `image_kind` does so at rank 4."""
    x = node.operand(0)
    if len(x.shape) < 3:
        raise ModelError(f"{node.op} needs a value of rank 3 or more, not {list(x.shape)}")
    if len(x.shape) == 4 and image_kind != kind:
        return scope.op(image_kind, [x], {}, node.label)
    return scope.reduce(kind, x, tuple(range(2, len(x.shape))), node.label)
