"""Arrays in JSON come back in every bit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tetrapla.ir.graph import Array
from tetrapla.simulators.arrays_ import is_packed, packed, unpacked


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int8).reshape(2, 3).T,
        np.array(1.5, np.float32),
        np.zeros((0, 3), np.int32),
        np.array([np.nan, -0.0, np.inf], ">f8"),
    ],
)
def test_an_array_survives_json(
    array: Array,
) -> None:
    data = json.loads(json.dumps(packed(array)))
    found = unpacked(data)
    assert is_packed(data)
    assert found.shape == array.shape
    assert found.dtype == array.dtype.newbyteorder("<")
    assert found.tobytes() == array.astype(found.dtype).tobytes()


def test_by_hand() -> None:
    assert packed(np.array([1, -1], np.int8)) == {
        "dtype": "|i1",
        "shape": [2],
        "base64": "Af8=",
    }


def test_missing_bytes_are_an_error() -> None:
    data = {**packed(np.zeros(4, np.int32)), "shape": [5]}
    with pytest.raises(ValueError, match="cannot reshape"):
        unpacked(data)
