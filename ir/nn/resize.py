"""Interpolation to other sizes, as ONNX's Resize from opset 18 on.

One axis after the other (interpolation is separable): each place of the result lies at a
coordinate of the operand and mixes the values around it. Coordinates are float32, as in ONNX
Runtime, because in float64 another nearest value would win where the scale is not exact;
values are mixed in float64 and rounded once.
"""

from typing import NamedTuple

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
from tetrapla.ir.nn.check import FLOATS, element_types, flag, one_of
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.interpolate import (
    COORDINATES,
    CROP,
    NEAREST,
    Axis,
    coordinates,
    nearest,
    taps,
)
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
        C2: scales has one positive number per axis, or none; with antialias, none shrinks an
            axis below half a value.
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
        require(
            not antialias or all(f * n >= 0.5 for f, n in zip(factors, x.shape, strict=False)),
            f"{kind} C2: with antialias, scales of {x} must leave half a value, not {scales!r}",
        )
        coordinate = coordinate_transformation_mode
        one_of(f"{kind} C3", "mode", mode, MODES)
        one_of(f"{kind} C4", "coordinate_transformation_mode", coordinate, COORDINATES)
        one_of(f"{kind} C4", "nearest_mode", nearest_mode, NEAREST)
        bounds = 2 * x.rank if coordinate == CROP else 0
        require(
            len(_numbers(f"{kind} C5", "roi", roi)) == bounds,
            f"{kind} C5: {coordinate} takes a roi of {bounds} numbers, not {roi!r}",
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
        form = _Form(mode, nearest_mode, cubic_coeff_a, exclude_outside, antialias)
        y = x if mode == "nearest" else x.astype(np.float64)
        outside = np.zeros((1,) * x.ndim, np.bool_)
        for place, axis in enumerate(_axes(x.shape, sizes, scales, roi)):
            if axis.whole:
                continue
            at = coordinates(axis, coordinate_transformation_mode)
            column = tuple(axis.new if i == place else 1 for i in range(x.ndim))
            if coordinate_transformation_mode == CROP:
                outside = outside | ((at < 0) | (at > axis.old - 1)).reshape(column)
            y = _resized(y, place, axis, at, form)
        y = rounded(y, x.dtype)
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


class _Form(NamedTuple):
    """How values are mixed: the attributes of the operator."""

    mode: str
    nearest_mode: str
    cubic_coeff_a: float
    exclude_outside: int
    antialias: int


def _axes(shape: tuple[int, ...], sizes: tuple[int, ...], scales: str, roi: str) -> list[Axis]:
    """What becomes of each axis."""
    ratios = [np.float32(new) / np.float32(old) for old, new in zip(shape, sizes, strict=True)]
    factors = [np.float32(f) for f in _numbers("", "", scales)] or ratios
    bounds = _numbers("", "", roi) or (0.0,) * len(shape) + (1.0,) * len(shape)
    windows = zip(bounds[: len(shape)], bounds[len(shape) :], strict=True)
    return [Axis(*each) for each in zip(shape, sizes, factors, windows, strict=True)]


def _resized(x: Array, place: int, axis: Axis, at: Array, form: _Form) -> Array:
    """One axis resized; its new values lie at the coordinates `at`."""
    if form.mode == "nearest":
        source = np.clip(nearest(at, form.nearest_mode), 0, axis.old - 1)
        return np.asarray(x.take(source, axis=place))
    shrink = min(float(axis.scale), 1.0) if form.antialias else 1.0
    sources, weights = taps(at, form.mode, shrink, form.cubic_coeff_a)
    if form.exclude_outside:
        weights = weights * ((sources >= 0) & (sources < axis.old))
        total = weights.sum(axis=0)
        weights = weights / np.where(total == 0, 1, total)
    sources = np.clip(sources, 0, axis.old - 1)
    column = (-1, *(1,) * (x.ndim - place - 1))
    y = np.zeros((), np.float64)
    for source, weight in zip(sources, weights, strict=True):
        y = y + x.take(source, axis=place) * weight.reshape(column)
    return y


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
