"""Nodes and weights that no output needs are dropped; inputs stay, they are the interface.

before   a = nn.relu(x)          after   a = nn.relu(x)
         b = nn.softmax(x)               output a
         output a
"""

from __future__ import annotations

from dataclasses import dataclass

from tetrapla.ir.module import Module
from tetrapla.passes.bodies_ import within
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rebuild_ import Rebuild


@dataclass(frozen=True)
class EliminateDeadCode(Pass):
    """Every operator is pure, so what nobody reads may go."""

    def __call__(self, module: Module) -> Module:
        return _once(within(module, _once))


def _once(module: Module) -> Module:
    new = Rebuild(module)
    alive = {value.index for _, value in new.graph.outputs}
    for node in reversed(new.graph.nodes):
        if any(value.index in alive for value in node.results):
            alive.update(value.index for value in node.operands)
    for node in new.graph.nodes:
        if any(value.index in alive for value in node.results):
            new.copy(node)
    return new.finish()
