"""A bias, a residual and an activation move into the product or convolution before them.

    before   p = nn.conv2d(x, @w)                    after   y = nn.conv2d(x, @w, @bias, r)
             s = nn.add(p, @b)   (b: [O, 1, 1])                  {activation = "relu"}
             t = nn.add(s, r)
             y = nn.relu(t)

Only where nothing else reads the intermediate value and it is not an output. A bias must be a
constant that varies along the channels alone ([n] of a product, [O, 1, 1] of a convolution,
with or without leading ones); in f16 and bf16 it stays outside, because a product rounds once
for both. A residual is any other addend of the result's own shape; where there is no bias
before it one of minus zeros is made (``x + -0.0`` is x, bit for bit), if the weights are a
constant. The product keeps its name.

The options say what a machine's epilogue can hold: by default a bias and a ReLU. What a product
holds beyond them becomes operators of its own again (`ir.unfuse`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tetrapla.ir.errors import SpecError, nearest
from tetrapla.ir.graph import DTYPES, Array, Attribute, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.nn.epilogue import FUNCTIONS
from tetrapla.ir.nn.precision import work_type
from tetrapla.ir.unfuse import unfused
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.match_ import either
from tetrapla.passes.pass_ import Pass

# which axis of the result, counted from the end, the bias of an operator runs along
CHANNELS = {"nn.matmul": 1, "nn.conv2d": 3}


@dataclass(frozen=True)
class FuseEpilogue(Pass):
    """The order of the additions is kept, so every bit stays.

    Args:
        activations: those that are moved in, joined by +, as `relu+silu`; "all", or "none".
        residual: whether a residual is moved in.
    """

    activations: str = "relu"
    residual: bool = False

    def __post_init__(self) -> None:
        odd = [name for name in self._named() if name not in FUNCTIONS]
        if odd:
            there = "+".join(FUNCTIONS)
            raise SpecError(
                f"activations must be all, none or some of {there}, "
                f"not '{odd[0]}'{nearest(odd[0], FUNCTIONS)}"
            )

    def __call__(self, module: Module) -> Module:
        names = self._named()
        found = {_function(*FUNCTIONS[name]): name for name in names}

        def activation(edit: Edit, node: Node) -> Value | None:
            name = found.get(_function(node.kind, node.attributes))
            return None if name is None else _activated(edit, node, name)

        narrow = unfused(module, names, self.residual)
        return rewrite(narrow, _bias, *([_residual] if self.residual else []), activation)

    def _named(self) -> tuple[str, ...]:
        if self.activations in ("all", "none"):
            return tuple(FUNCTIONS) if self.activations == "all" else ()
        return tuple(self.activations.split("+"))


def _function(kind: str, attributes: Mapping[str, Attribute]) -> tuple[object, ...]:
    """What tells an operator from others; 0, 0.0 and -0.0 are equal, but not the same."""
    named = sorted(attributes.items())
    return kind, *((k, repr(float(v) if isinstance(v, int) else v)) for k, v in named)


def _bias(edit: Edit, node: Node) -> Value | None:
    held = DTYPES[node.result.dtype]
    if node.kind != "nn.add" or work_type(held) != held:
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


def _residual(edit: Edit, node: Node) -> Value | None:
    if node.kind != "nn.add":
        return None
    for value, other in either(node):
        product = _open(edit, value)
        if product is None or len(product.operands) > 3:
            continue
        if not value.shape == other.shape == node.result.shape:
            continue
        operands = list(product.operands)
        if len(operands) < 3:
            bias = _nothing(edit, product)
            if bias is None:
                continue
            operands.append(bias)
        operands.append(other)
        return edit.op(product.kind, operands, product.attributes, product.name)
    return None


def _activated(edit: Edit, node: Node, name: str) -> Value | None:
    product = _open(edit, node.operands[0])
    if product is None:
        return None
    attributes = {**product.attributes, "activation": name}
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


def _nothing(edit: Edit, product: Node) -> Value | None:
    """A bias that changes no bit: minus zeros (of integers, zeros)."""
    w = product.operands[1]
    if not edit.is_constant(w):
        return None
    shape = (product.result.shape[-CHANNELS[product.kind]],)

    def zeros(array: Array) -> Array:
        return np.negative(np.zeros(shape, array.dtype))

    return edit.derived("no_bias", w, shape, zeros)
