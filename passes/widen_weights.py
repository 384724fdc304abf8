"""Integer weights under 8 bits are held in 8, for a machine that stores nothing smaller.

    before   a = qnn.conv2d(q, @w : i4)             after   a = qnn.conv2d(q, @w.i8 : i8)

The numbers stay; what narrower weights save in memory and traffic is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

from tetrapla.ir.module import Module
from tetrapla.ir.widen import widened
from tetrapla.passes.pass_ import Pass


@dataclass(frozen=True)
class WidenWeights(Pass):
    """The products are of the same integers, so every bit stays (`ir.widen`)."""

    def __call__(self, module: Module) -> Module:
        return widened(module)
