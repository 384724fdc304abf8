"""A call as its translator reads it: operands resolved, attributes of the expected kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tetrapla.frontend.onnx.node import Ints, Operand, Refusal, Scope
from tetrapla.frontend.relax.calls import Call


@dataclass(frozen=True)
class Asked:
    """One call with its operands; `label` is the layer's name."""

    call: Call
    operands: tuple[Operand | tuple[Operand, ...] | None, ...]
    label: str

    def tensor(self, index: int) -> Operand:
        """A required operand that is a tensor."""
        found = self.optional(index)
        if found is None:
            raise Refusal(f"its operand {index} is not there")
        return found

    def optional(self, index: int) -> Operand | None:
        """An operand that may be absent."""
        found = self.operands[index] if index < len(self.operands) else None
        if isinstance(found, tuple):
            raise Refusal(f"its operand {index} is a tuple")
        return found

    def listed(self, index: int) -> tuple[Operand, ...]:
        """A required operand that is a tuple of tensors."""
        found = self.operands[index]
        if not isinstance(found, tuple):
            raise Refusal(f"its operand {index} is no tuple")
        return found

    def int(self, key: str) -> int:
        """An attribute that is an integer or a truth."""
        found = self.call.attributes[key]
        if not isinstance(found, int):
            raise Refusal(f"{key} is {found!r}")
        return int(found)

    def float(self, key: str) -> float:
        """An attribute that is a number."""
        found = self.call.attributes[key]
        if not isinstance(found, int | float):
            raise Refusal(f"{key} is {found!r}")
        return float(found)

    def ints(self, key: str) -> Ints | None:
        """An attribute of integers, or None."""
        found = self.call.attributes[key]
        if found is None:
            return None
        if isinstance(found, int):
            return (int(found),)
        if not isinstance(found, tuple):
            raise Refusal(f"{key} is {found!r}")
        return tuple(int(each) for each in found)

    def some(self, key: str) -> Ints:
        """An attribute of integers that must be there."""
        found = self.ints(key)
        if found is None:
            raise Refusal(f"{key} is not given")
        return found

    def must_be(self, key: str, *allowed: object) -> None:
        """Refuse an attribute of any other value."""
        found = self.call.attributes.get(key)
        if found not in allowed:
            there = " or ".join(repr(each) for each in allowed)
            raise Refusal(f"{key} is {found!r}, and only {there} is translated")


Translate: TypeAlias = Callable[[Asked, Scope], "Operand | tuple[Operand, ...]"]
