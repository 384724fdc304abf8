"""A bias and a ReLU move into the matrix product or convolution before them.

    before   p = nn.conv2d(x, @w)                    after   y = nn.conv2d(x, @w, @bias)
             s = nn.add(p, @b)   (b: [O, 1, 1])                  {activation = "relu"}
             y = nn.relu(s)

Only where nothing else reads the intermediate value and it is not an output; the addend must
be a constant that varies along the channels alone ([n] of a product, [O, 1, 1] of a
convolution, with or without leading ones). The product keeps its name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tetrapla.ir.graph import Array, Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.match_ import either
from tetrapla.passes.pass_ import Pass

# which axis of the result, counted from the end, the bias of an operator runs along
CHANNELS = {"nn.matmul": 1, "nn.conv2d": 3}


@dataclass(frozen=True)
class FuseEpilogue(Pass):
    """The order of the additions is kept, so every bit stays."""

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _bias, _activation)


def _bias(edit: Edit, node: Node) -> Value | None:
    if node.kind != "nn.add":
        return None
    for value, other in either(node):
        product = _open(edit, value)
        if product is None or len(product.operands) > 2 or value.shape != node.result.shape:
            continue
        bias = _spread(edit, product, other)
        if bias is not None:
            operands = [*product.operands, bias]
            return edit.op(product.kind, operands, product.attributes, product.name)
    return None


def _activation(edit: Edit, node: Node) -> Value | None:
    product = _open(edit, node.operands[0]) if node.kind == "nn.relu" else None
    if product is None:
        return None
    attributes = {**product.attributes, "activation": "relu"}
    return edit.op(product.kind, product.operands, attributes, product.name)


def _open(edit: Edit, value: Value) -> Node | None:
    """The product that makes the value, if it has no activation and nothing else reads it."""
    product = edit.maker(value, *CHANNELS)
    if product is None or edit.readers(value) != 1 or product.str("activation") != "none":
        return None
    return product


def _spread(edit: Edit, product: Node, addend: Value) -> Value | None:
    """A constant that varies along the channels alone, as the product's bias."""
    if not edit.is_constant(addend):
        return None
    axis = len(addend.shape) - CHANNELS[product.kind]
    if any(size != 1 for i, size in enumerate(addend.shape) if i != axis):
        return None
    shape = (product.result.shape[-CHANNELS[product.kind]],)
    if addend.shape == shape:
        return addend

    def spread(array: Array) -> Array:
        # a single number is every channel's bias
        return np.broadcast_to(array.reshape(-1), shape)

    return edit.derived("bias", addend, shape, spread)
