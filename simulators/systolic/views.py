"""How a value is found in memory: a row-major array, and steps from there to its own shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np

from tetrapla.ir.graph import DTYPES, Array

View: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]
"""Steps: ("reshape", shape), ("transpose", perm) and ("slice", (*starts, *stops, *steps))."""


def viewed(array: Array, view: View) -> Array:
    """`array` after the steps; a slice stops at most at the end, in steps above 0."""
    for step, arguments in view:
        match step:
            case "reshape":
                array = array.reshape(arguments)
            case "transpose":
                array = array.transpose(arguments)
            case "slice":
                array = array[_slices(arguments)]
            case _:
                raise ValueError(f"a view's step must be known, not {step}")
    return array


def _slices(arguments: Sequence[int]) -> tuple[slice, ...]:
    rank = len(arguments) // 3
    parts = zip(
        arguments[:rank], arguments[rank : 2 * rank], arguments[2 * rank :], strict=True
    )
    return tuple(slice(*part) for part in parts)


@dataclass(frozen=True)
class Place:
    """A value in a memory.

    Attributes:
        value: its number in the program, the host's part or a routine.
        address: of the array's first byte.
        physical: the array's shape, row-major.
        view: the steps from there to the value's own shape.
    """

    value: int
    address: int
    dtype: str
    physical: tuple[int, ...]
    view: View = ()

    @property
    def traffic_bytes(self) -> int:
        """Of the whole array."""
        return prod(self.physical) * DTYPES[self.dtype].itemsize

    @property
    def elements(self) -> int:
        """Of the value alone, which may be a part of the array."""
        return self.positions().size

    @property
    def value_bytes(self) -> int:
        """Of the value alone."""
        return self.elements * DTYPES[self.dtype].itemsize

    def positions(self) -> Array:
        """For each element in the value's own order and shape, its index in the array."""
        return viewed(np.arange(prod(self.physical)).reshape(self.physical), self.view)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `place_of` gives the same place back."""
        return {
            "value": self.value,
            "address": self.address,
            "dtype": self.dtype,
            "physical": list(self.physical),
            "view": [[step, list(arguments)] for step, arguments in self.view],
        }


def place_of(data: Mapping[str, Any]) -> Place:
    """The place that `to_dict` wrote."""
    view = tuple((step, tuple(arguments)) for step, arguments in data["view"])
    physical = tuple(data["physical"])
    return Place(data["value"], data["address"], data["dtype"], physical, view)
