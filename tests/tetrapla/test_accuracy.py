"""Shares of right answers, by hand."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from tetrapla.accuracy import accuracy


def scores(*answers: int) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Outputs of shape (invocations, batch 1, 3 classes) that choose these answers."""
    return {"y": np.eye(3, dtype=np.float32)[list(answers)][:, None]}


def test_shares_and_spread_by_hand() -> None:
    labels = np.array([[0], [1], [2], [0]])
    found = accuracy(scores(0, 1, 2, 1), [scores(0, 1, 2, 0), scores(0, 0, 0, 1)], labels)
    assert (found.reference, found.target) == (0.75, 0.625)
    # of two runs with shares 1 and 1/4: sqrt(2 (3/8)^2 / (2 - 1))
    assert found.target_std == pytest.approx(0.375 * sqrt(2), rel=1e-15)
    assert (found.seeds, found.samples) == (2, 4)


def test_one_run_has_no_spread() -> None:
    found = accuracy(scores(0), [scores(1)], np.array([[0]]))
    assert (found.reference, found.target, found.target_std) == (1.0, 0.0, None)
