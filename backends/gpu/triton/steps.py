"""The steps of a kernel in Triton: what happens to an element before it is stored."""

from __future__ import annotations

from collections.abc import Callable

from tetrapla.backends.gpu.triton.text import Writer, number
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

Lines = tuple[list[str], str]


def stepped(step: Step, write: Writer, channel: str, mask: str, register: str) -> str:
    """Write a step on `y`, other than generated code; returns the register type after it."""
    read = [write.parameter(name, channel, mask) for name in step.buffers]
    lines, register = _STEPS[type(step)](step, read, register)
    write(*lines)
    return register


def integers(zero_point: int, low: int, high: int) -> str:
    """The line that turns float32 `y` into saturated integers."""
    least, most = float(low - zero_point), float(high - zero_point)
    return f"y = to_integers(y, {least}, {most}, {zero_point})"


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
