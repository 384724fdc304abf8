"""Graphs that say the same in a roundabout way are written the short way.

    before   a = nn.transpose(x) {perm = (1, 0)}          after   y = nn.sub(x, z)
             b = nn.transpose(a) {perm = (1, 0)}
             c = nn.neg(z)
             d = nn.mul(b, @ones)
             y = nn.add(d, c)

A rule is one function in `rules_` (what computes) or one entry in `rules_pdl_` (what does not);
docs/decisions/0008-patterns.md has the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tetrapla.ir.module import Module
from tetrapla.passes import pattern_, pdl_, rules_pdl_
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.rules_ import RULES


@dataclass(frozen=True)
class Canonicalize(Pass):
    """Every rule keeps every bit, and the pass ends where none matches."""

    def __call__(self, module: Module) -> Module:
        while True:
            found = pattern_.rewritten(pdl_.rewritten(module, _pdl()), RULES)
            if found is module:
                return module
            module = found


@cache
def _pdl() -> pdl_.Rules:
    return pdl_.rules(rules_pdl_.text())
