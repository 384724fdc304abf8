"""What CFG loads: access descriptors and rows of the requantise table, as bytes in DRAM.

An access descriptor is 128 bytes: `WORDS` in order, 32 bits each, little-endian, the rest zero.
It says how the systolic data set-up reads a window operator straight from the unified buffer:

    output row m: ox = m mod out_w, oy = m div out_w mod out_h, image = m div (out_w out_h)
    tap k: c = k mod channels, kx = k div channels mod kernel_w, ky = k div (channels kernel_w)
    y = oy stride_y + ky dilation_y - pad_top,  x = ox stride_x + kx dilation_x - pad_left
    value = pad_value where (y, x) is outside height x width,
            else UB[base + image image_stride + y row_stride + x pixel_stride + c width]

`width` is the bytes of an element: 2 where MM multiplies int16, bf16 or fp16, else 1.

A row of the requantise table is `HEADER`, then (bias int32, scale float32) for each column; the
bias of float sums is a float32 in the same four bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields

import numpy as np

from tetrapla.ir.graph import Array

DESCRIPTOR_BYTES = 128
UNSIGNED = 1
COUNT_PAD = 2
CLAMPED = 2


@dataclass(frozen=True)
class Descriptor:
    """How to read activations, and the numbers of a vector instruction.

    Attributes:
        channels: contiguous elements per pixel that are read.
        flags: bit 0, the values are uint8; bit 1, an average counts the padding.
        p0: float32 scale of a (average), ratio of a (add), total ratio (global average).
        p1: float32 scale of the result (average), ratio of b (add).
        p2: float32 offset (add).
        weights: unified-buffer address of int8 weights, taps x channels (depthwise), or of a
            table of 256 bytes (lookup).
        out_stride: bytes from one row of a vector instruction's result to the next; 0 where
            they touch.
    """

    base: int
    channels: int
    kernel_h: int = 1
    kernel_w: int = 1
    height: int = 1
    width: int = 1
    out_h: int = 1
    out_w: int = 1
    stride_y: int = 1
    stride_x: int = 1
    dilation_y: int = 1
    dilation_x: int = 1
    pad_top: int = 0
    pad_left: int = 0
    image_stride: int = 0
    row_stride: int = 0
    pixel_stride: int = 0
    pad_value: int = 0
    flags: int = 0
    zero_x: int = 0
    zero_y: int = 0
    low: int = 0
    high: int = 0
    p0: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    weights: int = 0
    out_stride: int = 0

    @property
    def unsigned(self) -> bool:
        """Whether the values are uint8."""
        return bool(self.flags & UNSIGNED)

    @property
    def taps(self) -> int:
        """Pixels in a window."""
        return self.kernel_h * self.kernel_w

    def pack(self) -> bytes:
        """Its 128 bytes."""
        values = [getattr(self, name) for name, _ in WORDS]
        return struct.pack(_FORMAT, *values).ljust(DESCRIPTOR_BYTES, b"\0")

    @staticmethod
    def unpack(data: bytes) -> Descriptor:
        """The descriptor of 128 bytes."""
        values = struct.unpack_from(_FORMAT, data)
        return Descriptor(**dict(zip((name for name, _ in WORDS), values, strict=True)))


_SIGNED = ("pad_top", "pad_left", "pad_value", "zero_x", "zero_y", "low", "high")


def _code(name: str) -> str:
    if name in ("p0", "p1", "p2"):
        return "f"
    return "i" if name in _SIGNED else "I"


WORDS = tuple((f.name, _code(f.name)) for f in fields(Descriptor))
_FORMAT = "<" + "".join(code for _, code in WORDS)

HEADER = struct.Struct("<IhhhHI")
HEADER_NAMES = (
    "row stride in bytes uint32",
    "zero point int16",
    "low int16",
    "high int16",
    "flags uint16 (bit 0: uint8; bit 1: low and high clamp a float result)",
    "reserved uint32",
)
_ENTRY = np.dtype([("bias", "<i4"), ("scale", "<f4")])
ENTRY_BYTES = _ENTRY.itemsize


@dataclass(frozen=True)
class RequantizeRow:
    """One row of the requantise table.

    Attributes:
        stride: bytes between two rows of the result.
        bias: int32, one per column (per row where RQ transposes); float32 for float sums.
        scale: float32, as many.
        clamped: low and high hold for a float result too; they always do for an integer.
    """

    stride: int
    zero_point: int
    low: int
    high: int
    unsigned: bool
    bias: Array
    scale: Array
    clamped: bool = False

    @property
    def float_bias(self) -> Array:
        """The bias of float sums: the same bytes as float32."""
        return np.ascontiguousarray(self.bias).view(np.float32)

    def pack(self) -> bytes:
        """Header, then bias and scale of each column."""
        entries = np.zeros(len(self.bias), _ENTRY)
        bits = self.bias.view(np.int32) if self.bias.dtype == np.float32 else self.bias
        entries["bias"], entries["scale"] = bits, self.scale
        flags = UNSIGNED * self.unsigned | CLAMPED * self.clamped
        head = HEADER.pack(self.stride, self.zero_point, self.low, self.high, flags, 0)
        return head + entries.tobytes()

    @staticmethod
    def unpack(data: bytes) -> RequantizeRow:
        """The row of these bytes."""
        stride, zero_point, low, high, flags, _ = HEADER.unpack_from(data)
        entries = np.frombuffer(data, _ENTRY, offset=HEADER.size)
        return RequantizeRow(
            stride,
            zero_point,
            low,
            high,
            bool(flags & UNSIGNED),
            np.ascontiguousarray(entries["bias"]),
            np.ascontiguousarray(entries["scale"]),
            bool(flags & CLAMPED),
        )
