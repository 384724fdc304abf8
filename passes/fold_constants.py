"""Nodes whose operands are all constants become weights named after them.

    before   t = nn.transpose(@w) {perm = (1, 0)}          after   y = nn.matmul(x, @t)
             y = nn.matmul(x, t)

A node stays if its result is both large and larger than its operands together (a broadcast
must not blow up the file), and so does what makes floats of quantised weights: folded, it would
undo their quantisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tetrapla.ir.graph import Array, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.pass_ import Pass

# assumed: a result of up to 2^20 elements (4 MiB of float32) is never worth recomputing
SMALL_ELEMENTS = 2**20
KEPT = "dequantize"


@dataclass(frozen=True)
class FoldConstants(Pass):
    """The interpreter's own `evaluate` computes the weight, so every bit stays."""

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _folded)


def _folded(edit: Edit, node: Node) -> Value | None:
    if not node.operands or node.bodies or KEPT in node.kind:
        return None
    held = sum(value.elements for value in node.operands)
    if node.result.elements > max(SMALL_ELEMENTS, held):
        return None
    if not all(edit.is_constant(value) for value in node.operands):
        return None
    arrays = [edit.constant(value) for value in node.operands]
    known = [array for array in arrays if array is not None]
    if len(known) == len(arrays):
        return edit.weight(node.name, _value(node, known))
    # of arrays that are not all known the result is not, either
    return edit.unknown(node.name, node.result.shape, node.result.dtype)


def _value(node: Node, operands: list[Array]) -> Array:
    # overflow and NaN are values here, as in the interpreter
    with np.errstate(all="ignore"):
        return np.asarray(OPS[node.kind].evaluate(*operands, **node.attributes))
