"""How weights become integers: nearest, at least-squares scales, or with second-order repair.

A layer's weights are rows: [groups, channels, taps], one scale per channel. What a rounding
costs is the error of the layer's results over calibration data, which for a row of errors e is
``e H e^T`` with H the second moment of the inputs that the row multiplies (`moments_`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrapla.ir.errors import RegistryError, nearest
from tetrapla.ir.graph import Array

ROUNDINGS = ("nearest", "mse", "gptq")
# shares of max|w| that are tried as the largest integer's value; assumed: below a half, what is
# clipped outweighs what finer steps gain for any weights that are not mostly outliers
SHARES = tuple(float(share) for share in np.linspace(1.0, 0.5, 51))
# added to the diagonal of H, as a share of its mean (Frantar et al., ICLR 2023, section 3.3)
DAMPING_FRAC = 0.01

Floats = NDArray[np.float64]


def check_rounding(rounding: str) -> None:
    """Refuse what there is not.

    Raises:
        RegistryError: there is no such rounding.
    """
    if rounding not in ROUNDINGS:
        there = ", ".join(ROUNDINGS)
        raise RegistryError(
            f"no rounding '{rounding}'{nearest(rounding, ROUNDINGS)}; there are: {there}"
        )


def steps(rows: Floats, scales: Floats, top: int) -> Floats:
    """``clip(rint(w / scale), -top, top)``; the scales broadcast."""
    found: Floats = np.clip(np.rint(rows / scales), -top, top)
    return found


def best_scales(rows: Floats, top: int, moments: Floats | None) -> Floats:
    """Per channel the scale ``share max|w| / top`` of least error, shape [groups, channels].

    Args:
        rows: [groups, channels, taps].
        top: the largest integer.
        moments: [groups, taps, taps] of the inputs; None weighs all weights alike.
    """
    tops = np.abs(rows).max(axis=-1, initial=0)
    best = np.full(tops.shape, np.inf)
    found = np.where(tops == 0, 1.0, tops / top)
    for share in SHARES:
        scales = np.where(tops == 0, 1.0, share * tops / top)
        taps = scales[..., None]
        costs = _cost(rows - steps(rows, taps, top) * taps, moments)
        better = costs < best
        best = np.where(better, costs, best)
        found = np.where(better, scales, found)
    return found


def repaired(rows: Floats, scales: Floats, top: int, moments: Floats) -> Floats:
    """GPTQ: each tap is rounded in turn, and the taps to come make up for its error.

    Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ", ICLR 2023, algorithm 1, taps in the order of
    falling second moment ("act-order" of the authors' code).

    Args:
        rows: [groups, channels, taps].
        scales: of every weight, as `rows`.
        top: the largest integer.
        moments: [groups, taps, taps].
    """
    order, upper = _inverse_roots(moments)
    left = np.take_along_axis(rows, order[:, None, :], axis=-1).copy()
    scales = np.take_along_axis(scales, order[:, None, :], axis=-1)
    made = np.empty_like(left)
    for tap in range(left.shape[-1]):
        column, scale = left[..., tap], scales[..., tap]
        made[..., tap] = steps(column, scale, top)
        error = (column - made[..., tap] * scale) / upper[:, None, tap, tap]
        left[..., tap + 1 :] -= error[..., None] * upper[:, None, tap, tap + 1 :]
    found = np.empty_like(made)
    np.put_along_axis(found, np.broadcast_to(order[:, None, :], made.shape), made, axis=-1)
    return found


def rows_of(weights: Array, kind: str, groups: int = 1) -> Floats:
    """A layer's weights as [groups, channels, taps].

    Args:
        weights: filters [O, C / groups, kh, kw] of nn.conv2d, a matrix [K, N] of nn.matmul.
        kind: the operator's.
        groups: of the convolution.
    """
    wide = weights.astype(np.float64)
    if kind == "nn.matmul":
        return wide.T[None]
    return wide.reshape(groups, weights.shape[0] // groups, -1)


def as_weights(rows: Array, kind: str, shape: tuple[int, ...]) -> Array:
    """The inverse of `rows_of`."""
    return np.ascontiguousarray(rows[0].T) if kind == "nn.matmul" else rows.reshape(shape)


def _inverse_roots(moments: Floats) -> tuple[NDArray[Any], Floats]:
    """The order of the taps, and in it the upper Cholesky factor of H^-1, per group."""
    taps = moments.shape[-1]
    diagonal = np.diagonal(moments, axis1=-2, axis2=-1)
    order = np.argsort(-diagonal, axis=-1, kind="stable")
    sorted_ = np.take_along_axis(moments, order[..., :, None], axis=-2)
    sorted_ = np.take_along_axis(sorted_, order[..., None, :], axis=-1)
    # a tap that is always zero has no say; with no data at all H is the identity
    damping = DAMPING_FRAC * diagonal.mean(axis=-1, keepdims=True)
    damping = np.where(damping == 0, 1.0, damping)
    damped = sorted_ + damping[..., None] * np.eye(taps)
    inverse = np.linalg.inv(damped)
    lower = np.linalg.cholesky((inverse + np.swapaxes(inverse, -1, -2)) / 2)
    return order, np.asarray(np.swapaxes(lower, -1, -2), np.float64)


def _cost(errors: Floats, moments: Floats | None) -> Floats:
    """``e H e^T`` per channel; the sum of squares without moments."""
    if moments is None:
        return np.asarray((errors**2).sum(axis=-1))
    return np.asarray(((errors @ moments) * errors).sum(axis=-1))
