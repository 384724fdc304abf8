"""Files of tensors: read back by the format's own library, and never believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.safetensors import Safetensors, packed

WAY = "write it with safetensors.numpy.save_file({'x': ...}, path)"


def arrays() -> dict[str, Any]:
    return {
        "x": np.arange(6, dtype=np.float32).reshape(2, 3),
        "n": np.array([-1, 2**40], np.int64),
        "yes": np.array([[True], [False]]),
        "none": np.zeros((0, 4), np.uint8),
        "one": np.float16(1.5),
    }


def test_the_formats_own_library_reads_what_is_written(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy", reason="needs the extra test")
    path = tmp_path / "a.safetensors"
    path.write_bytes(packed(arrays()))
    found = numpy.load_file(path)
    assert set(found) == set(arrays())
    for name, array in arrays().items():
        assert found[name].dtype == np.asarray(array).dtype
        assert np.array_equal(found[name], array)
    assert packed(dict(reversed(arrays().items()))) == path.read_bytes()


def test_what_that_library_writes_is_read(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy", reason="needs the extra test")
    path = tmp_path / "a.safetensors"
    given = {name: np.asarray(array) for name, array in arrays().items() if name != "none"}
    numpy.save_file(given, path, metadata={"by": "hand"})
    found = Safetensors(path)
    assert set(found) == set(given)
    for name, array in given.items():
        assert found.headers[name].shape == array.shape
        assert np.array_equal(found[name], array)
    rows = list(found.rows("x", 1))
    assert [row.tolist() for row in rows] == [[[0, 1, 2]], [[3, 4, 5]]]


def test_small_floats_are_read_as_float32_and_small_integers_widened(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    values = [0.5, -2.0, 1.0]
    given = {
        "b": np.array(values, ml_dtypes.bfloat16),
        "e": np.array(values, ml_dtypes.float8_e5m2),
        "i": np.array([-8, 7, 0], ml_dtypes.int4),
    }
    path.write_bytes(packed(given))
    found = Safetensors(path)
    assert found["b"].dtype == found["e"].dtype == np.float32
    assert found["b"].tolist() == found["e"].tolist() == values
    assert found["i"].tolist() == [-8, 7, 0]
    with pytest.raises(UnsupportedError, match="must be of a type that"):
        packed({"c": np.zeros(1, np.complex64)})


def file(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(shape: Any = (2,), offsets: Any = (0, 8), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


BROKEN = [
    (b"", "its header's length is not that of a header"),
    (file({}, length=2**63), "its header's length is not that of a header"),
    (file(b"{x  "), "its header is no JSON"),
    (file(b"[" * 60_000), "its header is no JSON"),
    (file([1, 2, 3]), "its header is no JSON object"),
    (file(b'{"a": 1, "a": 2}'), "its header names something twice"),
    (file({"a": entry(shape=[-2])}, bytes(8)), "'a' has no shape and place"),
    (file({"a": entry(shape=[2.0])}, bytes(8)), "'a' has no shape and place"),
    (file({"a": entry(offsets=[8, 0])}, bytes(8)), "'a' has no shape and place"),
    (file({"a": entry(shape=[2**62, 2**62])}, bytes(8)), "'a' has not the bytes of its shape "
     "and type"),
    (file({"a": entry(offsets=[8, 16])}, bytes(16)), "'a' does not begin where the one before "
     "ends"),
    (file({"a": entry(), "b": entry()}, bytes(8)), "'b' does not begin where the one before "
     "ends"),
    (file({"a": entry()}, bytes(12)), "it has 12 bytes of numbers, not 8"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "reason"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        Safetensors(path)
    assert str(caught.value) == (
        f"{path}: must be a .safetensors file of numeric arrays, but {reason}; {WAY}"
    )


def test_unknown_types_and_wrong_truth_values_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(file({"a": entry(dtype="F6_E2M3")}, bytes(8)))
    with pytest.raises(ModelError, match="array 'a' must be of a type that is known"):
        Safetensors(path)
    path.write_bytes(file({"a": entry(dtype="BOOL", offsets=[0, 2])}, b"\x01\x02"))
    with pytest.raises(ModelError, match="truth values that are neither 0 nor 1"):
        Safetensors(path)["a"]
    with pytest.raises(ModelError, match="no such file"):
        Safetensors(tmp_path / "gone.safetensors")
