"""How a value is found in memory: a row-major array, and steps from there to its own shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from tetrapla.ir.graph import Array

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


def view_list(view: View) -> list[list[Any]]:
    """The steps as plain data."""
    return [[step, list(arguments)] for step, arguments in view]


def view_of(data: Sequence[Sequence[Any]]) -> View:
    """The steps that `view_list` wrote."""
    return tuple((step, tuple(arguments)) for step, arguments in data)
