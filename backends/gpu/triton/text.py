"""Lines of Triton: types, numbers, addresses, loads and stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tetrapla.backends.gpu.text import joined

TYPES = {
    "f32": "tl.float32",
    "f16": "tl.float16",
    "bf16": "tl.bfloat16",
    "f8E4M3FN": "tl.float8e4nv",
    "i8": "tl.int8",
    "ui8": "tl.uint8",
    "i32": "tl.int32",
    "i64": "tl.int64",
    "i1": "tl.int1",
}
REGISTERS = {
    "f32": "f32",
    "f16": "f32",
    "bf16": "f32",
    "f8E4M3FN": "f32",
    "i8": "i32",
    "ui8": "i32",
    "i32": "i32",
    "i64": "i64",
    "i1": "i1",
}
CASTS = {"bf16": "to_bf16", "f8E4M3FN": "to_f8"}  # of float32, which the interpreter cuts off

# numbers of the last instance's lanes, which may be beyond the end, must fit int32 too
LARGEST = 2**31 - 2**20


@dataclass
class Writer:
    """The body of one kernel; `pointers` maps a buffer's name to its argument's."""

    pointers: Mapping[str, str]
    dtypes: Mapping[str, str]
    lengths: Mapping[str, int]
    lines: list[str] = field(default_factory=list)
    indent: int = 1

    def __call__(self, *lines: str) -> None:
        """Append lines at the current indentation."""
        self.lines += ["    " * self.indent + line for line in lines]

    @property
    def wide(self) -> bool:
        """Whether a buffer has more elements than an int32 can safely count."""
        return any(self.lengths[name] > LARGEST for name in self.pointers)

    def program(self, axis: int) -> str:
        """The text of the instance's number, in a type that can count every element."""
        text = f"tl.program_id({axis})"
        return f"{text}.to(tl.int64)" if self.wide else text

    def load(self, buffer: str, offset: str, mask: str, other: str = "") -> str:
        """The text of a masked load into float32 or int32 registers."""
        held = self.dtypes[buffer]
        filled = f", other={other}" if other else ""
        text = f"tl.load({self.pointers[buffer]} + {offset}, mask={mask}{filled})"
        register = REGISTERS[held]
        return text if held == register else f"{text}.to({TYPES[register]})"

    def parameter(self, buffer: str, channel: str, mask: str) -> str:
        """The text of a step's parameter: one number, or one per channel."""
        if self.lengths[buffer] == 1:
            return f"tl.load({self.pointers[buffer]})"
        return f"tl.load({self.pointers[buffer]} + {channel}, mask={mask})"

    def store(self, buffer: str, offset: str, mask: str, register: str) -> None:
        """Round `y` to the buffer's type and store it."""
        held = self.dtypes[buffer]
        value = "y" if held == register else cast("y", held)
        self(f"tl.store({self.pointers[buffer]} + {offset}, {value}, mask={mask})")


def cast(text: str, dtype: str) -> str:
    """A value in another type."""
    made = CASTS.get(dtype)
    return f"{text}.to({TYPES[dtype]})" if made is None else f"{made}({text})"


def number(value: float) -> str:
    """A float32 constant, written so that it reads back to the same bits."""
    return repr(float(np.float32(value)))


def offset_text(index: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> str:
    """The address of row-major position `index` of `shape` under other strides."""
    axes = joined(shape, strides)
    terms, inner = [], 1
    for position, (size, stride) in enumerate(reversed(axes)):
        text = index if inner == 1 else f"{index} // {inner}"
        if position < len(axes) - 1:
            text += f" % {size}"
        if stride != 0:
            terms.append(text if stride == 1 else f"({text}) * {stride}")
        inner *= size
    if not terms:
        return f"{index} * 0"
    return " + ".join(reversed(terms)) if len(terms) > 1 else terms[0]


def quotient(index: str, divisor: int, modulus: int | None = None) -> str:
    """``index // divisor % modulus`` without what does nothing."""
    text = index if divisor == 1 else f"{index} // {divisor}"
    return text if modulus is None else f"{text} % {modulus}"
