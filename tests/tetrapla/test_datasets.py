"""The bundled digits are what their README says; a user's file is checked before it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tetrapla.datasets import load_data, load_inputs
from tetrapla.ir.errors import ModelError

X, Y = np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])


def test_the_digits_have_the_split_that_the_design_fixes() -> None:
    data = load_data("digits")
    assert data.x.shape == (1797, 8, 8)
    assert data.x.dtype == np.float32
    assert (data.x.min(), data.x.max()) == (0, 1)  # pixel / 16
    assert (len(data.train), len(data.test)) == (1347, 450)
    assert sorted([*data.train, *data.test]) == list(range(1797))
    # stratified: every class has its share of the test part, within one image
    shares = np.bincount(data.y[data.test]) - np.bincount(data.y) * 450 / 1797
    assert np.abs(shares).max() <= 1


def test_the_digits_are_those_of_scikit_learn() -> None:
    datasets = pytest.importorskip(
        "sklearn.datasets", reason="needs scikit-learn (extra train)"
    )
    selection = pytest.importorskip("sklearn.model_selection")
    images, labels = datasets.load_digits(return_X_y=True)
    train, test = selection.train_test_split(
        np.arange(1797), test_size=0.25, random_state=0, stratify=labels
    )
    data = load_data("digits")
    np.testing.assert_array_equal(data.x.reshape(1797, 64) * 16, images)
    np.testing.assert_array_equal(data.y, labels)
    np.testing.assert_array_equal(data.train, train)
    np.testing.assert_array_equal(data.test, test)


def test_samples_take_the_models_shape() -> None:
    data = load_data("digits")
    assert data.reshaped((1, 1, 8, 8), data.test[:3]).shape == (3, 1, 1, 8, 8)
    assert data.reshaped((1, 64), data.test).shape == (450, 1, 64)
    with pytest.raises(ModelError) as caught:
        data.reshaped((1, 28, 28), data.test)
    assert str(caught.value) == (
        "data: a sample must fill the model's input of shape 1x28x28, not shape 8x8; "
        "give data of the model's size"
    )


def test_a_file_without_a_split_is_all_test(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=X, y=Y)
    data = load_data(path)
    assert data.train.tolist() == []
    assert data.test.tolist() == [0, 1, 2, 3]
    np.savez(path, x=X, y=Y, train=[2])
    assert load_data(path).test.tolist() == [0, 1, 3]


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "no y": ({"x": X}, "must have the arrays x and y; it has x"),
    "no samples": (
        {"x": X[:0], "y": Y[:0]},
        "x must have the shape (samples, ...) with at least one sample, not 0x2",
    ),
    "one axis": (
        {"x": X[:, 0], "y": Y},
        "x must have the shape (samples, ...) with at least one sample, not 4",
    ),
    "other count": (
        {"x": X, "y": Y[:3]},
        "y must hold one integer label per sample, shape (4,), not int64 of shape 3",
    ),
    "float labels": (
        {"x": X, "y": Y / 2},
        "y must hold one integer label per sample, shape (4,), not float64 of shape 4",
    ),
    "negative label": ({"x": X, "y": Y - 1}, "y must hold labels of at least 0, not -1"),
    "nan": (
        {"x": np.where(np.arange(8).reshape(4, 2) == 5, np.nan, 0), "y": Y},
        "x must be finite, but sample 2 holds NaN or infinity; drop or mend that sample",
    ),
    "text": ({"x": np.full((4, 2), "a"), "y": Y}, "array 'x' must hold numbers, not <U1"),
    "objects": (
        {"x": np.array([[{}] * 2] * 4), "y": Y},
        "must be an .npz archive of numeric arrays, but holds Python objects; "
        "write it with numpy.savez(path, x=..., y=...)",
    ),
    "complex": ({"x": X + 1j, "y": Y}, "array 'x' must be real, not complex64"),
    "split out of range": (
        {"x": X, "y": Y, "test": [4]},
        "test must hold indices from 0 to 3",
    ),
    "split twice": ({"x": X, "y": Y, "test": [1, 1]}, "test must not hold an index twice"),
    "split shared": (
        {"x": X, "y": Y, "train": [1], "test": [1]},
        "train and test must not share samples, as 1 does",
    ),
    "split of floats": (
        {"x": X, "y": Y, "train": [1.0]},
        "train must be a list of integer indices, not float64 of shape 1",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_file_gets_its_own_message(case: str, tmp_path: Path) -> None:
    arrays, message = CASES[case]
    path = tmp_path / "d.npz"
    np.savez(path, **arrays)
    with pytest.raises(ModelError) as caught:
        load_data(path)
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no archive", b"text"])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    path.write_bytes(content)
    for read in (load_data, load_inputs):
        with pytest.raises(ModelError) as caught:
            read(path)
        assert str(caught.value) == (
            f"{path}: must be an .npz archive of numeric arrays, but cannot be read; "
            f"write it with numpy.savez(path, x=..., y=...)"
        )


def test_a_name_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_data("digit")
    assert str(caught.value) == (
        "--data must be digits or an .npz file, not 'digit'; did you mean 'digits'?"
    )
    path = tmp_path / "no.npz"
    with pytest.raises(ModelError) as caught:
        load_data(path)
    assert str(caught.value) == f"{path}: no such file; give the path of an .npz file"


def test_an_array_that_nobody_asks_for_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tetrapla.ir import npz

    monkeypatch.setattr(npz, "MAX_BYTES", 1000)
    path = tmp_path / "d.npz"
    np.savez_compressed(path, x=X, y=Y, other=np.zeros(2000, np.int8))
    assert load_data(path).test.tolist() == [0, 1, 2, 3]
    with pytest.raises(ModelError) as caught:
        load_inputs(path)["other"]
    assert str(caught.value) == (
        f"{path}: its arrays must be at most 1000 bytes together, not 2000; split the data"
    )
