"""The vector unit: pooling, sums, clamps, depthwise windows, lookups, on rows of channels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.systolic.addresses import outside_and_address
from tetrapla.simulators.systolic.requantize import requantized
from tetrapla.simulators.systolic.tables import COUNT_PAD, Descriptor, RequantizeRow

MAX, AVERAGE, GLOBAL_AVERAGE, ADD, CLAMP, DEPTHWISE, LOOKUP, COPY = range(8)
TABLE_BYTES = 256
ONE_PIXEL = frozenset((ADD, CLAMP, LOOKUP, COPY))


def vector_result(
    buffer: Array, func: int, a: Descriptor, b: Descriptor | None, row: int, count: int
) -> Array:
    """The bytes, int8 of shape (invocations, count, channels), of one VE instruction.

    Depthwise has its own function, as its second operand is a row of the requantise table.
    """
    match func:
        case 0:
            result = _maximum(buffer, a, row, count)
        case 1:
            result = _average(buffer, a, row, count)
        case 2:
            result = _global_average(buffer, a, row, count)
        case 3:
            assert b is not None, "VE add before its descriptor b"
            result = _sum(buffer, a, b, row, count)
        case 4:
            result = np.clip(_pixel(buffer, a, row, count), a.low, a.high)
        case 6:
            table = buffer[:, a.weights : a.weights + TABLE_BYTES]
            index = _pixel(buffer, a, row, count) & 255
            flat = np.take_along_axis(table, index.reshape(len(buffer), -1), axis=1)
            return flat.reshape(index.shape)
        case _:
            result = _pixel(buffer, a, row, count)
    return np.asarray(result).astype(np.int16).astype(np.int8)


def depthwise_result(
    buffer: Array, d: Descriptor, table: RequantizeRow, row: int, count: int
) -> Array:
    """As `vector_result`: sum over the window of x w, requantised as RQ does it."""
    size = d.taps * d.channels
    held = buffer[:, d.weights : d.weights + size].reshape(-1, d.taps, 1, d.channels)
    weights = held.astype(np.int32)
    total = np.zeros((len(buffer), count, d.channels), np.int32)
    for tap, (values, outside) in enumerate(_taps(buffer, d, row, count)):
        if outside is not None:
            values[:, outside] = d.pad_value
        total += values * weights[:, tap]
    return requantized(total, table, 0, (slice(0, d.channels),))


def _pixel(buffer: Array, d: Descriptor, row: int, count: int) -> Array:
    """The values of a window of one pixel, with the padding's."""
    ((values, outside),) = _taps(buffer, d, row, count)
    if outside is not None:
        values[:, outside] = d.pad_value
    return values


def _taps(
    buffer: Array, d: Descriptor, row: int, count: int
) -> Iterator[tuple[Array, Array | None]]:
    """For each pixel of the window, row-major: int32 values and the mask of the padding."""
    for tap in range(d.taps):
        outside, address = outside_and_address(d, row, count, tap * d.channels, d.channels)
        values = np.take(buffer, address, axis=1)
        yield (values.view(np.uint8) if d.unsigned else values).astype(np.int32), outside


def _maximum(buffer: Array, d: Descriptor, row: int, count: int) -> Array:
    lowest = 0 if d.unsigned else -128
    best: Array | None = None
    for values, outside in _taps(buffer, d, row, count):
        if outside is not None:
            values[:, outside] = lowest
        best = values if best is None else np.maximum(best, values)
    assert best is not None, "a window has at least one pixel"
    return best


def _average(buffer: Array, d: Descriptor, row: int, count: int) -> Array:
    """Sat(rint(s / n / y_scale + y_zero_point)), s the float32 sum in row-major order."""
    total = np.zeros((len(buffer), count, d.channels), np.float32)
    inside = np.zeros((count, d.channels), np.int64)
    for values, outside in _taps(buffer, d, row, count):
        real = (values - d.zero_x).astype(np.float32) * np.float32(d.p0)
        if outside is not None:
            real[:, outside] = 0
        inside += 1 if outside is None else ~outside
        total += real
    n = d.taps if d.flags & COUNT_PAD else inside
    mean = total / np.asarray(n).astype(np.float32)
    return _saturated(np.rint(mean / np.float32(d.p1) + np.float32(d.zero_y)), d)


def _global_average(buffer: Array, d: Descriptor, row: int, count: int) -> Array:
    """Sat(rint(f32(S) ratio) + y_zero_point), S the integer sum of x - x_zero_point."""
    total = np.zeros((len(buffer), count, d.channels), np.int64)
    for values, outside in _taps(buffer, d, row, count):
        if outside is not None:
            values[:, outside] = d.zero_x
        total += values - d.zero_x
    steps = np.rint(total.astype(np.float32) * np.float32(d.p0)) + np.float32(d.zero_y)
    return _saturated(steps, d)


def _sum(buffer: Array, a: Descriptor, b: Descriptor, row: int, count: int) -> Array:
    """Sat(rint(fma(a, ratio_a, fma(b, ratio_b, offset))))."""
    left, right = _pixel(buffer, a, row, count), _pixel(buffer, b, row, count)
    if left.size < _PAIRS:
        return _added(left, right, a)
    # so many sums of bytes come again and again: each pair is added once
    offset = 256  # of pad_value, too
    pairs = np.arange(-offset, offset, dtype=np.int32)
    table = _added(pairs[:, None], pairs, a).astype(np.int16)
    return np.asarray(table[left + offset, right + offset])


_PAIRS = 2**18  # of two numbers in -256..255


def _added(left: Array, right: Array, a: Descriptor) -> Array:
    inner = fused_multiply_add(right, np.float32(a.p1), np.float32(a.p2))
    return _saturated(np.rint(fused_multiply_add(left, np.float32(a.p0), inner)), a)


def fused_multiply_add(x: Array, ratio: np.float32, addend: Array | np.float32) -> Array:
    """``f32(x ratio + addend)`` with a single rounding, for integers |x| <= 255.

    x ratio is exact in float64 (8 + 24 bits). The float64 sum is rounded to odd, which leaves
    the rounding to float32 that of the exact sum (Boldo and Melquiond, IEEE ToC 2008).
    """
    product = x.astype(np.float64) * np.float64(ratio)
    other = np.asarray(addend, np.float64)
    total = product + other
    shadow = total - product
    lost = (product - (total - shadow)) + (other - shadow)
    toward = np.where(lost > 0, np.inf, -np.inf)
    even = total.view(np.int64) & 1 == 0
    odd = np.where((lost != 0) & even, np.nextafter(total, toward), total)
    return odd.astype(np.float32)


def _saturated(steps: Array, d: Descriptor) -> Array:
    low, high = (0, 255) if d.unsigned else (-128, 127)
    return np.clip(steps, low, high)
