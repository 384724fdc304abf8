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
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rebuild_ import Rebuild

# which axis of the result, counted from the end, the bias of an operator runs along
CHANNELS = {"nn.matmul": 1, "nn.conv2d": 3}


@dataclass(frozen=True)
class FuseEpilogue(Pass):
    """The order of the additions is kept, so every bit stays."""

    def __call__(self, module: Module) -> Module:
        new = Rebuild(module)
        done: set[str] = set()
        for node in new.graph.nodes:
            if node.kind in CHANNELS:
                done.update(_fuse(new, node))
            elif node.name not in done:
                new.copy(node)
        return new.finish()


def _fuse(new: Rebuild, node: Node) -> list[str]:
    """Emit the product with what follows it; return the names of the nodes taken in."""
    operands = [new.of(value) for value in node.operands]
    activation, last, taken = node.str("activation"), node, list[str]()
    if activation == "none" and len(operands) == 2:
        add = new.only_user(last.result, "nn.add")
        addend = None if add is None else _addend(new, node, add)
        if add is not None and addend is not None:
            operands.append(_bias(new, node, addend))
            taken.append(add.name)
            last = add
    if activation == "none":
        relu = new.only_user(last.result, "nn.relu")
        if relu is not None:
            activation, last = "relu", relu
            taken.append(relu.name)
    if not taken:
        new.copy(node)
        return taken
    attributes = {**node.attributes, "activation": activation}
    fused = new.builder.op(node.kind, operands, attributes, name=node.name)
    new.set(last.result, fused)
    return taken


def _addend(new: Rebuild, node: Node, add: Node) -> Value | None:
    """The operand of the addition that can be the product's bias."""
    (other,) = (v for v in add.operands if v.index != node.result.index)
    if not new.graph.is_weight(other) or add.result.shape != node.result.shape:
        return None
    axis = len(other.shape) - CHANNELS[node.kind]
    others = [size for i, size in enumerate(other.shape) if i != axis]
    return other if all(size == 1 for size in others) else None


def _bias(new: Rebuild, node: Node, addend: Value) -> Value:
    shape = (node.result.shape[-CHANNELS[node.kind]],)
    if addend.shape == shape:
        return new.of(addend)

    def spread(array: Array) -> Array:
        # a single number is every channel's bias
        return np.broadcast_to(array.reshape(-1), shape)

    return new.derived(f"{node.name}.bias", addend, shape, spread)
