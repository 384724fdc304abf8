"""Multiplier and shift: by hand, by exact fractions, and by upstream MLIR's own lowering."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest

from tetrapla.ir.errors import IRError, ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import compiled
from tetrapla.ir.op import OPS
from tetrapla.ir.quant.rescale import ROUNDINGS, fixed_point

WIDE = {"low": -(2**31), "high": 2**31 - 1, "dtype": "i32", "zero_point": 0}
NARROW = {"low": -128, "high": 127, "dtype": "i8", "zero_point": 0}


def _rescaled(x: Array, multiplier: int, shift: int, rounding: str, **own: Any) -> Array:
    numbers = {"x_zero_point": 0, "axis": 0, **WIDE, **own}
    parameters = (np.array([v], np.int32) for v in (multiplier, shift))
    return np.asarray(OPS["qnn.rescale"].evaluate(x, *parameters, rounding=rounding, **numbers))


# scale 1/2 is 2^30 2^-31, 1/4 is 2^30 2^-32, 2 is 2^30 2^-29
@pytest.mark.parametrize(
    ("rounding", "shift", "values", "expected"),
    [
        ("single", 31, [5, -5, 3, -3, 4], [3, -2, 2, -1, 2]),  # 2.5, -2.5, 1.5, -1.5: half up
        ("double", 31, [5, -5, 3, -3, 4], [3, -2, 2, -1, 2]),  # no second rounding at 31
        ("tflite_double", 31, [5, -5, 3, -3, 4], [3, -2, 2, -1, 2]),
        ("single", 32, [1, -1, 2, -2, 6, -6], [0, 0, 1, 0, 2, -1]),
        # 1/4 is rounded to 1/2, that to 1; -1/2 becomes -1
        ("double", 32, [1, -1, 2, -2, 6, -6], [1, 0, 1, -1, 2, -2]),
        ("tflite_double", 32, [1, -1, 2, -2, 6, -6], [1, 0, 1, -1, 2, -2]),
        ("single", 29, [3, -3], [6, -6]),
        ("double", 29, [3, -3], [6, -6]),
        ("tflite_double", 29, [3, -3], [6, -6]),
    ],
)
def test_by_hand(rounding: str, shift: int, values: list[int], expected: list[int]) -> None:
    x = np.array(values, np.int32)
    assert _rescaled(x, 1 << 30, shift, rounding).tolist() == expected


def _half_up(x: Fraction) -> int:
    return floor(x + Fraction(1, 2))


def _half_away(x: Fraction) -> int:
    return _half_up(x) if x >= 0 else -_half_up(-x)


def _exact(value: int, multiplier: int, shift: int, rounding: str) -> int:
    """The same by fractions: a doubling high multiplication is half up for either sign."""
    if rounding in ("single", "single16"):
        return _half_up(Fraction(value * multiplier, 2**shift))
    if rounding == "double":
        nudge = 0 if shift <= 31 else (2**30 if value >= 0 else -(2**30))
        return _half_up(Fraction(value * multiplier + nudge, 2**shift))
    left, right = max(31 - shift, 0), max(shift - 31, 0)
    high = _half_up(Fraction((value << left) * multiplier, 2**31))
    return _half_away(Fraction(high, 2**right))


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_every_form_equals_its_exact_fraction(rounding: str, rng: np.random.Generator) -> None:
    bits = 15 if rounding == "single16" else 31
    edges = [0, 1, -1, 2, -2, 127, -128, 2**23, -(2**23), 2**24 + 1, -(2**24) - 1]
    for part in range(300):
        multiplier = int(rng.integers(1 << bits - 1, 1 << bits))
        if part % 3 == 0:
            multiplier = 1 << bits - 1  # a power of two: ties
        shift = int(rng.integers(bits - 5, 62))
        bound = 2 ** min(31, max(shift - bits + 15, 6))
        x = np.array([*edges, *rng.integers(-bound, bound, 200)], np.int64)
        x = np.clip(x, -bound, bound - 1).astype(np.int32)
        ours = _rescaled(x, multiplier, shift, rounding)
        wanted = [_exact(int(v), multiplier, shift, rounding) for v in x]
        assert ours.tolist() == wanted


def test_an_accumulator_of_48_bits_takes_a_multiplier_of_16(rng: np.random.Generator) -> None:
    x = rng.integers(-(2**47), 2**47, 5_000)
    for shift in (30, 40, 46):
        multiplier = int(rng.integers(1 << 14, 1 << 15))
        wanted = [_exact(int(v), multiplier, shift, "single16") for v in x]
        clamped = np.clip(wanted, -(2**31), 2**31 - 1).tolist()
        assert _rescaled(x, multiplier, shift, "single16").tolist() == clamped


def _apply_scale(mode: str, size: int) -> Callable[[str, Sequence[int]], None]:
    """Upstream's tosa.apply_scale of value, multiplier and shift, compiled as @main."""
    kinds = ", ".join(f"memref<{size}x{kind}>" for kind in ("i32", "i32", "i8"))
    text = f"""
    #id = affine_map<(d0) -> (d0)>
    func.func @main(%v: memref<{size}xi32>, %m: memref<{size}xi32>, %s: memref<{size}xi8>,
                    %y: memref<{size}xi32>) {{
      linalg.generic {{indexing_maps = [#id, #id, #id, #id], iterator_types = ["parallel"]}}
          ins(%v, %m, %s : {kinds}) outs(%y : memref<{size}xi32>) {{
      ^bb0(%a: i32, %b: i32, %c: i8, %d: i32):
        %r = tosa.apply_scale %a, %b, %c {{rounding_mode = {mode}}} : (i32, i32, i8) -> i32
        linalg.yield %r : i32
      }}
      return
    }}"""
    passes = (
        "builtin.module(func.func(convert-linalg-to-loops,"
        "tosa-to-arith{include-apply-rescale=true}),convert-scf-to-cf,expand-strided-metadata,"
        "lower-affine,convert-arith-to-llvm,finalize-memref-to-llvm,"
        "convert-func-to-llvm{use-bare-ptr-memref-call-conv=true},convert-cf-to-llvm,"
        "reconcile-unrealized-casts)"
    )
    return compiled(text, passes)


@pytest.mark.parametrize("rounding", ["single", "double"])
def test_tosa_s_forms_equal_upstream_s_lowering(
    rounding: str, rng: np.random.Generator
) -> None:
    """On 10^6 values within the shift's range, |value| < 2^(shift - 1), as TOSA asks."""
    size = 1_000_000
    shift = rng.integers(2, 63, size)
    bound = np.exp2(np.minimum(shift - 1, 31))
    value = np.floor(rng.uniform(-1, 1, size) * bound).astype(np.int32)
    multiplier = rng.integers(1 << 30, 1 << 31, size).astype(np.int32)
    multiplier[::2] = 1 << 30  # ties
    theirs = np.empty(size, np.int32)
    run = _apply_scale(f"{rounding.upper()}_ROUND", size)
    arrays = (value, multiplier, shift.astype(np.int8), theirs)
    run("main", [array.ctypes.data for array in arrays])
    ours = OPS["qnn.rescale"].evaluate(
        value,
        multiplier,
        shift.astype(np.int32),
        x_zero_point=0,
        axis=0,
        rounding=rounding,
        **WIDE,
    )
    assert np.count_nonzero(np.asarray(ours) != theirs) == 0


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_zero_points_clamp_and_channels(rounding: str) -> None:
    """(x - 10) / 4 and / 2, moved by -3 and clamped to -5..20."""
    x = np.array([[10, 30, 50, 250], [10, 30, 50, 250]], np.uint8)
    multiplier, shift = fixed_point(np.array([0.25, 0.5]), rounding)
    own = {"zero_point": -3, "low": -5, "high": 20, "dtype": "i8", "axis": 0}
    ours = OPS["qnn.rescale"].evaluate(
        x, multiplier, shift, x_zero_point=10, rounding=rounding, **own
    )
    assert np.asarray(ours).tolist() == [[-3, 2, 7, 20], [-3, 7, 17, 20]]


@pytest.mark.parametrize("rounding", ["single", "double", "tflite_double"])
def test_the_forms_stay_within_one_of_requantise(
    rounding: str, rng: np.random.Generator
) -> None:
    """A float32 scale is exact in 31 bits, so an integer form errs only by its own rounding.

    One rounding is off by 1/2 at most, two by 1/2 + 1/4 at a shift above 31 (the first acts on
    at least twice the result), float32's product by 2^-24 of 128 and then by 1/2: together
    below 2, and integers so near differ by one at most.
    """
    acc = rng.integers(-100_000, 100_000, 100_000).astype(np.int32)
    scale = rng.uniform(0.0002, 0.001, 1).astype(np.float32)
    multiplier, shift = fixed_point(scale, rounding)
    assert shift[0] > 31
    ours = _rescaled(acc, int(multiplier[0]), int(shift[0]), rounding, **NARROW)
    numbers = {"zero_point": 0, "low": -128, "high": 127, "axis": 0, "dtype": "i8"}
    theirs = np.asarray(OPS["qnn.requantize"].evaluate(acc, scale, **numbers))
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


def test_fixed_point_by_hand() -> None:
    scales = np.array([0.5, 1.0, 0.25, 0.75, 1 - 2.0**-53, 2.0**-40])
    multiplier, shift = fixed_point(scales, "single")
    # the fifth rounds up to 2^31 and is halved; the last is below the largest shift
    assert multiplier.tolist() == [2**30, 2**30, 2**30, 3 * 2**29, 2**30, 0]
    assert shift.tolist() == [31, 30, 32, 31, 30, 31]
    multiplier, shift = fixed_point(np.array([0.5, 1 - 2.0**-20]), "single16")
    assert (multiplier.tolist(), shift.tolist()) == ([2**14, 2**14], [15, 14])


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (0.0, "a scale must be positive and finite, not 0.0"),
        (-1.0, "a scale must be positive and finite, not -1.0"),
        (np.nan, "a scale must be positive and finite, not nan"),
        (np.inf, "a scale must be positive and finite, not inf"),
        (2.0**31, "a scale must be below 1073741824.0 to have a shift, not 2147483648.0"),
    ],
)
def test_a_scale_without_multiplier_is_refused(scale: float, message: str) -> None:
    with pytest.raises(IRError) as caught:
        fixed_point(np.array([scale]), "single")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("multiplier", "shift", "message"),
    [
        (1, 63, "qnn.rescale shift must lie in 1..62, not 63"),
        (1, 0, "qnn.rescale shift must lie in 1..62, not 0"),
        (-1, 31, "qnn.rescale multiplier must lie in 0..2147483647, not -1"),
    ],
)
def test_values_that_no_type_can_rule_out(multiplier: int, shift: int, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        _rescaled(np.zeros(1, np.int32), multiplier, shift, "single")
    assert str(caught.value) == message
