"""Movements that the foreign dialects share, in the terms of `nn`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tetrapla.frontend.foreign.scope import Constant, Operand, Refusal, Scope
from tetrapla.ir.graph import Attribute


def sliced(
    scope: Scope,
    x: Operand,
    starts: Sequence[int],
    sizes: Sequence[int],
    steps: Sequence[int],
    name: str,
) -> Operand:
    """Every `steps`-th value from `starts` on, `sizes` of them, on each axis."""
    if tuple(sizes) == x.shape and set(steps) <= {1}:
        return x
    attributes: dict[str, Attribute] = {
        "starts": tuple(starts),
        "sizes": tuple(sizes),
        "steps": tuple(steps),
    }
    return scope.op("nn.slice", [x], attributes, name)


def reversed_axes(scope: Scope, x: Operand, axes: Sequence[int], name: str) -> Operand:
    """Every axis named in reverse order."""
    starts = [size - 1 if axis in axes else 0 for axis, size in enumerate(x.shape)]
    steps = [-1 if axis in axes else 1 for axis in range(len(x.shape))]
    return sliced(scope, x, starts, x.shape, steps, name)


def padded(
    scope: Scope,
    x: Operand,
    fill: Operand,
    low: Sequence[int],
    high: Sequence[int],
    name: str,
) -> Operand:
    """Copies of one number around the values of each axis; a negative count cuts values off."""
    if not isinstance(fill, Constant) or fill.array.size != 1:
        raise Refusal("only with a constant number")
    number = fill.array.reshape(())[()]
    with np.errstate(all="ignore"):
        narrow = np.float32(number)
    if narrow.astype(fill.array.dtype) != number and number == number:
        raise Refusal("only with a number that float32 holds")
    attributes: dict[str, Attribute] = {
        "pads": (*low, *high),
        "mode": "constant",
        "value": float(narrow),
    }
    return scope.op("nn.pad", [x], attributes, name)
