"""Zero-cost proxies: what a network's first weights say of how well it will learn.

Each is a number of one forward pass, or one pass and its way back, at initialisation. They
rank networks of one family and mean nothing by themselves; a search reports how well their
order agreed with the one that training found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from tetrapla.architecture.layers import (
    Reals,
    Weights,
    backward,
    cross_entropy,
    forward,
    images,
)
from tetrapla.frontend.zoo.digits import CLASSES, SIZE, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

Proxy: TypeAlias = "Callable[[Shape, Weights, Reals, NDArray[np.int64]], float]"


def synflow(
    shape: Shape, weights: Mapping[str, Reals], x: Reals, y: NDArray[np.int64]
) -> float:
    """The logarithm of the sum of ``|w| dR/d|w|``, R the scores' sum of an image of ones.

    H. Tanaka et al., "Pruning neural networks without any data by iteratively conserving
    synaptic flow", NeurIPS 2020, as a score of networks: M. Abdelfattah et al., ICLR 2021.
    Needs no data.
    """
    del x, y
    bare = {name: np.abs(array) for name, array in weights.items()}
    ones = np.ones((1, SIZE, SIZE, 1), np.float32)
    passed = forward(shape, bare, ones)
    found = backward(shape, bare, passed, np.ones((1, CLASSES), np.float32))
    total = sum(float((bare[name] * d).sum(dtype=np.float64)) for name, d in found.items())
    return float(np.log(total)) if total > 0 else float("-inf")


def naswot(shape: Shape, weights: Mapping[str, Reals], x: Reals, y: NDArray[np.int64]) -> float:
    """The logarithm of the determinant of how many ReLUs two images switch alike.

    J. Mellor et al., "Neural architecture search without training", ICML 2021, equation 2. A
    network without ReLUs, or that cannot tell two images apart, has minus infinity.
    """
    del y
    active = forward(shape, weights, images(x)).active
    if not active:
        return float("-inf")
    on = np.concatenate(active, axis=1).astype(np.float64)
    alike = on @ on.T + (1 - on) @ (1 - on).T
    sign, log = np.linalg.slogdet(alike)
    return float(log) if sign > 0 else float("-inf")


def grad_norm(
    shape: Shape, weights: Mapping[str, Reals], x: Reals, y: NDArray[np.int64]
) -> float:
    """The length of the loss's derivative by all weights; Abdelfattah et al., ICLR 2021."""
    passed = forward(shape, weights, images(x))
    found = backward(shape, weights, passed, cross_entropy(passed.scores, y, 0.0)[1])
    return float(np.sqrt(sum(float((d.astype(np.float64) ** 2).sum()) for d in found.values())))


PROXIES: Final[Mapping[str, Proxy]] = MappingProxyType(
    {"synflow": synflow, "naswot": naswot, "grad_norm": grad_norm}
)


def ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """The place of each value from 1 on; equal ones share the mean of theirs."""
    array = np.asarray(values, np.float64)
    below = (array[:, None] > array).sum(1)
    found: NDArray[np.float64] = below + ((array[:, None] == array).sum(1) + 1) / 2
    return found


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's, with ties; None for fewer than three pairs or where one side is constant."""
    if len(a) < 3:
        return None
    left, right = (each - each.mean() for each in (ranks(a), ranks(b)))
    length = float(np.sqrt((left @ left) * (right @ right)))
    return float(left @ right) / length if length else None
