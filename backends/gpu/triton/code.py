"""Generated code in Triton: one line per instruction, in float32 and the module's integers.

A register is a vector over the rows of a program instance, or over its lanes, or both; Triton's
broadcasting joins them. What depends on neither has one element.
"""

from __future__ import annotations

from tetrapla.backends.gpu.heads import power_of_two
from tetrapla.backends.gpu.triton.steps import REGISTERS, TYPES, Writer, number, quotient
from tetrapla.ir.graph import DTYPES
from tetrapla.ir.nn.reduce import extremes
from tetrapla.simulators.gpu.code import REDUCTIONS, Instruction
from tetrapla.simulators.gpu.kernels import Expression

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
}
_CALLS = {
    "neg": "-{0}",
    "not": "~{0}",
    "div": "tl.div_rn({0}, {1})",
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
    _Lines(kernel, write).all()


class _Lines:
    """The lines of one kernel; `over` says of each register if it runs over rows, lanes."""

    def __init__(self, kernel: Expression, write: Writer) -> None:
        self.kernel, self.write = kernel, write
        self.wide = kernel.length > 1
        self.over: list[tuple[bool, bool]] = []

    def all(self) -> None:
        """Everything."""
        kernel, write = self.kernel, self.write
        rows = f"tl.program_id(0) * {kernel.block} + tl.arange(0, {kernel.block})"
        if self.wide:
            lanes = power_of_two(kernel.length)
            write(f"row = ({rows})[:, None]", f"lane = tl.arange(0, {lanes})[None, :]")
            write(f"in_row = row < {kernel.rows}", f"in_lane = lane < {kernel.length}")
        else:
            write(f"row = {rows}", f"in_row = row < {kernel.rows}")
        for index, each in enumerate(kernel.code):
            self.over.append(self._over(each))
            text = self._text(each)
            if text != f"r{index}":
                write(f"r{index} = {text}")
        write(f"y = r{kernel.value}")
        place = self._spread(kernel.place, (True, False))
        channel = f"({quotient(f'({place})', kernel.inner, kernel.channels)})"
        mask = self._mask(self._joined(kernel.place, (True, False)))
        held = kernel.code[kernel.value].dtype
        register = REGISTERS.get(held, held) if kernel.steps else held
        if kernel.steps and register != held:
            write(f"y = y.to({TYPES[register]})")
        register = write.steps(kernel.steps, channel, mask, register)
        write.store(kernel.output, f"({place})", mask, register)

    def _over(self, each: Instruction) -> tuple[bool, bool]:
        if each.op in ("row", "lane"):
            return each.op == "row", each.op == "lane"
        rows = any(self.over[a][0] for a in each.args)
        lanes = any(self.over[a][1] for a in each.args)
        return rows, lanes and each.op not in REDUCTIONS

    def _text(self, each: Instruction) -> str:
        args = [f"r{a}" for a in each.args]
        if each.op in ("row", "lane"):
            return each.op
        if each.op == "constant":
            shape = "(1, 1)" if self.wide else "(1,)"
            return f"tl.full({shape}, {_literal(each)}, {TYPES[each.dtype]})"
        if each.op == "load":
            return self._load(each)
        if each.op == "cast":
            return _cast(args[0], self.kernel.code[each.args[0]].dtype, each.dtype)
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
        over = self._joined(place, (False, False))
        for condition in inside:
            over = self._joined(condition, over)
        offset = self._spread(place, over)
        mask = " & ".join([*filter(None, [self._mask(over)]), *(f"r{c}" for c in inside)])
        masked = f", mask={mask}, other=0" if mask else ""
        text = f"tl.load({self.write.pointers[each.value]} + {offset}{masked})"
        held = self.write.dtypes[each.value]
        if held == "i1":
            return f"({text} != 0)"
        return text if held == each.dtype else f"{text}.to({TYPES[each.dtype]})"

    def _reduction(self, each: Instruction, x: str) -> str:
        low, high = extremes(DTYPES[each.dtype])
        neutral = {"sum": 0, "product": 1, "largest": low, "smallest": high}[each.op]
        rest = number(float(neutral)) if each.dtype == "f32" else str(int(neutral))
        if each.dtype == "f32" and abs(neutral) == float("inf"):
            rest = f'float("{neutral}")'
        if each.dtype == "i1":
            x, rest = f"{x}.to(tl.int32)", str(int(neutral))
        text = _ALONG[each.op].format(f"tl.where(in_lane, {x}, {rest})")
        if each.dtype == "i1":
            return f"({text} != 0)"
        return text if each.dtype in ("f32", "i64") else f"{text}.to({TYPES[each.dtype]})"

    def _joined(self, register: int, over: tuple[bool, bool]) -> tuple[bool, bool]:
        own = self.over[register]
        return own[0] or over[0], own[1] or over[1]

    def _spread(self, register: int, over: tuple[bool, bool]) -> str:
        """An offset with an element for all that it is read over."""
        own, text = self.over[register], f"r{register}"
        for have, want, name in zip(own, over, ("row", "lane"), strict=True):
            if want and not have:
                text += f" + {name} * 0"
        return text

    def _mask(self, over: tuple[bool, bool]) -> str:
        masks = [name for name, held in zip(("in_row", "in_lane"), over, strict=True) if held]
        return " & ".join(masks[: 2 if self.wide else 1])


def _literal(each: Instruction) -> str:
    if each.dtype != "f32":
        return each.value
    value = float(each.value)
    finite = abs(value) < float("inf")
    return number(value) if finite else f'float("{each.value}")'


def _cast(x: str, held: str, wanted: str) -> str:
    if wanted == "i1":
        return f"{x} != 0"
    if held == "f32" and DTYPES[wanted].itemsize < 4:
        return f"{x}.to(tl.int32).to({TYPES[wanted]})"
    return f"{x}.to({TYPES[wanted]})"
