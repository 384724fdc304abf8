"""Transposes sink towards the outputs, where two meet and become one or none.

    before   a = nn.transpose(x) {perm = (0, 2, 3, 1)}      after   y = nn.relu(nn.add(x, @b'))
             b = nn.add(a, @b)                                      (b' = b, transposed)
             c = nn.relu(b)
             y = nn.transpose(c) {perm = (0, 3, 1, 2)}

A transpose sinks through element-wise operators (both operands transposed alike, or one and a
constant, which is transposed instead), concatenations, slices, pads and reductions that do not
round. One that moves only axes of size 1 becomes a reshape. What is read more than once stays.
"""

from __future__ import annotations

from dataclasses import dataclass

from tetrapla.ir.graph import Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rules_ import shapes, transposes
from tetrapla.passes.sinking_ import EXACT, reduced

# reductions whose result does not depend on the order of the elements
ORDERLESS = ("nn.reduce_max", "nn.reduce_min")


@dataclass(frozen=True)
class EliminateTransposes(Pass):
    """Elements are computed as before and stand elsewhere in between: bit exact."""

    def __call__(self, module: Module) -> Module:
        while True:
            found = rewrite(module, transposes, *EXACT, _extreme)
            # only now, so that a transpose of one axis still meets its inverse
            found = rewrite(found, _reshaped, shapes)
            if found is module:
                return module
            module = found  # where a shape that said nothing went, transposes sink on


def _reshaped(edit: Edit, node: Node) -> Value | None:
    """A transpose that keeps the order of the axes of more than one element."""
    if node.kind != "nn.transpose":
        return None
    (x,) = node.operands
    wide = [axis for axis in node.ints("perm") if x.shape[axis] != 1]
    if wide != sorted(wide):
        return None
    return edit.op("nn.reshape", [x], {"shape": node.result.shape})


def _extreme(edit: Edit, node: Node) -> Value | None:
    return reduced(edit, node) if node.kind in ORDERLESS else None
