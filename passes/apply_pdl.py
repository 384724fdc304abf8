"""A user's own patterns, from a file of PDL text; `pdl_` shows one.

before   a = nn.neg(x)          after   y = nn.relu(x)
         b = nn.neg(a)
         y = nn.relu(b)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tetrapla.ir.errors import IRError, ModelError
from tetrapla.ir.module import Module
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.pdl_ import rewritten, rules


@dataclass(frozen=True)
class ApplyPdl(Pass):
    """What a user's patterns do to values is the user's choice, so there is no bound.

    Args:
        file: the path of the text; nothing is done if it is empty.
    """

    max_rel_error: ClassVar[float] = float("inf")
    file: str = ""

    def __call__(self, module: Module) -> Module:
        if not self.file:
            return module
        try:
            text = Path(self.file).read_text("utf-8")
        except (OSError, UnicodeDecodeError, ValueError):
            raise ModelError(
                f"file must be a file of PDL text, not '{self.file}'; name one that exists"
            ) from None
        try:
            return rewritten(module, rules(text))
        except IRError as error:
            gap = "" if str(error)[:1].isdigit() else " "  # a line and column follow at once
            raise IRError(f"{self.file}:{gap}{error}") from None
