"""The steps of a kernel in CUDA C: what happens to an element before it is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tetrapla.backends.gpu.cuda.code import Names, declared
from tetrapla.backends.gpu.cuda.text import MEMORY, Writer, number
from tetrapla.simulators.gpu.steps import (
    RANGES,
    Apply,
    BatchNorm,
    Bias,
    Dequantize,
    Quantize,
    Relu,
    Requantize,
    Scale,
    Step,
)

NARROW = ("i8", "ui8", "i16", "ui16")


@dataclass(frozen=True)
class Element:
    """Where the element at hand lies: texts of its channel, its row and its lane."""

    channel: str
    row: str
    lane: str = "0"


def stepped(steps: Sequence[Step], write: Writer, at: Element, y: str, register: str) -> str:
    """Write the steps on `y` of a register's type; returns the name of the last result."""
    written = [name for step in steps if not isinstance(step, Apply) for name in step.buffers]
    if any(write.buffers[name].elements > 1 for name in written):
        write(f"const int channel = {at.channel};")
    for i, step in enumerate(steps):
        if isinstance(step, Apply):
            y, register = _apply(step, write, at, y, i)
            continue
        read = [_parameter(name, write) for name in step.buffers]
        text, register = _STEPS[type(step)](step, read, y, register)
        y = f"y{i + 1}"
        write(f"const {register} {y} = {text};")
    return y


def integers(y: str, zero_point: int, low: int, high: int) -> str:
    """The text that turns a float into saturated integers."""
    bounds = f"{number(low - zero_point)}, {number(high - zero_point)}"
    return f"to_integers({y}, {bounds}, {zero_point})"


def _parameter(name: str, write: Writer) -> str:
    """One number, or one per channel."""
    return write.load(name, "0" if write.buffers[name].elements == 1 else "channel")


def _apply(step: Apply, write: Writer, at: Element, y: str, position: int) -> tuple[str, str]:
    """Generated code; its registers carry the step's number."""

    def register(i: int) -> str:
        return f"s{position + 1}_{i}"

    names = Names(register, f"(int)({at.row})", at.lane, y)
    for i in range(len(step.code)):
        declared(step.code, i, write, names)
    dtype = step.code[step.value].dtype
    return register(step.value), "int" if dtype in NARROW else MEMORY[dtype]


Text = tuple[str, str]


def _bias(step: Bias, read: list[str], y: str, register: str) -> Text:
    return f"add({y}, {read[0]})", register


def _relu(step: Relu, read: list[str], y: str, register: str) -> Text:
    return f"maximum({y}, {'0.0f' if register == 'float' else f'({register})0'})", register


def _batch_norm(step: BatchNorm, read: list[str], y: str, register: str) -> Text:
    scale, bias, mean, variance = read
    root = f"__fsqrt_rn(add({variance}, {number(step.epsilon)}))"
    return f"add(mul(sub({y}, {mean}), div({scale}, {root})), {bias})", register


def _quantize(step: Quantize, read: list[str], y: str, register: str) -> Text:
    return integers(f"div({y}, {read[0]})", step.zero_point, *RANGES[step.dtype]), "int"


def _dequantize(step: Dequantize, read: list[str], y: str, register: str) -> Text:
    # an int32 operand less its zero point can need 33 bits
    centred = f"((i64){y} - {step.zero_point})" if step.zero_point else y
    return f"mul((float){centred}, {read[0]})", "float"


def _scale(step: Scale, read: list[str], y: str, register: str) -> Text:
    return f"mul({y}, {read[0]})", register


def _requantize(step: Requantize, read: list[str], y: str, register: str) -> Text:
    scaled = f"mul((float){y}, {read[0]})"
    return integers(scaled, step.zero_point, step.low, step.high), "int"


_STEPS: dict[type[Step], Callable[..., Text]] = {
    Bias: _bias,
    Relu: _relu,
    BatchNorm: _batch_norm,
    Quantize: _quantize,
    Dequantize: _dequantize,
    Scale: _scale,
    Requantize: _requantize,
}
