"""Nodes whose operands are all constants become weights named after them.

    before   t = nn.transpose(@w) {perm = (1, 0)}          after   y = nn.matmul(x, @t)
             y = nn.matmul(x, t)

A node stays if its result is both large and larger than its operands together (a broadcast
must not blow up the file), and so does `quant.dequantize`: folded, it would turn integer
weights into floats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tetrapla.ir.graph import Node
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rebuild_ import Rebuild

# assumed: a result of up to 2^20 elements (4 MiB of float32) is never worth recomputing
SMALL_ELEMENTS = 2**20
KEPT = frozenset({"quant.dequantize"})


@dataclass(frozen=True)
class FoldConstants(Pass):
    """The interpreter's own `evaluate` computes the weight, so every bit stays."""

    def __call__(self, module: Module) -> Module:
        new = Rebuild(module)
        arrays = dict(new.graph.weights)
        constants = set(new.graph.constants)
        for node in new.graph.nodes:
            if not _folds(node, constants):
                new.copy(node)
                continue
            result = node.result
            constants.add(result.index)
            if new.shape_only:
                made = new.builder.shape_of_weight(node.name, result.shape, result.dtype)
            else:
                operands = [arrays[value.index] for value in node.operands]
                with np.errstate(all="ignore"):
                    array = OPS[node.kind].evaluate(*operands, **node.attributes)
                arrays[result.index] = np.ascontiguousarray(array)
                made = new.builder.weight(node.name, arrays[result.index])
            new.set(result, made)
        return new.finish()


def _folds(node: Node, constants: set[int]) -> bool:
    if node.kind in KEPT or any(value.index not in constants for value in node.operands):
        return False
    held = sum(value.elements for value in node.operands)
    return node.result.elements <= max(SMALL_ELEMENTS, held)
