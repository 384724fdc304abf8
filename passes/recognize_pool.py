"""A mean over height and width becomes a global average pool.

    before   y = nn.reduce_mean(x) {axes = (2, 3)}        after   y = nn.global_average_pool(x)

Of a value of rank 4; without kept axes a reshape follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tetrapla.ir.graph import Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.match_ import REAL
from tetrapla.passes.pass_ import Pass


@dataclass(frozen=True)
class RecognizePool(Pass):
    """The same sum, which the pool forms in the type of the value.

    A sum of n numbers is within n u of them, relative to the sum of their magnitudes (Higham,
    Accuracy and Stability of Numerical Algorithms, 2002, section 4.2; u = 2^-24), and the
    quotient adds u to either form: (n + 2) u, 7.5e-4 for a plane of 112 x 112.
    """

    max_rel_error: ClassVar[float] = (112 * 112 + 2) * 2.0**-24

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _pool)


def _pool(edit: Edit, node: Node) -> Value | None:
    if node.kind != "nn.reduce_mean" or node.result.dtype not in REAL:
        return None
    (x,) = node.operands
    if len(x.shape) != 4 or {axis % 4 for axis in node.ints("axes")} != {2, 3}:
        return None
    if node.int("keepdims"):
        return edit.op("nn.global_average_pool", [x])
    pooled = edit.op("nn.global_average_pool", [x], name=f"{node.name}.pooled")
    return edit.op("nn.reshape", [pooled], {"shape": node.result.shape})
