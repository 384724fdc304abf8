"""What RQ and depthwise VE write: sums plus bias, scaled, clamped, rounded.

    integer result   y = rint(clamp(float32(float32(t) scale), low - zero, high - zero)) + zero
    float result     y = float32(float32(t) scale), clamped to low .. high where the row
                     says so, where -32768 and 32767 stand for no limit

t is the sum plus the bias: int32 that wraps, int64, or float32 with a float32 bias.
"""

from __future__ import annotations

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.systolic.formats import RESULT_FLOAT
from tetrapla.simulators.systolic.tables import RequantizeRow

_LEAST, _MOST = -(2**15), 2**15 - 1


def raw(sums: Array, row: RequantizeRow, entries: tuple[slice | None, ...]) -> Array:
    """Sums plus bias; `entries` picks the row's entries so that they broadcast."""
    bias = row.float_bias if sums.dtype == np.float32 else row.bias
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(sums + bias[entries])


def requantized(
    sums: Array, row: RequantizeRow, fmt: int, entries: tuple[slice | None, ...]
) -> Array:
    """The results, in the type of RQ's `fmt`; int8 holds the bits of a uint8 too.

    Args:
        sums: (invocations, rows, columns), int32, int64 or float32.
        row: of the requantise table.
        fmt: as in RQ.
        entries: index of the row's entries that belong to `sums`, so that they broadcast.
    """
    scaled = raw(sums, row, entries).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled *= row.scale[entries]
        if fmt in RESULT_FLOAT:
            if row.clamped:
                np.clip(scaled, *_limits(row), out=scaled)
            return scaled.astype(RESULT_FLOAT[fmt])
        low, high = np.float32(row.low - row.zero_point), np.float32(row.high - row.zero_point)
        np.clip(scaled, low, high, out=scaled)
        np.rint(scaled, out=scaled)
        scaled += np.float32(row.zero_point)
    steps = scaled.astype(np.int16)
    return steps if fmt else steps.astype(np.int8)


def _limits(row: RequantizeRow) -> tuple[np.float32, np.float32]:
    """What clamps a float result; the outermost numbers of int16 stand for no limit."""
    low = -np.inf if row.low == _LEAST else row.low
    high = np.inf if row.high == _MOST else row.high
    return np.float32(low), np.float32(high)
