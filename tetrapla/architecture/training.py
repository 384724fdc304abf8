"""Training a member of the family: AdamW with a cosine rate on images that are moved a little.

A step sees the weights rounded to the shape's bits (the derivative passes the rounding by) and
multiplied by noise, so that the network bears what machines do to weights. What is kept is a
running mean of the weights, which lies closer to the middle of a flat valley than the last
step. All random numbers come from the seed; sums have one order with one BLAS thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tetrapla.architecture.layers import (
    Reals,
    Weights,
    backward,
    cross_entropy,
    forward,
    images,
    rounded,
)
from tetrapla.frontend.zoo.digits import Shape
from tetrapla.ir.gradient import with_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tetrapla.ir.module import Module

SMOOTHING: Final = 0.05  # of labels
DECAY: Final = 0.01  # of weights, by AdamW
RATE: Final = 4e-3  # at the start; the cosine ends at zero
NOISE_FRAC: Final = 0.05  # of a weight, in training; as examples/train_digits.py has it
MEAN_FRAC: Final = 0.98  # of the running mean that a step keeps
TURN, SCALE, SHEAR = 0.12, 0.10, 0.12  # radians and shares; uniform on both sides
SHIFT: Final = 0.5  # pixels
LEFT_FRAC: Final = 0.5  # of the images, which are not moved
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Recipe:
    """How long and in which batches; everything else is the file's constants."""

    epochs: int
    batch: int = 64


def trained(
    shape: Shape, x: NDArray[np.float32], y: NDArray[np.int64], recipe: Recipe, seed: int
) -> Weights:
    """Weights after training on all samples, rounded to the shape's bits.

    Args:
        shape: of the network; its first values are the Builder's of `seed`.
        x: (samples, ...) of 64 pixels each.
        y: classes, (samples,).
        recipe: the schedule.
        seed: of the first values, the order, the moves and the noise.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    weights = first_weights(shape, seed)
    x = images(x)
    mean = {name: array.copy() for name, array in weights.items()}
    states = {name: (np.zeros_like(a), np.zeros_like(a)) for name, a in weights.items()}
    size = min(recipe.batch, len(x))
    order = np.arange(len(x))
    steps = recipe.epochs * (len(x) // size)
    for step in range(steps):
        at = step % (len(x) // size)
        if at == 0:
            rng.shuffle(order)
        some = order[at * size : (at + 1) * size]
        seen = rounded(weights, shape.weight_bits)
        for name in seen:
            normals = rng.standard_normal(seen[name].shape, np.float32)
            noisy = seen[name] * (1 + np.float32(NOISE_FRAC) * normals)
            seen[name] = noisy.astype(np.float32, copy=False)
        passed = forward(shape, seen, moved(x[some], rng))
        _, d_scores = cross_entropy(passed.scores, y[some], SMOOTHING)
        rate = RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
        _adamw(weights, backward(shape, seen, passed, d_scores), states, step + 1, rate)
        kept = np.float32(min(MEAN_FRAC, step / (step + 10)))
        for name, array in weights.items():
            mixed = kept * mean[name] + (1 - kept) * array
            mean[name] = mixed.astype(np.float32, copy=False)
    return rounded(mean, shape.weight_bits)


def first_weights(shape: Shape, seed: int) -> Weights:
    """The Builder's first values of a seed."""
    found = shape.module(seed=seed).weights
    return {name: np.array(array, np.float32) for name, array in found.items()}


def module_of(shape: Shape, weights: Mapping[str, Reals], batch: int = 1) -> Module:
    """The module with trained weights."""
    return with_weights(shape.module(batch), dict(weights))


def answers(
    shape: Shape, weights: Mapping[str, Reals], x: NDArray[np.float32]
) -> NDArray[np.int64]:
    """The class of each sample."""
    found: NDArray[np.int64] = forward(shape, weights, images(x)).scores.argmax(1)
    return found


def moved(x: Reals, rng: np.random.Generator) -> Reals:
    """Half of the images turned, scaled, sheared and shifted a little, bilinearly."""
    n, side = len(x), x.shape[1]
    turn, shear = (rng.uniform(-r, r, n) for r in (TURN, SHEAR))
    wide, high = (1 + rng.uniform(-SCALE, SCALE, n) for _ in range(2))
    middle = (side - 1) / 2
    line = np.arange(side) - middle
    down, right = np.meshgrid(line, line, indexing="ij")
    cos, sin = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None]
    shifts = rng.uniform(-SHIFT, SHIFT, (2, n))[:, :, None, None]
    i = high[:, None, None] * (cos * down + sin * right) + middle + shifts[0]
    tilted = cos * right - sin * down + shear[:, None, None] * down
    j = wide[:, None, None] * tilted + middle + shifts[1]
    # two pixels of border on each side are dark, and what lies further out is, too
    padded = np.pad(x[..., 0], ((0, 0), (2, 2), (2, 2)))
    i, j = (np.clip(at + 2, 0, side + 2.999) for at in (i, j))
    top, left = np.floor(i).astype(np.int64), np.floor(j).astype(np.int64)
    below, beside = i - top, j - left
    sample = np.arange(n)[:, None, None]
    found = (
        (1 - below) * (1 - beside) * padded[sample, top, left]
        + (1 - below) * beside * padded[sample, top, left + 1]
        + below * (1 - beside) * padded[sample, top + 1, left]
        + below * beside * padded[sample, top + 1, left + 1]
    )
    kept = rng.random(n) < LEFT_FRAC
    found[kept] = x[kept, ..., 0]
    with_channel: Reals = found[..., None].astype(np.float32)
    return with_channel


def _adamw(
    weights: Weights,
    found: Weights,
    states: dict[str, tuple[Reals, Reals]],
    step: int,
    rate: float,
) -> None:
    """One step in place; I. Loshchilov, F. Hutter, arXiv:1711.05101, algorithm 2."""
    short, long = 1 - _BETA1**step, 1 - _BETA2**step
    for name, d in found.items():
        first, second = states[name]
        first += (1 - _BETA1) * (d - first)
        second += (1 - _BETA2) * (d * d - second)
        moves = (first / short) / (np.sqrt(second / long) + _EPSILON)
        weights[name] -= np.float32(rate) * (moves + DECAY * weights[name])
