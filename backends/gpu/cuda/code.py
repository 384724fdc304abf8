"""Instructions of generated code as expressions of CUDA C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tetrapla.backends.gpu.cuda.text import MEMORY, Writer, number, whole
from tetrapla.ir.graph import DTYPES
from tetrapla.ir.quant.small import FORMATS as SMALL
from tetrapla.simulators.gpu.code import REDUCTIONS, Instruction

_CALLS = {
    "add": "add({0}, {1})",
    "sub": "sub({0}, {1})",
    "mul": "mul({0}, {1})",
    "div": "div({0}, {1})",
    "fma": "__fmaf_rn({0}, {1}, {2})",
    "floor_div": "{0} / {1}",
    "remainder": "{0} % {1}",
    "minimum": "minimum({0}, {1})",
    "maximum": "maximum({0}, {1})",
    "neg": "neg({0})",
    "abs": "absolute({0})",
    "sqrt": "__fsqrt_rn({0})",
    "exp": "expf({0})",
    "log": "logf({0})",
    "sin": "sinf({0})",
    "cos": "cosf({0})",
    "erf": "erff({0})",
    "floor": "floorf({0})",
    "ceil": "ceilf({0})",
    "round": "rintf({0})",
    "equal": "{0} == {1}",
    "less": "{0} < {1}",
    "less_or_equal": "{0} <= {1}",
    "and": "{0} & {1}",
    "or": "{0} | {1}",
    "xor": "{0} ^ {1}",
    "shift_left": "shifted_left({0}, {1})",
    "shift_right": "{0} >> {1}",
    "select": "{0} ? {1} : {2}",
}


@dataclass(frozen=True)
class Names:
    """What generated code calls things; `register` names the register of a number."""

    register: Callable[[int], str]
    row: str = "row"
    lane: str = "lane"
    given: str = ""


def declared(
    code: Sequence[Instruction], i: int, write: Writer, names: Names, guard: str = ""
) -> None:
    """Declare register `i`; a load reads nothing where `guard` is false."""
    text = _text(code, code[i], write, names, guard)
    kind = "float" if code[i].dtype in SMALL else MEMORY[code[i].dtype]
    write(f"const {kind} {names.register(i)} = {text};")


def _text(
    code: Sequence[Instruction], each: Instruction, write: Writer, names: Names, guard: str
) -> str:
    args = [names.register(a) for a in each.args]
    match each.op:
        case "row":
            return names.row
        case "lane":
            return names.lane
        case "given":
            return names.given
        case "constant":
            return literal(each.value, each.dtype)
        case "load":
            return _load(each, args, write, guard)
        case "cast":
            return _cast(args[0], code[each.args[0]].dtype, each.dtype)
        case "not":
            return f"!{args[0]}" if each.dtype == "i1" else f"~{args[0]}"
        case op if op in REDUCTIONS:  # of one lane
            return args[0]
        case _:
            return _CALLS[each.op].format(*args)


def literal(value: str, dtype: str) -> str:
    """A constant of a type, from its text."""
    return number(float(value)) if DTYPES[dtype].kind == "f" else whole(int(value), dtype)


def _load(each: Instruction, args: list[str], write: Writer, guard: str) -> str:
    place, *inside = args
    text = write.load(each.value, place)
    conditions = [*filter(None, [guard]), *inside]
    if not conditions:
        return text
    nothing = "0.0f" if each.dtype == "f32" else f"({MEMORY[each.dtype]})0"
    return f"{' && '.join(conditions)} ? {text} : {nothing}"


def _cast(x: str, held: str, wanted: str) -> str:
    if wanted == "i1":
        return f"{x} != 0"
    if wanted in SMALL:  # registers hold small floats as float32
        return f"read(to_{MEMORY[wanted]}({x}))"
    if held in SMALL:
        return f"({MEMORY[wanted]}){x}"
    if held == "f32" and DTYPES[wanted].itemsize < 4:
        return f"({MEMORY[wanted]})(int){x}"
    return f"({MEMORY[wanted]}){x}"
