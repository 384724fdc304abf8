"""Conv, over three dimensions as a sum over the depth of the kernel."""

from __future__ import annotations

from tetrapla.frontend.onnx.linear import plane_convolution
from tetrapla.frontend.onnx.moves import cut
from tetrapla.frontend.onnx.node import OnnxNode, Operand, Scope
from tetrapla.frontend.onnx.shapes import transposed
from tetrapla.frontend.onnx.table import translates
from tetrapla.frontend.onnx.window import box
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Attribute


@translates("Conv")
def _conv(node: OnnxNode, scope: Scope) -> Operand:
    if len(node.operand(0).shape) == 5:
        return _box(node, node.operand(0), node.operand(1), scope)
    return plane_convolution(node, scope)


def _box(node: OnnxNode, x: Operand, w: Operand, scope: Scope) -> Operand:
    """A convolution over three dimensions: a sum of plane convolutions over the kernel's depth.

    The output's depth becomes part of the batch, so each tap of the depth is one convolution.
    """
    window, label = box(node, x, w), node.label
    n, c, d, h, wide = x.shape
    pads = window.pads
    if pads[0] or pads[3]:
        margin = (0, 0, pads[0], 0, 0, 0, 0, pads[3], 0, 0)
        attributes: dict[str, Attribute] = {"pads": margin, "mode": "constant", "value": 0.0}
        x = scope.op("nn.pad", [x], attributes, f"{label}_depth")
        d += pads[0] + pads[3]
    extent = (window.kernel[0] - 1) * window.dilations[0] + 1
    if d < extent:
        raise ModelError(f"a dilated kernel of {extent} must fit the padded depth of {d}")
    depth = (d - extent) // window.strides[0] + 1
    plane = window.along(1, 2)
    held: dict[str, Attribute] = {
        "strides": plane.strides,
        "pads": plane.pads,
        "dilations": plane.dilations,
        "groups": node.int("group", 1),
        "activation": "none",
    }
    total: Operand | None = None
    for tap in range(window.kernel[0]):
        name = f"{label}_{tap}"
        first = (0, 0, tap * window.dilations[0], 0, 0)
        steps = (1, 1, window.strides[0], 1, 1)
        part = cut(x, first, (n, c, depth, h, wide), scope, f"{name}_slices", steps)
        part = transposed(part, (0, 2, 1, 3, 4), scope, f"{name}_order")
        part = scope.reshape(part, (n * depth, c, h, wide), f"{name}_planes")
        sizes = (*w.shape[:2], 1, *w.shape[3:])
        filters = cut(w, (0, 0, tap, 0, 0), sizes, scope, f"{name}_filters")
        filters = scope.reshape(filters, (*w.shape[:2], *w.shape[3:]), f"{name}_filters_plane")
        bias = node.optional(2) if tap == 0 else None
        y = scope.op("nn.conv2d", [part, filters, bias], held, name)
        total = y if total is None else scope.op("nn.add", [total, y], {}, f"{name}_sum")
    assert total is not None
    rows, columns = total.shape[2:]
    y = scope.reshape(total, (n, depth, w.shape[0], rows, columns), f"{label}_split")
    return transposed(y, (0, 2, 1, 3, 4), scope, f"{label}_back")
