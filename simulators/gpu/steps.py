"""What a kernel does to each element before it stores it: the fused epilogue.

A step reads per-channel vectors (or one number) through `channel`, which lays a parameter's
buffer along the elements at hand; generated code (`Apply`) reads any buffer at their `Place`.
Floats are float32 here and integers int32, as in registers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.gpu.code import (
    Instruction,
    operations,
    packed_code,
    registers,
    unpacked_code,
)

Channel: TypeAlias = Callable[[str], Array]


@dataclass(frozen=True)
class Place:
    """Where the elements lie that steps act on.

    Attributes:
        parameter: lays a parameter's buffer along them.
        rows: numbers of their rows: of a product, of all its matrices; else their positions.
        lanes: numbers of their lanes: of a product's columns, of all groups; else 0 alone.
        load: the elements of a buffer at offsets.
    """

    parameter: Channel
    rows: Array
    lanes: Array
    load: Callable[[str, Array], Array]

    def __call__(self, name: str) -> Array:
        return self.parameter(name)


RANGES = {"i8": (-128, 127), "ui8": (0, 255)}

# 1.5 * 2^23: adding it to |y| < 2^22 leaves an integer in the significand, rounded half to even
MAGIC = np.float32(12582912.0)


def round_half_even(y: Array) -> Array:
    """Round float32 |y| < 2^22 to integers, ties to even, by two additions."""
    return np.asarray((y + MAGIC) - MAGIC)


def to_integers(y: Array, low: int, high: int, zero_point: int) -> Array:
    """Clamp to ``low .. high`` less the zero point (NaN to low), round, add the zero point."""
    least = np.float32(low - zero_point)
    clamped = np.where(np.isnan(y), least, np.clip(y, least, np.float32(high - zero_point)))
    return round_half_even(clamped).astype(np.int32) + np.int32(zero_point)


@dataclass(frozen=True)
class Step:
    """One operation on an element in registers."""

    def apply(self, y: Array, channel: Channel) -> Array:
        """Return the elements after the step; `y` is not written."""
        raise NotImplementedError

    @property
    def buffers(self) -> tuple[str, ...]:
        """The parameters that it reads."""
        return ()

    @property
    def operations(self) -> int:
        """Arithmetic on one element; assumed: one, whatever a written step does."""
        return 1


@dataclass(frozen=True)
class Bias(Step):
    """``y + bias``, in the accumulator's type."""

    bias: str

    def apply(self, y: Array, channel: Channel) -> Array:
        # int32 wraps, as the accumulator does
        return np.asarray(y + channel(self.bias))

    @property
    def buffers(self) -> tuple[str, ...]:
        return (self.bias,)


@dataclass(frozen=True)
class Relu(Step):
    """``max(y, 0)``."""

    def apply(self, y: Array, channel: Channel) -> Array:
        return np.maximum(y, np.zeros((), y.dtype))


@dataclass(frozen=True)
class BatchNorm(Step):
    """``(y - mean) * (scale / sqrt(variance + epsilon)) + bias``."""

    scale: str
    bias: str
    mean: str
    variance: str
    epsilon: float

    def apply(self, y: Array, channel: Channel) -> Array:
        root = np.sqrt(channel(self.variance) + np.float32(self.epsilon))
        gain = channel(self.scale) / root
        return np.asarray((y - channel(self.mean)) * gain + channel(self.bias))

    @property
    def buffers(self) -> tuple[str, ...]:
        return (self.scale, self.bias, self.mean, self.variance)


@dataclass(frozen=True)
class Quantize(Step):
    """``clamp(rint(y / scale)) + zero_point`` with a correctly rounded float32 division."""

    scale: str
    zero_point: int
    dtype: str

    def apply(self, y: Array, channel: Channel) -> Array:
        return to_integers(y / channel(self.scale), *RANGES[self.dtype], self.zero_point)

    @property
    def buffers(self) -> tuple[str, ...]:
        return (self.scale,)


@dataclass(frozen=True)
class Dequantize(Step):
    """``f32(y - zero_point) * scale``."""

    scale: str
    zero_point: int

    def apply(self, y: Array, channel: Channel) -> Array:
        # an int32 operand less its zero point can need 33 bits
        steps = (y.astype(np.int64) - self.zero_point).astype(np.float32)
        return steps * channel(self.scale)

    @property
    def buffers(self) -> tuple[str, ...]:
        return (self.scale,)


@dataclass(frozen=True)
class Scale(Step):
    """``y * scale``, of floats."""

    scale: str

    def apply(self, y: Array, channel: Channel) -> Array:
        return np.asarray(y * channel(self.scale))

    @property
    def buffers(self) -> tuple[str, ...]:
        return (self.scale,)


@dataclass(frozen=True)
class Requantize(Step):
    """``rint(clamp(f32(f32(acc) * scale))) + zero_point``: ONNX Runtime's own form."""

    scale: str
    zero_point: int
    low: int
    high: int

    def apply(self, y: Array, channel: Channel) -> Array:
        scaled = y.astype(np.float32) * channel(self.scale)
        return to_integers(scaled, self.low, self.high, self.zero_point)

    @property
    def buffers(self) -> tuple[str, ...]:
        return (self.scale,)


@dataclass(frozen=True)
class Apply(Step):
    """Generated code on the element, which it reads as ``given``; register `value` is left.

    Its row and lane are those of `Place`: a product's row and column, else the element's
    position and 0.
    """

    code: tuple[Instruction, ...]
    value: int

    def apply(self, y: Array, channel: Channel) -> Array:
        assert isinstance(channel, Place)
        shape = (len(y), len(channel.rows), len(channel.lanes))
        given = y.reshape(shape)
        found = registers(self.code, channel.rows, channel.lanes, channel.load, given)
        made = found[self.value]
        count = max(len(y), len(made))
        made = np.broadcast_to(made, (count, *shape[1:])).reshape(count, *y.shape[1:])
        return made.astype(np.int32) if made.dtype.kind in "iu" and made.itemsize == 1 else made

    @property
    def buffers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(i.value for i in self.code if i.op == "load"))

    @property
    def operations(self) -> int:
        return operations(self.code)


STEPS: dict[str, type[Step]] = {
    kind.__name__: kind
    for kind in (*(Bias, Relu, BatchNorm, Quantize, Dequantize, Scale, Requantize, Apply),)
}


def step_dict(step: Step) -> dict[str, Any]:
    """Plain data; `step_from` gives the step back."""
    data: dict[str, Any] = {"step": type(step).__name__, **vars(step)}
    if isinstance(step, Apply):
        data["code"] = packed_code(step.code)
    return data


def step_from(data: dict[str, Any]) -> Step:
    """The step that `step_dict` describes."""
    fields = dict(data)
    if "code" in fields:
        fields["code"] = unpacked_code(fields["code"])
    return STEPS[fields.pop("step")](**fields)
