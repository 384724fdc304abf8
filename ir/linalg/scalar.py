"""The body of a loop nest: scalar arithmetic, as lines of arith and math.

A body is written by calling methods, as NumPy's expressions are; each appends a line. Narrow
floats (f16, bf16) are computed in f32 and rounded once, as NumPy does: for one sum, product,
quotient or root that equals rounding the exact result (24 bits are at least 2 * 11 + 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tetrapla.ir.linalg.element import (
    COMPUTED,
    held_as,
    inside,
    is_float,
    is_unsigned,
    literal,
)
from tetrapla.ir.op import Tensor


class Held(NamedTuple):
    """A tensor in the text: its name and its type (by the project's names)."""

    name: str
    type: Tensor

    @property
    def spelled(self) -> str:
        """Its type as MLIR reads it, with the element's type in memory."""
        return spelled(self.type)


class Scalar(NamedTuple):
    """A number in the text: its name and its element type."""

    name: str
    dtype: str


def spelled(type_: Tensor) -> str:
    """A tensor's type as MLIR reads it."""
    return str(Tensor(type_.shape, held_as(type_.dtype)))


# instruction for floats, signed and unsigned integers
_ARITHMETIC = {
    "add": ("addf", "addi", "addi"),
    "sub": ("subf", "subi", "subi"),
    "mul": ("mulf", "muli", "muli"),
    "div": ("divf", "divsi", "divui"),
    "rem": ("remf", "remsi", "remui"),
    "max": ("maximumf", "maxsi", "maxui"),
    "min": ("minimumf", "minsi", "minui"),
}


class Body:
    """The lines of one body; names are its own."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._count = 0

    def emit(self, text: str, dtype: str) -> Scalar:
        """One line with a result."""
        self._count += 1
        name = f"%s{self._count}"
        self.lines.append(f"{name} = {text}")
        return Scalar(name, dtype)

    def number(self, value: float, dtype: str) -> Scalar:
        """A constant."""
        return self.emit(f"arith.constant {literal(value, dtype)}", dtype)

    def like(self, value: float, x: Scalar) -> Scalar:
        """A constant of the element type of `x`."""
        return self.number(value, x.dtype)

    # numbers

    def add(self, a: Scalar, b: Scalar) -> Scalar:
        return self._arithmetic("add", a, b)

    def sub(self, a: Scalar, b: Scalar) -> Scalar:
        return self._arithmetic("sub", a, b)

    def mul(self, a: Scalar, b: Scalar) -> Scalar:
        return self._arithmetic("mul", a, b)

    def div(self, a: Scalar, b: Scalar) -> Scalar:
        return self._arithmetic("div", a, b)

    def rem(self, a: Scalar, b: Scalar) -> Scalar:
        """The remainder with the sign of `a`."""
        return self._arithmetic("rem", a, b)

    def maximum(self, a: Scalar, b: Scalar) -> Scalar:
        """The larger one; NaN if either is."""
        return self._arithmetic("max", a, b)

    def minimum(self, a: Scalar, b: Scalar) -> Scalar:
        """The smaller one; NaN if either is."""
        return self._arithmetic("min", a, b)

    def negative(self, x: Scalar) -> Scalar:
        if not is_float(x.dtype):
            return self.sub(self.like(0, x), x)

        def call(wide: Scalar) -> Scalar:
            return self.emit(f"arith.negf {wide.name} : {wide.dtype}", wide.dtype)

        return self._by_wide(call, x)

    def math(self, function: str, *operands: Scalar) -> Scalar:
        """A function of the math dialect on floats."""

        def call(*wide: Scalar) -> Scalar:
            names = ", ".join(each.name for each in wide)
            dtype = wide[0].dtype
            return self.emit(f"math.{function} {names} : {dtype}", dtype)

        return self._by_wide(call, *operands)

    def multiply_add(self, a: Scalar, b: Scalar, c: Scalar) -> Scalar:
        """``a * b + c``, rounded once."""
        return self.math("fma", a, b, c)

    # truths

    def compare(self, predicate: str, a: Scalar, b: Scalar) -> Scalar:
        """`predicate` is eq, ne, lt, le, gt or ge; with NaN only ne holds."""
        if is_float(a.dtype):
            a, b = self._widened(a), self._widened(b)
            word = "une" if predicate == "ne" else f"o{predicate}"
            return self.emit(f"arith.cmpf {word}, {a.name}, {b.name} : {a.dtype}", "i1")
        sign = "u" if is_unsigned(a.dtype) else "s"
        word = predicate if predicate in ("eq", "ne") else sign + predicate
        return self.emit(f"arith.cmpi {word}, {a.name}, {b.name} : {inside(a.dtype)}", "i1")

    def is_nan(self, x: Scalar) -> Scalar:
        return self.compare("ne", x, x)

    def select(self, condition: Scalar, a: Scalar, b: Scalar) -> Scalar:
        text = f"arith.select {condition.name}, {a.name}, {b.name} : {inside(a.dtype)}"
        return self.emit(text, a.dtype)

    def bitwise(self, instruction: str, a: Scalar, b: Scalar) -> Scalar:
        """`instruction` is andi, ori, xori, shli, shrsi or shrui."""
        text = f"arith.{instruction} {a.name}, {b.name} : {inside(a.dtype)}"
        return self.emit(text, a.dtype)

    # places

    def index(self, axis: int) -> Scalar:
        """Where the loop of an axis stands."""
        return self.emit(f"linalg.index {axis} : index", "index")

    def affine(self, expression: str, *places: Scalar) -> Scalar:
        """An affine expression of `places`, called d0, d1, .. in it."""
        dims = ", ".join(f"d{i}" for i in range(len(places)))
        names = ", ".join(place.name for place in places)
        text = f"affine.apply affine_map<({dims}) -> ({expression})>({names})"
        return self.emit(text, "index")

    def at(self, x: Held, places: Sequence[Scalar]) -> Scalar:
        """The element of a tensor at these indices."""
        names = ", ".join(place.name for place in places)
        raw = self.emit(f"tensor.extract {x.name}[{names}] : {x.spelled}", x.type.dtype)
        return self.loaded(raw)

    def loop(
        self,
        first: Scalar | int,
        behind: Scalar | int,
        starts: Sequence[Scalar],
        step: Callable[[Scalar, Sequence[Scalar]], Sequence[Scalar]],
    ) -> list[Scalar]:
        """The values that `step` hands on from index to index, after the last one."""
        self._count += 1
        stem = f"%s{self._count}"
        low, high = (
            self.number(i, "index") if isinstance(i, int) else i for i in (first, behind)
        )
        one = self.number(1, "index")
        kinds = ", ".join(inside(each.dtype) for each in starts)
        held = [Scalar(f"{stem}_{i}", each.dtype) for i, each in enumerate(starts)]
        given = ", ".join(f"{h.name} = {s.name}" for h, s in zip(held, starts, strict=True))
        self.lines.append(
            f"{stem}:{len(starts)} = scf.for {stem}_at = {low.name} to {high.name} "
            f"step {one.name} iter_args({given}) -> ({kinds}) {{"
        )
        after = step(Scalar(f"{stem}_at", "index"), held)
        names = ", ".join(each.name for each in after)
        self.lines.append(f"scf.yield {names} : {kinds} }}")
        return [Scalar(f"{stem}#{i}", each.dtype) for i, each in enumerate(starts)]

    # element types

    def cast(self, x: Scalar, dtype: str) -> Scalar:
        """The number in another element type, as NumPy's `astype`."""
        from tetrapla.ir.linalg.cast import converted

        return converted(self, x, dtype)

    def loaded(self, raw: Scalar) -> Scalar:
        """A number as it lies in memory, in its width of its own."""
        return self._resized(raw, "trunci")

    def stored(self, x: Scalar) -> Scalar:
        """A number as it shall lie in memory."""
        return self._resized(x, "extui" if is_unsigned(x.dtype) else "extsi")

    def _resized(self, x: Scalar, instruction: str) -> Scalar:
        memory, own = held_as(x.dtype), inside(x.dtype)
        if memory == own:
            return x
        source, target = (memory, own) if instruction == "trunci" else (own, memory)
        return self.emit(f"arith.{instruction} {x.name} : {source} to {target}", x.dtype)

    def _arithmetic(self, name: str, a: Scalar, b: Scalar) -> Scalar:
        floats, signed, unsigned = _ARITHMETIC[name]
        if is_float(a.dtype):

            def call(x: Scalar, y: Scalar) -> Scalar:
                return self.emit(f"arith.{floats} {x.name}, {y.name} : {x.dtype}", x.dtype)

            return self._by_wide(call, a, b)
        instruction = unsigned if is_unsigned(a.dtype) else signed
        if a.dtype == "i1":  # truths add and multiply as NumPy's do
            instruction = {"addi": "ori", "muli": "andi"}.get(instruction, instruction)
        return self.bitwise(instruction, a, b)

    def _by_wide(self, call: Callable[..., Scalar], *operands: Scalar) -> Scalar:
        """`call` in a type that computes, rounded once to the operands' own."""
        dtype = operands[0].dtype
        assert is_float(dtype), f"a function of floats is given {dtype}"
        return self.cast(call(*map(self._widened, operands)), dtype)

    def _widened(self, x: Scalar) -> Scalar:
        return x if x.dtype in COMPUTED else self.cast(x, "f32")
