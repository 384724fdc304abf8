"""The family's networks in plain NumPy, forward and backward, for a whole batch at once.

Images are [N, H, W, C] here, so that a convolution is one matrix product of its patches; the
weights have the module's layouts ([O, I, k, k] and [in, out]), and a dense layer behind images
reads them in the module's order. A test holds scores and gradients against the module's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tetrapla.frontend.zoo.digits import Conv, Shape

Reals: TypeAlias = NDArray[np.float32]
Weights: TypeAlias = dict[str, Reals]  # by the module's symbols


@dataclass(frozen=True)
class Passed:
    """What a forward pass keeps for the way back.

    Attributes:
        scores: (samples, classes).
        kept: of each layer, in order.
        active: of each ReLU, (samples, neurons): whether a neuron is above zero.
    """

    scores: Reals
    kept: list[Any]
    active: list[NDArray[np.bool_]]


def forward(shape: Shape, weights: Mapping[str, Reals], x: Reals) -> Passed:
    """Scores of images (samples, side, side, channels)."""
    kept: list[Any] = []
    active: list[NDArray[np.bool_]] = []
    for i, conv in enumerate(shape.convs, 1):
        w, b = weights[f"conv{i}.weight"], weights[f"conv{i}.bias"]
        patches, side = _patches(x, conv)
        y = patches @ _matrix(w) + b
        on = y > 0
        y *= on
        active.append(on.reshape(len(x), -1))
        kept.append((patches, on, x.shape))
        x = y.reshape(len(x), side, side, -1)
        if conv.pools:
            x, places = _pooled(x)
            kept[-1] = (*kept[-1], places)
    kept.append(x.shape)
    flat = np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(len(x), -1)
    if shape.hidden:
        y = flat @ weights["hidden.weight"] + weights["hidden.bias"]
        on = y > 0
        active.append(on)
        kept.append((flat, on))
        flat = y * on
    kept.append(flat)
    return Passed(flat @ weights["last.weight"] + weights["last.bias"], kept, active)


def backward(
    shape: Shape, weights: Mapping[str, Reals], passed: Passed, d_scores: Reals
) -> Weights:
    """The derivative of every weight, from that of the scores."""
    kept, found = list(passed.kept), Weights()
    flat = kept.pop()
    found["last.weight"], found["last.bias"] = flat.T @ d_scores, d_scores.sum(0)
    d = d_scores @ weights["last.weight"].T
    if shape.hidden:
        flat, on = kept.pop()
        d = d * on
        found["hidden.weight"], found["hidden.bias"] = flat.T @ d, d.sum(0)
        d = d @ weights["hidden.weight"].T if shape.convs else d
    if not shape.convs:
        return found
    n, high, wide, channels = kept.pop()
    d = d.reshape(n, channels, high, wide).transpose(0, 2, 3, 1)
    for i in range(len(shape.convs), 0, -1):
        conv, (patches, on, image, *places) = shape.convs[i - 1], kept.pop()
        d = _unpooled(d, places[0]) if places else d
        d = d.reshape(on.shape) * on
        w = weights[f"conv{i}.weight"]
        d_matrix = (patches.T @ d).reshape(w.shape[2], w.shape[3], w.shape[1], w.shape[0])
        found[f"conv{i}.weight"] = d_matrix.transpose(3, 2, 0, 1)
        found[f"conv{i}.bias"] = d.sum(0)
        if i > 1:
            d = _unpatched(d @ _matrix(w).T, conv, image)
    return found


def cross_entropy(scores: Reals, y: NDArray[np.int64], smoothing: float) -> tuple[float, Reals]:
    """The mean loss and its derivative; labels share `smoothing` with all classes."""
    n, classes = scores.shape
    wanted = np.full(scores.shape, smoothing / classes, np.float32)
    wanted[np.arange(n), y] += np.float32(1 - smoothing)
    shifted = scores - scores.max(1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    d = (np.exp(logs) - wanted) / np.float32(n)
    return float(-(wanted * logs).sum() / n), d.astype(np.float32)


def rounded(weights: Mapping[str, Reals], bits: int) -> Weights:
    """Weights on the grid of so many bits, symmetric, one scale per output channel.

    It is the grid of `quantize{weights=i8}` and `i4`. Biases stay as they are.
    """
    top = np.float32(2 ** (bits - 1) - 1)
    found = Weights()
    for name, array in weights.items():
        if array.ndim == 1:
            found[name] = array
            continue
        axes = (1, 2, 3) if array.ndim == 4 else (0,)
        scale = np.abs(array).max(axis=axes, keepdims=True) / top
        scale[scale == 0] = 1
        found[name] = np.rint(array / scale) * scale
    return found


def images(x: NDArray[Any]) -> Reals:
    """Samples of any layout of one channel as (samples, side, side, 1)."""
    side = round((x.size / len(x)) ** 0.5)
    return x.reshape(len(x), side, side, 1).astype(np.float32)


def _matrix(w: Reals) -> Reals:
    """[O, I, k, k] as [k k I, O], the order of a patch."""
    return w.transpose(2, 3, 1, 0).reshape(-1, w.shape[0])


def _patches(x: Reals, conv: Conv) -> tuple[Reals, int]:
    """Every window of the padded images as a row, and the side of what a convolution gives."""
    reach, k = conv.kernel // 2, conv.kernel
    side = (x.shape[1] - 1) // conv.stride + 1
    if k == 1 and conv.stride == 1:
        return x.reshape(-1, x.shape[3]), side
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    rows = np.empty((len(x), side, side, k, k, x.shape[3]), np.float32)
    for i in range(k):
        for j in range(k):
            rows[:, :, :, i, j] = _shifted(padded, conv, side, i, j)
    return rows.reshape(len(x) * side * side, -1), side


def _unpatched(d: Reals, conv: Conv, image: tuple[int, ...]) -> Reals:
    """The derivative of the images from that of their patches."""
    n, high, wide, channels = image
    reach, k = conv.kernel // 2, conv.kernel
    side = (high - 1) // conv.stride + 1
    rows = d.reshape(n, side, side, k, k, channels)
    padded = np.zeros((n, high + 2 * reach, wide + 2 * reach, channels), np.float32)
    for i in range(k):
        for j in range(k):
            _shifted(padded, conv, side, i, j)[...] += rows[:, :, :, i, j]
    return padded[:, reach : reach + high, reach : reach + wide]


def _shifted(padded: Reals, conv: Conv, side: int, i: int, j: int) -> Reals:
    """What the weight at (i, j) of a kernel meets, a view."""
    end = conv.stride * (side - 1) + 1
    return padded[:, i : i + end : conv.stride, j : j + end : conv.stride]


def _pooled(x: Reals) -> tuple[Reals, Reals]:
    """The maxima of 2 x 2 pixels, and which pixel of each was first to have it."""
    n, side, _, channels = x.shape
    fours = x.reshape(n, side // 2, 2, side // 2, 2, channels).transpose(0, 1, 3, 5, 2, 4)
    fours = fours.reshape(n, side // 2, side // 2, channels, 4)
    first = fours.argmax(-1)
    places = (np.arange(4) == first[..., None]).astype(np.float32)
    return fours.max(-1), places


def _unpooled(d: Reals, places: Reals) -> Reals:
    n, half, _, channels = d.shape
    fours = (d[..., None] * places).reshape(n, half, half, channels, 2, 2)
    return fours.transpose(0, 1, 4, 2, 5, 3).reshape(n, 2 * half, 2 * half, channels)
