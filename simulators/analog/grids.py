"""Numbers rounded so that floating sums of them are exact, whatever the order of the addition.

What a read adds up, inputs times levels and squares of inputs times variances, is done by BLAS,
which takes terms in an order of its own. Each factor lies on a binary grid on which no sum over
the rows is rounded, so results do not depend on BLAS, chunks or threads.

float32 holds 24 bits, and its products take half the time of float64's. Levels are in it where
`FRACTION_BITS` are left for the fraction of a level, or none is needed: cells that are exactly
where they should be. Variances always are. Where sums need more bits than that, variances lie
on a grid of their column, and squares of inputs on one of their vector, each to some 8 bits of
the largest; over a column these errors average out, to less than 1e-3 of the variance.
"""

from __future__ import annotations

from math import ceil, log2
from typing import Final

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.spec import AnalogSpec, lossless_bits

FRACTION_BITS: Final = 10  # of a level, that a cell's grid must have
_BITS: Final = 24  # of float32's fraction
_SQUARE_BITS: Final = 8  # of a square that is rounded


def gridded(values: Array, spec: AnalogSpec) -> tuple[Array, float]:
    """Levels rounded so that sums over the rows, times a digit, are exact; and the step."""
    step = (1 << spec.dac.bits) - 1
    whole = _whole(values, spec, step)
    if not _wide(spec):
        return _rounded(values, 2.0 ** (_BITS - 1 - whole), np.float32)
    if _sums_fit(values, step):
        return values.astype(np.float32), 1.0
    return _rounded(values, 2.0 ** (52 - whole), np.float64)


def gridded_variances(values: Array, spec: AnalogSpec) -> Array:
    """Variances [rows, conversions], float32, for `squares` of the same chip's inputs."""
    if not _wide(spec):
        step = (1 << spec.dac.bits) - 1
        whole = _whole(values, spec, step * step)
        return _rounded(values, 2.0 ** (_BITS - 1 - whole), np.float32)[0]
    # sums of what is rounded up all the way fit too
    room = float((1 << _BITS) - (len(values) << (_SQUARE_BITS - 1)))
    most = np.maximum(values.sum(axis=0), 1e-30) * 2.0**_SQUARE_BITS
    scale = np.exp2(np.floor(np.log2(room / most)))
    return np.asarray((np.rint(values * scale) / scale).astype(np.float32))


def squares(
    driven: Array, spec: AnalogSpec, *, fast: bool = False
) -> tuple[Array, Array | None]:
    """Squares of digits [vectors, rows], float32, in a unit of each vector.

    Args:
        driven: whole numbers, float32.
        spec: the chip.
        fast: compiled, the same numbers.

    Returns:
        whole numbers; and what one counts, a power of two, [vectors, 1], None for 1.
    """
    if not _wide(spec) or 2 * spec.dac.bits <= _SQUARE_BITS:
        return np.square(driven, dtype=np.float32), None
    if fast:
        from tetrapla.simulators.analog import fast as compiled

        found, unit = np.empty_like(driven), np.empty((len(driven), 1), np.float32)
        compiled.squares(driven, 1 << _SQUARE_BITS, found, unit)
        return found, unit
    found = np.square(driven, dtype=np.float32)
    _, bits = np.frexp(found.max(axis=1, keepdims=True))
    spare = np.maximum(bits - _SQUARE_BITS, 0)
    found *= np.ldexp(np.float32(1), -spare)
    np.rint(found, out=found)
    return found, np.ldexp(np.float32(1), spare)


def _wide(spec: AnalogSpec) -> bool:
    """Whether float32 has too few bits for the sums of an array and a level's fraction."""
    return lossless_bits(spec, spec.array.rows) > _BITS - 1 - FRACTION_BITS


def _sums_fit(values: Array, step: int) -> bool:
    """Whether all are whole, and so are all sums that float32 has to hold."""
    if not np.array_equal(values, np.rint(values)):
        return False
    up = np.maximum(values, 0).sum(axis=0).max(initial=0)
    down = np.maximum(-values, 0).sum(axis=0).max(initial=0)
    return bool(step * max(up, down) <= 1 << _BITS)


def _whole(values: Array, spec: AnalogSpec, step: int) -> int:
    """Bits of the largest sum over the rows that there can be."""
    largest = max(float(np.abs(values).max(initial=0)), 1e-30)
    return ceil(log2(spec.array.rows * largest * step))


def _rounded(values: Array, scale: float, dtype: type) -> tuple[Array, float]:
    return (np.rint(values * scale) / scale).astype(dtype), 1 / scale
