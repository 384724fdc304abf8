"""Which constants each action of a digital machine is made of.

A machine counts actions by these names; a chip whose `cost` names a table is given the price of
each of them, `None` where the tables do not have the constants.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tetrapla.simulators.recipes_ import Bank, Book, Price

# a table may have the whole or its parts
_SUMS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "mac.int8": (("mac.int8",), ("mul.int8", "add.int32")),
    "mac.bf16": (("mac.bf16",), ("mul.bf16", "add.fp32")),
    "mac.fp16": (("mac.fp16",), ("mul.fp16", "add.fp32")),
    "accumulator.add": (("add.int32",),),
    "requantize.op": (("mul.fp32", "add.fp32", "add.int32"),),
    "vector.op": (("mul.fp32", "add.fp32"),),
}
# int8 multipliers do wider operands in passes, as TPU v1 does
_PASSES: Final = {"mac.int16x8": 2, "mac.int16": 4}
_MEMORIES: Final = ("accumulator", "unified_buffer", "weight_memory")
# gated 0.1 to ungated 0.35 of an active one: assumed, no publication gives it for an array
_IDLE: Final = (0.1, 0.1, 0.35)
# multiply-adds of a transcendental function: a polynomial after a reduction of the range
_FUNCTION: Final = (8.0, 4.0, 16.0)


def prices(
    book: Book, banks: Mapping[str, Bank], number_format: str
) -> dict[str, Price | None]:
    """The prices of arithmetic and on-chip memories.

    Args:
        book: tables and node.
        banks: of the memories.
        number_format: the chip's default, whose MAC an idle one is a share of.
    """
    found: dict[str, Price | None] = {
        action: _first(book, ways) for action, ways in _SUMS.items()
    }
    for action, passes in _PASSES.items():
        price = found["mac.int8"]
        why = f"{passes} passes through the int8 multiplier"
        found[action] = price and price.times(passes, why)
    active = found.get(f"mac.{number_format}") or found["mac.int8"] or found["mac.bf16"]
    share, low, high = _IDLE
    for action, what in (("mac.idle", "an idle PE"), ("mac.zero", "a PE gated by a zero")):
        why = f"{what} takes {share} of an active one if its clock is gated, {high} if not"
        found[action] = active and active.times(share, why, low, high)
    register = book.total("register") or book.total("add.int8")
    found["array.shift_byte"] = register and _byte_of(register, book)
    function, least, most = _FUNCTION
    operation = found["vector.op"]
    why = f"a function takes {function:g} ({least:g} to {most:g}) multiply-adds"
    found["vector.function"] = operation and operation.times(function, why, least, most)
    for memory in _MEMORIES:
        bank = banks.get(memory)
        for action in ("read", "write"):
            price = None if bank is None else book.memory_byte(action, bank)
            found[f"{memory}.{action}_byte"] = price
    return found


def _first(book: Book, ways: tuple[tuple[str, ...], ...]) -> Price | None:
    for names in ways:
        price = book.total(*names)
        if price is not None:
            return price
    return None


def _byte_of(register: Price, book: Book) -> Price:
    """A byte through a register, or through what stands for one."""
    for table in book.tables:
        for record in table.named("register"):
            return register.times(8 / record.bits, "a byte of the register")
    return register.times(1.0, "an 8-bit register priced as an addition of 8 bits")
