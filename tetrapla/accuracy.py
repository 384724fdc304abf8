"""Shares of right answers: the float model's, and a machine's over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.simulators.report import Accuracy


def classes(module: Module) -> int | None:
    """How many answers a model chooses from: its one output is [batch, classes], else None."""
    shapes = [value.shape for _, value in module.graph.outputs]
    return shapes[0][1] if len(shapes) == 1 and len(shapes[0]) == 2 else None


def check_labels(labels: Array, count: int) -> None:
    """Refuse labels that no answer can meet.

    Raises:
        ModelError: a label is not below `count`.
    """
    if labels.max() >= count:
        raise ModelError(
            f"labels must be below the model's {count} classes, not {labels.max()}; "
            "number the classes from 0"
        )


def accuracy(
    floats: Mapping[str, Array], outputs: Sequence[Mapping[str, Array]], labels: Array
) -> Accuracy:
    """Compare outputs with labels.

    Args:
        floats: the float model's outputs, one array of shape (invocations, batch, classes).
        outputs: the machine's, one mapping per seed.
        labels: right answers, shape (invocations, batch).
    """
    shares = shares_of(outputs, labels)
    return Accuracy(
        reference=_share(floats, labels),
        target=float(np.mean(shares)),
        # the spread of the runs themselves, not of their mean
        target_std=float(np.std(shares, ddof=1)) if len(shares) > 1 else None,
        seeds=len(shares),
        samples=int(labels.size),
    )


def shares_of(outputs: Sequence[Mapping[str, Array]], labels: Array) -> list[float]:
    """The share of right answers in each run's outputs."""
    return [_share(found, labels) for found in outputs]


def _share(outputs: Mapping[str, Array], labels: Array) -> float:
    (scores,) = outputs.values()
    answers = np.argmax(scores, axis=-1).reshape(labels.shape)
    return float(np.count_nonzero(answers == labels) / labels.size)
