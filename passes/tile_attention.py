"""Attention by tiles of keys: the softmax is formed online, without a row of scores.

    before   y = nn.attention(q, k, v)            after   y = nn.attention(q, k, v)
                 {block = 0}                                  {block = 64}

The tile is a choice of the machine (what fits its memory beside the queries), so it is an
option. An attention of no more keys than a tile holds keeps the plain form, which is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array, Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.pass_ import Pass


@dataclass(frozen=True)
class TileAttention(Pass):
    """The same terms, summed tile by tile.

    With u = 2^-24: a sum over S keys is within S u of its terms in either form; the tiled one
    multiplies what it has by exp(old - new maximum) once per tile, which adds an exponential
    (2 u) and a product, and it divides last. At S = 1024 keys and tiles of one key that is
    2 S u + 3 S u + 2 u, for the sum and for the mixture alike: twice that, relative to the
    largest of v, which a row that sees one key attains.

    Attributes:
        block: keys per tile; 0 is the plain form.
    """

    max_rel_error: ClassVar[float] = 2 * (5 * 1024 + 2) * 2.0**-24

    block: int = 64

    def __post_init__(self) -> None:
        if self.block < 0:
            raise SpecError(
                f"block must be 0 or more keys, not {self.block}; give 0 for the plain form"
            )

    @classmethod
    def example(cls, module: Module, inputs: Mapping[str, Array]) -> Self:
        del module, inputs
        return cls(block=2)

    def __call__(self, module: Module) -> Module:
        def tiled(edit: Edit, node: Node) -> Value | None:
            if node.kind != "nn.attention":
                return None
            block = self.block if node.operands[1].shape[-2] > self.block else 0
            if node.int("block") == block:
                return None
            return edit.op(node.kind, node.operands, {**node.attributes, "block": block})

        return rewrite(module, tiled)
