"""Members of the family by chance: drawn afresh, and one step from another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from tetrapla.frontend.zoo.digits import (
    BITS,
    DEPTHS,
    HIDDEN,
    KERNELS,
    POOLS,
    STRIDES,
    WIDTHS,
    Conv,
    Shape,
    fits,
)

if TYPE_CHECKING:
    import numpy as np

Value = TypeVar("Value")


def drawn(rng: np.random.Generator) -> Shape:
    """Any member: each axis uniform, and again where the image does not last."""
    while True:
        convs = tuple(_conv(rng) for _ in range(_one(rng, DEPTHS)))
        if fits(convs):
            return Shape(convs, _one(rng, HIDDEN), _one(rng, BITS))


def mutated(shape: Shape, rng: np.random.Generator) -> Shape:
    """A member that differs in one axis of one layer, or by one convolution."""
    while True:
        found = _changed(shape, rng)
        if found is not None and found != shape:
            return found


def _changed(shape: Shape, rng: np.random.Generator) -> Shape | None:
    """One change; None where the family or the image does not bear it."""
    kind = _one(rng, ("hidden", "bits", "depth", *(("conv",) * 4)))
    if kind == "hidden":
        return replace(shape, hidden=_neighbour(rng, HIDDEN, shape.hidden))
    if kind == "bits":
        return replace(shape, weight_bits=_one(rng, BITS))
    convs = list(shape.convs)
    if kind == "depth":
        if rng.random() < 0.5 and len(convs) < max(DEPTHS):
            convs.insert(int(rng.integers(len(convs) + 1)), _conv(rng))
        elif convs:
            convs.pop(int(rng.integers(len(convs))))
    elif convs:
        place = int(rng.integers(len(convs)))
        convs[place] = _changed_conv(convs[place], rng)
    return replace(shape, convs=tuple(convs)) if fits(tuple(convs)) else None


def _changed_conv(conv: Conv, rng: np.random.Generator) -> Conv:
    axis = _one(rng, ("width", "kernel", "stride", "pools"))
    if axis == "width":
        return replace(conv, width=_neighbour(rng, WIDTHS, conv.width))
    if axis == "kernel":
        return replace(conv, kernel=_one(rng, KERNELS))
    if axis == "stride":
        return replace(conv, stride=_one(rng, STRIDES))
    return replace(conv, pools=not conv.pools)


def _conv(rng: np.random.Generator) -> Conv:
    return Conv(_one(rng, WIDTHS), _one(rng, KERNELS), _one(rng, STRIDES), _one(rng, POOLS))


def _one(rng: np.random.Generator, values: Sequence[Value]) -> Value:
    return values[int(rng.integers(len(values)))]


def _neighbour(rng: np.random.Generator, axis: Sequence[int], value: int) -> int:
    """The next smaller or larger value of an axis."""
    place = axis.index(value) + _one(rng, (-1, 1))
    return axis[min(max(place, 0), len(axis) - 1)]
