"""Rescaling by an integer multiplier and a shift: the forms of TOSA and TensorFlow Lite."""

import numpy as np

from tetrapla.ir.errors import IRError, ModelError
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.mlir import (
    IntegerAttr,
    Operand,
    Pure,
    RankedTensorType,
    Result,
    StringAttr,
)
from tetrapla.ir.op import Op, Tensor, require
from tetrapla.ir.quant.dialect import (
    RANGES,
    Quant,
    along,
    check_axis,
    check_per_axis,
    check_target,
    check_types,
    check_zero_point,
)
from tetrapla.ir.quant.linear import wrap
from tetrapla.ir.quant.scale import ACCUMULATORS

ROUNDINGS = ("single", "double", "tflite_double", "single16")
MULTIPLIER_BITS = {"single": 31, "double": 31, "tflite_double": 31, "single16": 15}
RESULTS = {**RANGES, "i32": (-(2**31), 2**31 - 1)}
SHIFTS = (1, 62)  # TOSA's own range is 2 to 62


class Rescale(Op, dialect=Quant, name="rescale", traits=[Pure]):
    """``clamp(apply(x - x_zero_point) + zero_point, low, high)`` on integers alone.

    With v = x - x_zero_point, M = multiplier and s = shift (the scale is M 2^-s), `rounding` is
    one of:

        single: ``(v M + 2^(s-1)) >> s``, half up. TOSA's apply_scale_32 with SINGLE_ROUND, and
            TensorFlow Lite with TFLITE_SINGLE_ROUNDING (whose shift is 31 - s).
        double: for s > 31 adds 2^30, or -2^30 where v < 0, before that shift. TOSA's
            apply_scale_32 with DOUBLE_ROUND.
        tflite_double: with e = 31 - s, ``h = trunc((v' M + n) / 2^31)`` where v' is v shifted
            left by max(e, 0) and wrapped to int32, and n is 2^30, or 1 - 2^30 where v' M < 0;
            then h / 2^max(-e, 0), half away from zero. TensorFlow Lite's and gemmlowp's
            default.
        single16: as single, with a multiplier of 16 bits, in 64-bit arithmetic; for the
            accumulators of 16-bit products. TOSA's apply_scale_16.

    Sources: TOSA specification 1.0, "RESCALE" and apply_scale_32; TensorFlow Lite:
    kernels/internal/common.h; gemmlowp: fixedpoint.h.

    Constraints:
        C1, C2: the axis exists; multiplier and shift are i32 of shape (1,) or one per index.
        C3: the result is an integer of 2, 4, 8 or 16 bits, or i32.
        C4: zero point, low and high are values of that type and low <= high.
        C5: x is i32 or an integer of 2, 4, 8 or 16 bits, or i64 under single16.
        C6: x's zero point is a value of its type, 0 for i32 and i64.
        C7: the rounding is one of those above.
    """

    x: Operand[RankedTensorType]
    multiplier: Operand[RankedTensorType]
    shift: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    x_zero_point: IntegerAttr
    zero_point: IntegerAttr
    low: IntegerAttr
    high: IntegerAttr
    axis: IntegerAttr
    dtype: StringAttr
    rounding: StringAttr

    @staticmethod
    def infer(
        x: Tensor,
        multiplier: Tensor,
        shift: Tensor,
        *,
        x_zero_point: int,
        zero_point: int,
        low: int,
        high: int,
        axis: int,
        dtype: str,
        rounding: str,
    ) -> Tensor:
        kind = "qnn.rescale"
        check_axis(f"{kind} C1", x, axis)
        for what, parameter in (("multiplier", multiplier), ("shift", shift)):
            check_per_axis(f"{kind} C2", x, parameter, axis, what)
            check_types(f"{kind} C2", ("i32",), parameter)
        _check_bounds(kind, zero_point, low, high, dtype)
        require(
            rounding in ROUNDINGS,
            f"{kind} C7: rounding must be one of {', '.join(ROUNDINGS)}, not {rounding!r}",
        )
        check_types(f"{kind} C5", (*RANGES, *ACCUMULATORS[: 1 + (rounding == "single16")]), x)
        if x.dtype in RANGES:
            check_zero_point(kind, x_zero_point, x.dtype)
        else:
            require(
                x_zero_point == 0,
                f"{kind} C6: the zero point of {x.dtype} must be 0, not {x_zero_point}",
            )
        return Tensor(x.shape, dtype)

    @staticmethod
    def evaluate(
        x: Array,
        multiplier: Array,
        shift: Array,
        *,
        x_zero_point: int,
        zero_point: int,
        low: int,
        high: int,
        axis: int,
        dtype: str,
        rounding: str,
    ) -> Array:
        _check_values(multiplier, shift, rounding)
        value = x.astype(np.int64) - x_zero_point
        factor = along(multiplier.astype(np.int64), x.ndim, axis)
        right = along(shift.astype(np.int64), x.ndim, axis)
        apply = _tflite_double if rounding == "tflite_double" else _tosa
        steps = apply(value, factor, right, rounding)
        return np.asarray(np.clip(steps + zero_point, low, high)).astype(DTYPES[dtype])

    example = (
        (Tensor((2, 3, 4, 4), "i32"), Tensor((3,), "i32"), Tensor((3,), "i32")),
        {
            "x_zero_point": 0,
            "zero_point": -5,
            "low": -5,
            "high": 127,
            "axis": 1,
            "dtype": "i8",
            "rounding": "double",
        },
    )


def fixed_point(scale: Array, rounding: str) -> tuple[Array, Array]:
    """Multiplier and shift, int32, of positive scales: ``scale ~ multiplier 2^-shift``.

    The multiplier has 31 bits (15 for single16) with the highest set, rounded half away from
    zero. A scale too small for the largest shift becomes 0, as in TensorFlow Lite.

    Raises:
        IRError: the rounding is unknown, or a scale is not positive and finite or too large.
    """
    require(
        rounding in ROUNDINGS,
        f"rounding must be one of {', '.join(ROUNDINGS)}, not {rounding!r}",
    )
    bits = MULTIPLIER_BITS[rounding]
    wide = np.atleast_1d(np.asarray(scale, np.float64))
    bad = wide[~((wide > 0) & np.isfinite(wide))]
    require(bad.size == 0, f"a scale must be positive and finite, not {next(iter(bad), 0)}")
    fraction, exponent = np.frexp(wide)
    multiplier = np.floor(np.ldexp(fraction, bits) + 0.5).astype(np.int64)
    carried = multiplier == 1 << bits
    multiplier = np.where(carried, 1 << bits - 1, multiplier)
    shift = bits - exponent - carried
    least, most = SHIFTS
    if (shift < least).any():
        raise IRError(
            f"a scale must be below {2.0 ** (bits - least)} to have a shift, not {wide.max()}"
        )
    vanished = shift > most
    multiplier = np.where(vanished, 0, multiplier)
    return multiplier.astype(np.int32), np.where(vanished, bits, shift).astype(np.int32)


def _tosa(value: Array, factor: Array, right: Array, rounding: str) -> Array:
    half = np.int64(1) << (right - 1)
    if rounding == "double":
        half = half + np.where(right > 31, np.where(value >= 0, 1 << 30, -(1 << 30)), 0)
    return np.asarray((value * factor + half) >> right)


def _tflite_double(value: Array, factor: Array, right: Array, _: str) -> Array:
    exponent = 31 - right
    left, down = np.maximum(exponent, 0), np.maximum(-exponent, 0)
    product = wrap(value << left).astype(np.int64) * factor
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.where(nudged >= 0, nudged >> 31, -(-nudged >> 31))  # toward zero
    mask = (np.int64(1) << down) - 1
    threshold = (mask >> 1) + (high < 0)
    return np.asarray((high >> down) + ((high & mask) > threshold))


def _check_bounds(kind: str, zero_point: int, low: int, high: int, dtype: str) -> None:
    check_target(f"{kind} C3", tuple(RESULTS), dtype)
    least, most = RESULTS[dtype]
    require(
        least <= low <= high <= most and least <= zero_point <= most,
        f"{kind} C4: zero point, low and high must lie in {least}..{most} and low must not "
        f"exceed high, not {zero_point}, {low} and {high}",
    )


def _check_values(multiplier: Array, shift: Array, rounding: str) -> None:
    """A type cannot say what range a multiplier and a shift have."""
    least, most = SHIFTS
    outside = shift[(shift < least) | (shift > most)]
    if outside.size:
        raise ModelError(f"qnn.rescale shift must lie in {least}..{most}, not {outside[0]}")
    limit = 1 << MULTIPLIER_BITS[rounding]
    odd = multiplier[(multiplier < 0) | (multiplier.astype(np.int64) >= limit)]
    if odd.size:
        raise ModelError(f"qnn.rescale multiplier must lie in 0..{limit - 1}, not {odd[0]}")
