"""A clip whose upper bound real data does not reach becomes a ReLU, for what works on ReLUs.

    before   z = nn.clip(y) {low = 0, high = 6}           after   z = nn.relu(y)

`equalize` and `smooth_quant` move factors through a ReLU but not through a ReLU6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar, Self

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array, Node
from tetrapla.ir.module import Module
from tetrapla.passes.calibrate_ import Ranges, ranges
from tetrapla.passes.context_ import Context
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rebuild_ import Rebuild


@dataclass(frozen=True)
class RelaxClips(Pass):
    """Exact on the calibration data; elsewhere a value may exceed its bound without limit.

    Args:
        ranges: of the module's values; None takes them from the context.
    """

    max_rel_error: ClassVar[float] = float("inf")
    ranges: Ranges | None = None

    def __call__(self, module: Module) -> Module:
        new = Rebuild(module)
        for node in new.graph.nodes:
            if _is_relu_like(node) and self._unreached(node):
                operands = [new.of(value) for value in node.operands]
                made = new.builder.op("nn.relu", operands, name=node.name)
                new.set(node.result, made)
            else:
                new.copy(node)
        return new.finish()

    def bound(self, module: Module, context: Context) -> Self:
        if self.ranges is not None or not any(map(_is_relu_like, module.graph.nodes)):
            return self
        return replace(self, ranges=context.ranges_of(module, "minmax", 100.0))

    @classmethod
    def example(cls, module: Module, inputs: Mapping[str, Array]) -> Self:
        return cls(ranges(module, inputs))

    def _unreached(self, node: Node) -> bool:
        """Whether no value comes up to the bound, which may be infinite."""
        if self.ranges is None:
            raise ModelError(
                f"{node.name}: a clip must have a calibrated range to be relaxed, not none; "
                "run the pass in a context"
            )
        high = node.float("high")
        return high == inf or self.ranges.node(node.name)[1] < high


def _is_relu_like(node: Node) -> bool:
    return node.kind == "nn.clip" and node.result.dtype == "f32" and node.float("low") == 0
