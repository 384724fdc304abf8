"""Generated code in Triton: one line per instruction, in float32 and the module's integers.

A register is a vector over the rows of a program instance, or over its lanes, or both; Triton's
broadcasting joins them. What depends on neither has one element.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from tetrapla.backends.gpu.tiles import power_of_two
from tetrapla.backends.gpu.triton.dots import nothing
from tetrapla.backends.gpu.triton.steps import stepped
from tetrapla.backends.gpu.triton.text import (
    CASTS,
    REGISTERS,
    TYPES,
    Writer,
    cast,
    number,
    quotient,
)
from tetrapla.ir.graph import DTYPES
from tetrapla.ir.nn.reduce import extremes
from tetrapla.simulators.gpu.code import REDUCTIONS, Instruction
from tetrapla.simulators.gpu.kernels import Expression
from tetrapla.simulators.gpu.steps import Apply, Step

_INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "floor_div": "//",
    "remainder": "%",
    "equal": "==",
    "less": "<",
    "less_or_equal": "<=",
    "and": "&",
    "or": "|",
    "xor": "^",
    "shift_left": "<<",
    "shift_right": ">>",
}
_CALLS = {
    "neg": "-{0}",
    "not": "~{0}",
    "div": "tl.div_rn({0}, {1})",
    "fma": "tl.fma({0}, {1}, {2})",
    "sqrt": "tl.sqrt_rn({0})",
    "abs": "tl.abs({0})",
    "exp": "tl.exp({0})",
    "log": "tl.log({0})",
    "sin": "tl.sin({0})",
    "cos": "tl.cos({0})",
    "erf": "tl.erf({0})",
    "floor": "tl.floor({0})",
    "ceil": "tl.ceil({0})",
    "round": "to_even({0})",
    "select": "tl.where({0}, {1}, {2})",
}
_ALONG = {
    "sum": "tl.sum({0}, axis=1, keep_dims=True)",
    "product": "tl.reduce({0}, 1, times, keep_dims=True)",
    "largest": "tl.max({0}, axis=1, keep_dims=True)",
    "smallest": "tl.min({0}, axis=1, keep_dims=True)",
}


def expression(kernel: Expression, write: Writer) -> None:
    """Write a kernel of generated code: rows, lanes, instructions, store."""
    rows = f"{write.program(0)} * {kernel.block} + tl.arange(0, {kernel.block})"
    if kernel.length > 1:
        lanes = power_of_two(kernel.length)
        lane = f"tl.arange(0, {lanes})[None, :]"
        lane = f"{lane}.to(tl.int64)" if write.wide else lane
        write(f"row = ({rows})[:, None]", f"lane = {lane}")
        write(f"in_row = row < {kernel.rows}", f"in_lane = lane < {kernel.length}")
    else:
        write(f"row = {rows}", f"in_row = row < {kernel.rows}")
    lines = Lines(kernel.code, write, Frame(kernel.length > 1), (kernel.value, kernel.place))
    lines.all()
    store(kernel, lines, write)


def store(kernel: Expression, lines: Lines, write: Writer) -> None:
    """Write the steps and the store of what the code has made."""
    write(f"y = r{kernel.value}")
    over = lines.joined(kernel.place, (True, False))
    place, mask = f"({lines.spread(kernel.place, (True, False))})", lines.mask(over)
    channel = f"({quotient(place, kernel.inner, kernel.channels)})"
    held = kernel.code[kernel.value].dtype
    register = REGISTERS.get(held, held) if kernel.steps else held
    if kernel.steps and register != held:
        write(f"y = y.to({TYPES[register]})")
    flat = Frame(kernel.length > 1, place, "", mask, "")
    register = steps(kernel.steps, write, channel, mask, register, flat)
    write.store(kernel.output, place, mask, register)


@dataclass(frozen=True)
class Frame:
    """The names of where code stands: rows, lanes, whether they are inside.

    Attributes:
        wide: registers have an axis of rows and one of lanes; else one of rows alone.
        row: text of the rows' numbers.
        lane: likewise.
        in_row: text of which rows exist.
        in_lane: likewise.
    """

    wide: bool
    row: str = "row"
    lane: str = "lane"
    in_row: str = "in_row"
    in_lane: str = "in_lane"


def steps(
    listed: Sequence[Step], write: Writer, channel: str, mask: str, register: str, at: Frame
) -> str:
    """Write steps on `y`; returns the register type after them.

    Args:
        listed: in order.
        write: the kernel.
        channel: text of the parameters' numbers.
        mask: text of which parameters exist.
        register: the type of `y`.
        at: where generated code stands.
    """
    for step in listed:
        if isinstance(step, Apply):
            register = _apply(step, write, register, at)
        else:
            register = stepped(step, write, channel, mask, register)
    return register


def _apply(step: Apply, write: Writer, register: str, at: Frame) -> str:
    lines = Lines(step.code, write, at, (step.value,), register)
    lines.all()
    held = step.code[step.value].dtype
    wanted = REGISTERS[held]
    made = f"r{step.value}"
    write(f"y = {made}" if held == wanted else f"y = {made}.to({TYPES[wanted]})")
    return wanted


class Lines:
    """The lines of one piece of code; `over` says of each register what it runs over."""

    def __init__(
        self,
        code: Sequence[Instruction],
        write: Writer,
        at: Frame,
        stored: Collection[int],
        given: str = "",
    ) -> None:
        self.code, self.write, self.at, self.given = code, write, at, given
        self.literals = _literals(code, stored)
        # what becomes an address, where int32 may be too narrow for one
        self.places = _places(code, stored) if write.wide else set[int]()
        self.over: list[tuple[bool, bool]] = []
        for each in code:
            self.over.append(self._over(each))

    def all(self) -> None:
        """Every instruction."""
        for index in range(len(self.code)):
            self.one(index)

    def one(self, index: int) -> None:
        """One instruction; what it reads has been written."""
        if index not in self.literals:
            each = self.code[index]
            if index in self.places and each.dtype == "i32" and each.op in ("load", "cast"):
                each = replace(each, dtype="i64")
            text = self._text(each)
            if text != f"r{index}":
                self.write(f"r{index} = {text}")

    def _over(self, each: Instruction) -> tuple[bool, bool]:
        if each.op in ("row", "lane", "given"):
            return each.op != "lane", each.op != "row" and self.at.wide
        rows = any(self.over[a][0] for a in each.args)
        lanes = any(self.over[a][1] for a in each.args)
        return rows, lanes and each.op not in REDUCTIONS

    def _text(self, each: Instruction) -> str:
        args = [self.literals.get(a, f"r{a}") for a in each.args]
        if each.op in ("row", "lane"):
            return self.at.row if each.op == "row" else self.at.lane
        if each.op == "given":
            return "y" if each.dtype == self.given else f"y.to({TYPES[each.dtype]})"
        if each.op == "constant":
            shape = "(1, 1)" if self.at.wide else "(1,)"
            return f"tl.full({shape}, {_literal(each)}, {TYPES[each.dtype]})"
        if each.op == "load":
            return self._load(each)
        if each.op == "cast":
            return _cast(args[0], self.code[each.args[0]].dtype, each.dtype)
        if each.op in REDUCTIONS:
            return self._reduction(each, args[0])
        floats = each.dtype == "f32"
        if each.op in ("minimum", "maximum"):
            nan = ", propagate_nan=tl.PropagateNan.ALL" if floats else ""
            return f"tl.{each.op}({args[0]}, {args[1]}{nan})"
        if each.op in _INFIX:
            return f"{args[0]} {_INFIX[each.op]} {args[1]}"
        return _CALLS[each.op].format(*args)

    def _load(self, each: Instruction) -> str:
        place, *inside = each.args
        over = self.joined(place, (False, False))
        for condition in inside:
            over = self.joined(condition, over)
        offset = self.spread(place, over)
        mask = " & ".join([*filter(None, [self.mask(over)]), *(f"r{c}" for c in inside)])
        held = self.write.dtypes[each.value]
        masked = f", mask={mask}, other={nothing(held, 0)}" if mask else ""
        text = f"tl.load({self.write.pointers[each.value]} + {offset}{masked})"
        if held == "i1":
            return f"({text} != 0)"
        return text if held == each.dtype else f"{text}.to({TYPES[each.dtype]})"

    def _reduction(self, each: Instruction, x: str) -> str:
        return reduced(each, f"tl.where({self.at.in_lane}, {widened(each, x)}, {rest(each)})")

    def joined(self, register: int, over: tuple[bool, bool]) -> tuple[bool, bool]:
        """What a register and something else run over together."""
        own = self.over[register]
        return own[0] or over[0], own[1] or over[1]

    def spread(self, register: int, over: tuple[bool, bool]) -> str:
        """An offset with an element for all that it is read over."""
        own, text = self.over[register], f"r{register}"
        for have, want, name in zip(own, over, (self.at.row, self.at.lane), strict=True):
            if want and not have:
                text += f" + {name} * 0"
        return text

    def mask(self, over: tuple[bool, bool]) -> str:
        """The text of what is inside, of what runs over rows and lanes so."""
        named = zip((self.at.in_row, self.at.in_lane), over, strict=True)
        return " & ".join(name for name, held in named if held and name)


def rest(each: Instruction) -> str:
    """What a reduction is of nothing, as text."""
    low, high = extremes(DTYPES[each.dtype])
    neutral = {"sum": 0, "product": 1, "largest": low, "smallest": high}[each.op]
    if each.dtype != "f32":
        return str(int(neutral))
    finite = abs(neutral) < float("inf")
    return number(float(neutral)) if finite else f'float("{neutral}")'


def widened(each: Instruction, x: str) -> str:
    """A reduction's operand in a type that Triton reduces."""
    return f"{x}.to(tl.int32)" if each.dtype == "i1" else x


def reduced(each: Instruction, x: str) -> str:
    """The reduction along the lanes of a text, in its own type."""
    text = _ALONG[each.op].format(x)
    if each.dtype == "i1":
        return f"({text} != 0)"
    return text if each.dtype in ("f32", "i64") else f"{text}.to({TYPES[each.dtype]})"


def _places(code: Sequence[Instruction], stored: Collection[int]) -> set[int]:
    """The registers that addresses are made of."""
    found = {each.args[0] for each in code if each.op == "load"}
    found |= {register for register in stored if code[register].dtype == "i32"}
    for register in reversed(range(len(code))):
        if register in found and code[register].op != "load":
            found |= set(code[register].args)
    return found


def _literals(code: Sequence[Instruction], stored: Collection[int]) -> dict[int, str]:
    """Constants that are written where they are used: by infix operators, beside a vector.

    Triton gives a literal the type of the vector, which must be its own.
    """
    plain = {
        i: _literal(each)
        for i, each in enumerate(code)
        if each.op == "constant" and each.dtype in ("i32", "f32")
    }
    plain = {i: text for i, text in plain.items() if not text.startswith("float(")}
    used = set(stored)
    for each in code:
        vectors = [a for a in each.args if code[a].op != "constant"]
        if each.op not in _INFIX or not vectors:
            used |= set(each.args)
    return {i: text for i, text in plain.items() if i not in used}


def _literal(each: Instruction) -> str:
    if each.dtype != "f32":
        return each.value
    value = float(each.value)
    finite = abs(value) < float("inf")
    return number(value) if finite else f'float("{each.value}")'


def _cast(x: str, held: str, wanted: str) -> str:
    if wanted == "i1":
        return f"{x} != 0"
    if held == "f32" and wanted in CASTS:
        return cast(x, wanted)
    if held == "f32" and DTYPES[wanted].itemsize < 4:
        return f"{x}.to(tl.int32).to({TYPES[wanted]})"
    return f"{x}.to({TYPES[wanted]})"
