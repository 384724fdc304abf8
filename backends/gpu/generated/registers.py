"""Writing straight-line code: registers with arithmetic, coordinates, and what is folded.

A `Register` stands for an instruction of a `Code`; arithmetic on it appends instructions. Equal
instructions are one, and what does nothing (``+ 0``, ``* 1``, a remainder by more than the
number can be) is left out. Of a coordinate it is known which digit of which number it is, so
that coordinates that are put together again cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

from tetrapla.ir.graph import DTYPES
from tetrapla.simulators.gpu.code import Instruction

COMPARISONS = ("equal", "less", "less_or_equal")
Number: TypeAlias = "Register | float"


@dataclass(frozen=True)
class Register:
    """A number in the making; `number` is the instruction's."""

    code: Code
    number: int

    @property
    def dtype(self) -> str:
        """Of the register."""
        return self.code.instructions[self.number].dtype

    def __add__(self, other: Number) -> Register:
        return self.code.op("add", self, other)

    def __radd__(self, other: Number) -> Register:
        return self.code.op("add", self, other)

    def __sub__(self, other: Number) -> Register:
        return self.code.op("sub", self, other)

    def __rsub__(self, other: Number) -> Register:
        return self.code.op("sub", other, self)

    def __mul__(self, other: Number) -> Register:
        return self.code.op("mul", self, other)

    def __rmul__(self, other: Number) -> Register:
        return self.code.op("mul", self, other)

    def __truediv__(self, other: Number) -> Register:
        return self.code.op("div", self, other)

    def __rtruediv__(self, other: Number) -> Register:
        return self.code.op("div", other, self)

    def __floordiv__(self, other: int) -> Register:
        return self.code.op("floor_div", self, other)

    def __mod__(self, other: int) -> Register:
        return self.code.op("remainder", self, other)

    def __neg__(self) -> Register:
        return self.code.op("neg", self)

    def __lt__(self, other: Number) -> Register:
        return self.code.op("less", self, other)

    def __le__(self, other: Number) -> Register:
        return self.code.op("less_or_equal", self, other)

    def __gt__(self, other: Number) -> Register:
        return self.code.op("less", other, self)

    def __ge__(self, other: Number) -> Register:
        return self.code.op("less_or_equal", other, self)

    def equal(self, other: Number) -> Register:
        """Whether the two are equal."""
        return self.code.op("equal", self, other)

    def __and__(self, other: Register) -> Register:
        return self.code.op("and", self, other)

    def __or__(self, other: Register) -> Register:
        return self.code.op("or", self, other)

    def __invert__(self) -> Register:
        return self.code.op("not", self)

    def to(self, dtype: str) -> Register:
        """In another type: truncated to integers, a truth of what is not 0."""
        return self if dtype == self.dtype else self.code.op("cast", self, dtype=dtype)


@dataclass(frozen=True)
class _Digit:
    """``number // divisor % size``."""

    number: int
    divisor: int
    size: int


class Code:
    """Instructions of a kernel of `rows` places with `length` lanes each."""

    def __init__(self, rows: int, length: int) -> None:
        self.instructions: list[Instruction] = []
        self._numbers: dict[Instruction, int] = {}
        self._below: dict[int, int] = {}  # exclusive; of integers that are not negative
        self._digits: dict[int, _Digit] = {}
        self.rows, self.length = rows, length
        self.row = self._counter("row", rows)
        self.lane = self._counter("lane", length) if length > 1 else self.constant(0)

    def constant(self, value: float, dtype: str = "i32") -> Register:
        """A number in a type."""
        if DTYPES[dtype].kind == "f":
            text = repr(float(DTYPES[dtype].type(value)))
        else:
            text = str(int(value))
        made = self._made(Instruction("constant", (), dtype, text))
        if dtype == "i32" and value >= 0:
            self._below[made.number] = int(value) + 1
        return made

    def op(self, name: str, *given: Number, dtype: str = "") -> Register:
        """An operation on registers and numbers; a number takes the registers' type."""
        (first, *_) = [each for each in given if isinstance(each, Register)]
        if name == "select":  # the condition's type says nothing of the others'
            (first, *_) = [each for each in given[1:] if isinstance(each, Register)]
        args = [
            each if isinstance(each, Register) else self.constant(each, first.dtype)
            for each in given
        ]
        held = dtype or ("i1" if name in COMPARISONS else first.dtype)
        folded = self._folded(name, args) if held == "i32" and first.dtype == "i32" else None
        if folded is not None:
            return folded
        made = self._made(Instruction(name, tuple(a.number for a in args), held))
        if held == "i32":
            self._bounded(made, name, args)
        return made

    def load(
        self, buffer: str, offset: Register, inside: Register | None, dtype: str
    ) -> Register:
        """An element of a buffer; 0 where `inside` is false."""
        args = (offset,) if inside is None else (offset, inside)
        return self._made(Instruction("load", tuple(a.number for a in args), dtype, buffer))

    def given(self, dtype: str) -> Register:
        """What an epilogue acts on."""
        return self._made(Instruction("given", (), dtype))

    def regrouped(
        self, at: Sequence[Register], shape: Sequence[int], to: Sequence[int]
    ) -> tuple[Register, ...]:
        """Coordinates in `shape` as those of the same element in `to`, a reshape of it.

        Axes are joined no further than they must be, so that a coordinate which is an axis of
        both stays as it is.
        """
        found: list[Register] = []
        i = j = 0
        while i < len(shape) or j < len(to):
            first, second = i, j
            i, j = min(i + 1, len(shape)), min(j + 1, len(to))
            while prod(shape[first:i]) != prod(to[second:j]):
                if prod(shape[first:i]) < prod(to[second:j]):
                    i += 1
                else:
                    j += 1
            part = self.position(at[first:i], shape[first:i])
            found += self.coordinates(part, to[second:j])
        return tuple(found)

    def coordinates(self, flat: Register, shape: Sequence[int]) -> tuple[Register, ...]:
        """The digits of a row-major position."""
        return tuple(
            self._digit(flat, prod(shape[axis + 1 :]), size) for axis, size in enumerate(shape)
        )

    def position(self, coordinates: Sequence[Register], shape: Sequence[int]) -> Register:
        """The row-major position; digits that lie side by side are read as one."""
        merged: list[tuple[Register, int]] = []
        for register, size in zip(coordinates, shape, strict=True):
            if size == 1:
                continue
            joined = self._joined(merged[-1][0], register, size) if merged else None
            if joined is None:
                merged.append((register, size))
            else:
                merged[-1] = joined, merged[-1][1] * size
        total, inner = self.constant(0), 1
        for register, size in reversed(merged):
            total, inner = register * inner + total, inner * size
        return total

    def needed(self, *results: Register) -> tuple[tuple[Instruction, ...], tuple[int, ...]]:
        """The instructions that the results need, and the results' numbers among them."""
        kept = {each.number for each in results}
        for number in reversed(range(len(self.instructions))):
            if number in kept:
                kept |= set(self.instructions[number].args)
        order = {old: new for new, old in enumerate(sorted(kept))}
        made = tuple(
            replace(each, args=tuple(order[a] for a in each.args))
            for number, each in enumerate(self.instructions)
            if number in kept
        )
        return made, tuple(order[each.number] for each in results)

    def _counter(self, name: str, size: int) -> Register:
        made = self._made(Instruction(name, (), "i32"))
        self._below[made.number] = size
        return made

    def _made(self, each: Instruction) -> Register:
        if each not in self._numbers:
            self._numbers[each] = len(self.instructions)
            self.instructions.append(each)
        return Register(self, self._numbers[each])

    def _folded(self, name: str, args: Sequence[Register]) -> Register | None:
        """What an operation on integers is without instructions."""
        numbers = [self._number(register) for register in args]
        known = [n for n in numbers if n is not None]
        if len(known) == len(args) and name in _INTEGERS:
            return self.constant(_INTEGERS[name](*known))
        if len(args) != 2:
            return None
        first, second = args
        x, y = numbers
        neutral = 0 if name in ("add", "sub") else 1
        if name in _INTEGERS and name != "remainder" and y == neutral:
            return first
        if name in ("add", "mul") and x == neutral:
            return second
        if name == "mul" and 0 in (x, y):
            return self.constant(0)
        below = self._below.get(first.number)
        if below is not None and y is not None and below <= y:
            return {"remainder": first, "floor_div": self.constant(0)}.get(name)
        return None

    def _number(self, register: Register) -> int | None:
        each = self.instructions[register.number]
        return int(each.value) if each.op == "constant" else None

    def _bounded(self, made: Register, name: str, args: Sequence[Register]) -> None:
        """Note how large the result of an operation on integers can be."""
        below = [self._below.get(a.number) for a in args]
        if len(below) != 2 or None in below:
            return
        a, b = (n for n in below if n is not None)
        most = {
            "add": a + b - 1,
            "mul": (a - 1) * (b - 1) + 1,
            "floor_div": (a - 1) // max(b - 1, 1) + 1,
            "remainder": b - 1,
        }.get(name)
        if most is not None:
            self._below[made.number] = most

    def _digit(self, flat: Register, divisor: int, size: int) -> Register:
        if size == 1:
            return self.constant(0)
        known = self._digits.get(flat.number)
        # of a digit that was cut short (a slice), the number's own digits are others
        if known is not None and known.size % (divisor * size) == 0:
            flat = Register(self, known.number)
            divisor *= known.divisor
        made = flat // divisor % size
        if self._number(made) is None:
            self._digits.setdefault(made.number, _Digit(flat.number, divisor, size))
        return made

    def _joined(self, high: Register, low: Register, size: int) -> Register | None:
        a, b = self._digits.get(high.number), self._digits.get(low.number)
        if a is None or b is None or a.number != b.number or b.size != size:
            return None
        if a.divisor != b.divisor * size:
            return None
        return self._digit(Register(self, a.number), b.divisor, a.size * size)


_INTEGERS: Mapping[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floor_div": lambda a, b: a // b,
    "remainder": lambda a, b: a % b,
}
