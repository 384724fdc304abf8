"""Lines of CUDA C: types, numbers and addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tetrapla.backends.gpu.text import affine, joined
from tetrapla.simulators.gpu.program import Buffer

# by the module's type: how memory holds it, and what a register of it is
MEMORY: Mapping[str, str] = {
    "f32": "float",
    "f16": "f16",
    "bf16": "bf16",
    "f8E4M3FN": "f8e4m3",
    "f8E5M2": "f8e5m2",
    "i8": "i8",
    "ui8": "ui8",
    "i16": "i16",
    "ui16": "ui16",
    "i32": "int",
    "ui32": "ui32",
    "i64": "i64",
    "i1": "bool",
}
REGISTERS: Mapping[str, str] = {
    **dict.fromkeys(("f32", "f16", "bf16", "f8E4M3FN", "f8E5M2"), "float"),
    **dict.fromkeys(("i8", "ui8", "i16", "ui16", "i32"), "int"),
    **{name: MEMORY[name] for name in ("ui32", "i64", "i1")},
}
THREADS = 256  # of a block, but for a product's


@dataclass
class Writer:
    """The body of one kernel; `pointers` maps a buffer's name to its argument's."""

    pointers: Mapping[str, str]
    buffers: Mapping[str, Buffer]
    lines: list[str] = field(default_factory=list)
    indent: int = 1

    def __call__(self, *lines: str) -> None:
        """Append lines at the current indentation; braces move it."""
        for line in lines:
            self.indent -= line.startswith("}")
            self.lines.append("    " * self.indent + line)
            self.indent += line.endswith("{")

    def dtype(self, buffer: str) -> str:
        """The type of a buffer's elements."""
        return self.buffers[buffer].dtype

    def load(self, buffer: str, offset: str) -> str:
        """The text of an element as a register holds it."""
        return f"read({self.pointers[buffer]}[{offset}])"

    def store(self, buffer: str, offset: str, value: str) -> None:
        """Round a register to the buffer's type and store it."""
        self(f"{self.pointers[buffer]}[{offset}] = {narrowed(value, self.dtype(buffer))};")


def narrowed(value: str, dtype: str) -> str:
    """A register's number as memory holds it."""
    match dtype:
        case "f32" | "i32" | "ui32" | "i64":
            return value
        case "f16" | "bf16" | "f8E4M3FN" | "f8E5M2":
            return f"to_{MEMORY[dtype]}({value})"
        case "i1":
            return f"{value} != 0"
        case _:
            return f"({MEMORY[dtype]})({value})"


def number(value: float) -> str:
    """A float32 constant that reads back to the same bits."""
    held = float(np.float32(value))
    if np.isnan(held):
        return "not_a_number()"
    if np.isinf(held):
        return "infinity()" if held > 0 else "-infinity()"
    return f"{held!r}f"


def whole(value: int, dtype: str = "i32") -> str:
    """An integer constant; the least of a type cannot be written as one literal."""
    suffix = {"i64": "LL", "ui32": "u"}.get(dtype, "")
    if value in (-(2**31), -(2**63)):
        return f"({value + 1}{suffix} - 1)"
    return f"{value}{suffix}"


def quotient(index: str, divisor: int, modulus: int | None = None) -> str:
    """``index / divisor % modulus`` without what does nothing."""
    text = index if divisor == 1 else f"{index} / {divisor}"
    return text if modulus is None else f"{text} % {modulus}"


def offset(index: str, shape: Sequence[int], strides: Sequence[int]) -> str:
    """The address of row-major position `index` of `shape` under other strides."""
    axes = joined(shape, strides)
    terms, inner = [], 1
    for position, (size, stride) in enumerate(reversed(axes)):
        if stride != 0:
            last = position == len(axes) - 1
            text = quotient(index, inner, None if last else size)
            terms.append(affine(text, stride))
        inner *= size
    return " + ".join(reversed(terms)) or "0"
