"""What only moves values moves those of every element type, bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest

from tetrapla.ir.graph import DTYPES, Array

Run: TypeAlias = Callable[..., list[Array]]
MOVES: list[tuple[str, dict[str, Any]]] = [
    ("reshape", {"shape": (4, 6)}),
    ("transpose", {"perm": (2, 0, 1)}),
    ("slice", {"starts": (1, 0, 3), "sizes": (1, 3, 2), "steps": (1, 1, -2)}),
    ("expand", {"shape": (5, 2, 3, 4)}),
    ("pad", {"pads": (0, 1, 0, 1, 0, 2), "mode": "edge", "value": 0.0}),
    ("pad", {"pads": (0, 1, 0, 1, 0, 2), "mode": "constant", "value": 1.0}),
    ("trilu", {"k": 0, "upper": 1}),
    (
        "resize",
        {
            "sizes": (2, 5, 2),
            "scales": "",
            "roi": "",
            "mode": "nearest",
            "coordinate_transformation_mode": "half_pixel",
            "nearest_mode": "floor",
            "cubic_coeff_a": -0.75,
            "exclude_outside": 0,
            "antialias": 0,
            "extrapolation_value": 0.0,
        },
    ),
]
INDICES = np.array([[[0, 1, -1, 0]] * 3] * 2)


def _distinct(dtype: str) -> Array:
    """Numbers 0 to 7, or fewer where the type has no more, [2, 3, 4]."""
    small = {"i1": 2, "i2": 2, "ui2": 4, "f4E2M1FN": 4}
    numbers = np.arange(24).reshape(2, 3, 4) % small.get(dtype, 8)
    if dtype == "f8E8M0FNU":  # powers of two alone
        numbers = 2 ** (np.arange(24).reshape(2, 3, 4) % 8)
    return numbers.astype(np.float32).astype(DTYPES[dtype])


# operands made of x, so that they can be made of its numbers in float64 too
PICKS: list[tuple[str, Callable[[Array], list[Array]], dict[str, Any]]] = [
    ("concat", lambda x: [x, x], {"axis": 1}),
    ("gather", lambda x: [x, np.array([2, 0, -1])], {"axis": 1}),
    ("gather_elements", lambda x: [x, INDICES], {"axis": 2}),
    ("gather_nd", lambda x: [x, np.array([[1, 2], [0, -1]])], {"batch_dims": 0}),
    ("scatter_nd", lambda x: [x, np.array([[1]]), x[:1]], {"reduction": "none"}),
    (
        "scatter_elements",
        lambda x: [x, INDICES[:1], x[1:]],
        {"axis": 0, "reduction": "none"},
    ),
    (
        "reverse_sequence",
        lambda x: [x, np.array([1, 2, 2])],
        {"batch_axis": 1, "time_axis": 0},
    ),
    ("one_hot", lambda x: [np.array([1, 0]), x[0, 0, :2]], {"depth": 3, "axis": 0}),
    ("where", lambda x: [np.array([True, False, True, False]), x, x[::-1]], {}),
]


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_type_is_moved(dtype: str, ours: Run) -> None:
    x = _distinct(dtype)
    moves = MOVES if dtype != "f8E8M0FNU" else [m for m in MOVES if m[0] != "trilu"]  # no zero
    for kind, attributes in moves:
        (found,) = ours(f"nn.{kind}", [x], **attributes)
        (known,) = ours(f"nn.{kind}", [x.astype(np.float64)], **attributes)
        assert np.array_equal(found.astype(np.float64), known), kind
    for kind, operands, attributes in PICKS:
        (found,) = ours(f"nn.{kind}", operands(x), **attributes)
        (known,) = ours(f"nn.{kind}", operands(x.astype(np.float64)), **attributes)
        assert np.array_equal(found.astype(np.float64), known), kind
