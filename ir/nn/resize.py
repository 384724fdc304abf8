"""Interpolation to other sizes, as ONNX's Resize from opset 18 on.

One axis after the other (interpolation is separable): each place of the result lies at a
coordinate of the operand and mixes the values around it. Coordinates are float32, as in ONNX
Runtime, because in float64 another nearest value would win where the scale is not exact;
values are mixed in float64 and rounded once.
"""

import numpy as np

from tetrapla.ir.errors import IRError
from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import (
    ArrayAttr,
    FloatAttr,
    IntegerAttr,
    Operand,
    Pure,
    RankedTensorType,
    Result,
    StringAttr,
)
from tetrapla.ir.nn.check import FLOATS, element_types, flag
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.interpolate import COORDINATES, CROP, Axis, coordinates, nearest, taps
from tetrapla.ir.nn.interpolate import NEAREST as NEAREST
from tetrapla.ir.nn.precision import rounded
from tetrapla.ir.op import Op, Tensor, require

MODES = ("nearest", "linear", "cubic")


class Resize(Op, dialect=Nn, name="resize", traits=[Pure]):
    """x at other sizes, by the nearest value, linearly or by cubics.

    `scales` and `roi` are texts of float32 numbers with commas between (MLIR's arrays here hold
    integers): one scale per axis, or none for ``sizes / x.shape``; the region's begins and
    ends, one per axis each, where the coordinates are tf_crop_and_resize, which gives
    `extrapolation_value` outside of x. ONNX's `axes` and keep_aspect_ratio_policy are written
    out by who knows the shape.

    Constraints:
        C1: sizes has one non-negative number per axis.
        C2: scales has one positive number per axis, or none.
        C3: mode is nearest, linear or cubic.
        C4: coordinate_transformation_mode and nearest_mode are ONNX's.
        C5: roi has two numbers per axis for tf_crop_and_resize, and none else.
        C6: exclude_outside and antialias are 0 or 1; antialias is not for nearest.
        C7: the element type is a float unless mode is nearest.
        C8: x is not empty where the result is not.
    """

    x: Operand[RankedTensorType]
    y: Result[RankedTensorType]
    sizes: ArrayAttr
    scales: StringAttr
    roi: StringAttr
    mode: StringAttr
    coordinate_transformation_mode: StringAttr
    nearest_mode: StringAttr
    cubic_coeff_a: FloatAttr
    exclude_outside: IntegerAttr
    antialias: IntegerAttr
    extrapolation_value: FloatAttr

    @staticmethod
    def infer(
        x: Tensor,
        *,
        sizes: tuple[int, ...],
        scales: str,
        roi: str,
        mode: str,
        coordinate_transformation_mode: str,
        nearest_mode: str,
        cubic_coeff_a: float,
        exclude_outside: int,
        antialias: int,
        extrapolation_value: float,
    ) -> Tensor:
        kind = "nn.resize"
        require(
            len(sizes) == x.rank and min(sizes, default=0) >= 0,
            f"{kind} C1: {x} takes {x.rank} non-negative sizes, not {sizes}",
        )
        factors = _numbers(f"{kind} C2", "scales", scales)
        require(
            len(factors) in (0, x.rank) and all(0 < f < np.inf for f in factors),
            f"{kind} C2: {x} takes {x.rank} positive scales or none, not {scales!r}",
        )
        for constraint, name, value, known in (
            ("C3", "mode", mode, MODES),
            (
                "C4",
                "coordinate_transformation_mode",
                coordinate_transformation_mode,
                COORDINATES,
            ),
            ("C4", "nearest_mode", nearest_mode, NEAREST),
        ):
            require(
                value in known,
                f"{kind} {constraint}: {name} must be one of {', '.join(known)}, not {value!r}",
            )
        bounds = 2 * x.rank if coordinate_transformation_mode == CROP else 0
        require(
            len(_numbers(f"{kind} C5", "roi", roi)) == bounds,
            f"{kind} C5: {coordinate_transformation_mode} takes a roi of {bounds} numbers, "
            f"not {roi!r}",
        )
        _check_flags(kind, x, mode, exclude_outside, antialias)
        require(
            0 in sizes or 0 not in x.shape, f"{kind} C8: {x} must not be empty to give {sizes}"
        )
        return Tensor(tuple(sizes), x.dtype)

    @staticmethod
    def evaluate(
        x: Array,
        *,
        sizes: tuple[int, ...],
        scales: str,
        roi: str,
        mode: str,
        coordinate_transformation_mode: str,
        nearest_mode: str,
        cubic_coeff_a: float,
        exclude_outside: int,
        antialias: int,
        extrapolation_value: float,
    ) -> Array:
        if 0 in sizes:
            return np.zeros(sizes, x.dtype)
        factors, region = _numbers("", "", scales), _numbers("", "", roi)
        rank, outside = x.ndim, np.zeros((1,) * x.ndim, np.bool_)
        y = x if mode == "nearest" else x.astype(np.float64)
        for axis, (old, new) in enumerate(zip(x.shape, sizes, strict=True)):
            scale = np.float32(factors[axis] if factors else np.float32(new) / np.float32(old))
            window = (region[axis], region[rank + axis]) if region else (0.0, 1.0)
            if (old, scale, window) == (new, 1.0, (0.0, 1.0)):
                continue
            on = Axis(old, new, scale, window)
            places = coordinates(on, coordinate_transformation_mode)
            column = [1] * rank
            column[axis] = new
            if coordinate_transformation_mode == CROP:
                outside = outside | ((places < 0) | (places > old - 1)).reshape(column)
            if mode == "nearest":
                y = y.take(np.clip(nearest(places, nearest_mode), 0, old - 1), axis=axis)
                continue
            shrink = min(float(scale), 1.0) if antialias else 1.0
            source, weights = taps(places, mode, shrink, cubic_coeff_a)
            if exclude_outside:
                weights = weights * ((source >= 0) & (source < old))
                total = weights.sum(axis=0)
                weights = weights / np.where(total == 0, 1, total)
            source = np.clip(source, 0, old - 1)
            y = sum(
                (y.take(s, axis=axis) * w.reshape(column))
                for s, w in zip(source, weights, strict=True)
            )
        y = rounded(np.asarray(y), x.dtype)
        beyond = np.array(extrapolation_value, np.float32).astype(x.dtype)
        return np.where(outside, beyond, y) if outside.any() else np.array(y)

    example = (
        (Tensor((1, 2, 4, 5), "f32"),),
        {
            "sizes": (1, 2, 8, 3),
            "scales": "",
            "roi": "",
            "mode": "linear",
            "coordinate_transformation_mode": "half_pixel",
            "nearest_mode": "round_prefer_floor",
            "cubic_coeff_a": -0.75,
            "exclude_outside": 0,
            "antialias": 0,
            "extrapolation_value": 0.0,
        },
    )


def _check_flags(kind: str, x: Tensor, mode: str, exclude_outside: int, antialias: int) -> None:
    flag(f"{kind} C6", "exclude_outside", exclude_outside)
    flag(f"{kind} C6", "antialias", antialias)
    require(
        not (antialias and mode == "nearest"),
        f"{kind} C6: antialias must be 0 for the nearest value, not {antialias}",
    )
    if mode != "nearest":
        element_types(f"{kind} C7", FLOATS, x)


def _numbers(constraint: str, name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(np.float32(part)) for part in text.split(",") if text)
    except ValueError:
        raise IRError(
            f"{constraint}: {name} must be numbers with commas between, not {text!r}"
        ) from None
