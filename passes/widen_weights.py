"""Integer weights under 8 bits are held in 8, for a machine that stores nothing smaller.

    before   a = qnn.conv2d(q, @w : i4)             after   a = qnn.conv2d(q, @w.int8 : i8)

The numbers stay; what narrower weights save in memory and traffic is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tetrapla.ir.graph import DTYPES, Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rebuild_ import Rebuild

WIDER = {"i2": "i8", "i4": "i8", "ui2": "ui8", "ui4": "ui8"}
PRODUCTS = ("qnn.matmul", "qnn.conv2d")


@dataclass(frozen=True)
class WidenWeights(Pass):
    """The products are of the same integers, so every bit stays."""

    def __call__(self, module: Module) -> Module:
        new = Rebuild(module)
        for node in new.graph.nodes:
            if node.kind in PRODUCTS and _narrow(new, node.operands[1]):
                _widen(new, node)
            else:
                new.copy(node)
        return new.finish()


def _narrow(new: Rebuild, weights: Value) -> bool:
    return weights.dtype in WIDER and new.graph.is_weight(weights)


def _widen(new: Rebuild, node: Node) -> None:
    x, weights, *bias = node.operands
    dtype = WIDER[weights.dtype]
    symbol = f"{new.graph.constants[weights.index]}.{dtype}"
    if new.shape_only:
        wide = new.builder.shape_of_weight(symbol, weights.shape, dtype)
    else:
        array = np.asarray(new.graph.weight(weights)).astype(DTYPES[dtype])
        wide = new.builder.weight(symbol, array)
    operands = [new.of(x), wide, *map(new.of, bias)]
    made = new.builder.op(node.kind, operands, node.attributes, name=node.name)
    new.set(node.result, made)
