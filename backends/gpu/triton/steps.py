"""Steps and addresses as lines of Triton."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tetrapla.simulators.gpu.steps import (
    RANGES,
    BatchNorm,
    Bias,
    Dequantize,
    Quantize,
    Relu,
    Requantize,
    Scale,
    Step,
)

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

    def steps(self, steps: tuple[Step, ...], channel: str, mask: str, register: str) -> str:
        """Write the steps on `y`; returns the register type after them."""
        for step in steps:
            read = [self.parameter(name, channel, mask) for name in step.buffers]
            lines, register = _STEPS[type(step)](step, read, register)
            self(*lines)
        return register


def integers(zero_point: int, low: int, high: int) -> str:
    """The line that turns float32 `y` into saturated integers."""
    least, most = float(low - zero_point), float(high - zero_point)
    return f"y = to_integers(y, {least}, {most}, {zero_point})"


def cast(text: str, dtype: str) -> str:
    """A value in another type."""
    made = CASTS.get(dtype)
    return f"{text}.to({TYPES[dtype]})" if made is None else f"{made}({text})"


def affine(name: str, factor: int, shift: int = 0) -> str:
    """``name * factor + shift`` without what does nothing."""
    text = name if factor == 1 else f"{name} * {factor}"
    return text if shift == 0 else f"{text} {'-' if shift < 0 else '+'} {abs(shift)}"


def number(value: float) -> str:
    """A float32 constant, written so that it reads back to the same bits."""
    return repr(float(np.float32(value)))


def offset_text(index: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> str:
    """The address of row-major position `index` of `shape` under other strides."""
    merged: list[tuple[int, int]] = []
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if merged and merged[-1][1] == size * stride:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    terms, inner = [], 1
    for position, (size, stride) in enumerate(reversed(merged)):
        text = index if inner == 1 else f"{index} // {inner}"
        if position < len(merged) - 1:
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


Lines = tuple[list[str], str]


def _bias(step: Bias, read: list[str], register: str) -> Lines:
    return [f"y = y + {read[0]}"], register


def _relu(step: Relu, read: list[str], register: str) -> Lines:
    if register == "i32":
        return ["y = tl.maximum(y, 0)"], register
    return ["y = tl.maximum(y, 0.0, propagate_nan=tl.PropagateNan.ALL)"], register


def _batch_norm(step: BatchNorm, read: list[str], register: str) -> Lines:
    scale, bias, mean, variance = read
    root = f"tl.sqrt_rn({variance} + {number(step.epsilon)})"
    return [f"gain = tl.div_rn({scale}, {root})", f"y = (y - {mean}) * gain + {bias}"], register


def _quantize(step: Quantize, read: list[str], register: str) -> Lines:
    low, high = RANGES[step.dtype]
    return [f"y = tl.div_rn(y, {read[0]})", integers(step.zero_point, low, high)], "i32"


def _dequantize(step: Dequantize, read: list[str], register: str) -> Lines:
    # an int32 operand less its zero point can need 33 bits
    shift = f"(y.to(tl.int64) - {step.zero_point})" if step.zero_point else "y"
    return [f"y = {shift}.to(tl.float32) * {read[0]}"], "f32"


def _scale(step: Scale, read: list[str], register: str) -> Lines:
    return [f"y = y * {read[0]}"], register


def _requantize(step: Requantize, read: list[str], register: str) -> Lines:
    scaled = f"y = y.to(tl.float32) * {read[0]}"
    return [scaled, integers(step.zero_point, step.low, step.high)], "i32"


_STEPS: dict[type[Step], Callable[..., Lines]] = {
    Bias: _bias,
    Relu: _relu,
    BatchNorm: _batch_norm,
    Quantize: _quantize,
    Dequantize: _dequantize,
    Scale: _scale,
    Requantize: _requantize,
}
