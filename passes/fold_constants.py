"""Nodes whose operands are all constants become weights named after them.

    before   t = nn.transpose(@w) {perm = (1, 0)}          after   y = nn.matmul(x, @t)
             y = nn.matmul(x, t)

A node stays if its result has over `limit` elements and is larger than its operands together
(a broadcast must not blow up the file), and so does what makes floats of quantised weights:
folded, it would undo their quantisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array, Node, Value
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.pass_ import Pass

KEPT = "dequantize"


@dataclass(frozen=True)
class FoldConstants(Pass):
    """The interpreter's own `evaluate` computes the weight, so every bit stays.

    Args:
        limit: in elements; the default of 2^20 (4 MiB of float32), assumed, is never worth
            computing again.
    """

    limit: int = 2**20

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise ModelError(f"limit must be 0 or more, not {self.limit}")

    def __call__(self, module: Module) -> Module:
        return rewrite(module, lambda edit, node: _folded(edit, node, self.limit))


def _folded(edit: Edit, node: Node, limit: int) -> Value | None:
    if not node.operands or node.bodies or KEPT in node.kind:
        return None
    held = sum(value.elements for value in node.operands)
    if node.result.elements > max(limit, held):
        return None
    if not all(edit.is_constant(value) for value in node.operands):
        return None
    arrays = [edit.constant(value) for value in node.operands]
    known = [array for array in arrays if array is not None]
    if len(known) == len(arrays):
        if node.kind == "nn.transpose" and node.result.elements > limit:
            # a view: a large weight in a file is not copied into memory
            return edit.weight(node.name, known[0].transpose(node.ints("perm")))
        return edit.weight(node.name, _value(node, known))
    # of arrays that are not all known the result is not, either
    return edit.unknown(node.name, node.result.shape, node.result.dtype)


def _value(node: Node, operands: list[Array]) -> Array:
    # overflow and NaN are values here, as in the interpreter
    with np.errstate(all="ignore"):
        return np.asarray(OPS[node.kind].evaluate(*operands, **node.attributes), order="C")
