"""Training in NumPy: the reference interpreter on `training_step`, batch after batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.gradient import (
    GradientOptions,
    Optimizer,
    parameters,
    training_step,
    with_weights,
)
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.simulators.random_ import Key, uniforms

SHUFFLE: Final = 3  # the purpose of the numbers that order the samples; 1 and 2 are noise's


@dataclass(frozen=True)
class Trained:
    """What training gave.

    Attributes:
        module: the model with the weights after the last step.
        losses: before each step, on its batch.
    """

    module: Module
    losses: tuple[float, ...]


def train(
    module: Module,
    x: Array,
    y: Array,
    epochs: int = 1,
    loss: str = "cross_entropy",
    optimizer: Optimizer | str = "sgd",
    wrt: Sequence[str] | None = None,
    seed: int = 0,
    options: GradientOptions | None = None,
    progress: Callable[[int], None] | None = None,
    held: Callable[[int, Mapping[str, Array]], Mapping[str, Array]] | None = None,
) -> Trained:
    """Train a model of one input on samples in an order that the seed decides.

    Args:
        module: with weights; its leading dimension is the batch. It stays as it is.
        x: the samples, (samples, *shape of one).
        y: the right classes for cross_entropy, integers (samples,); what the output should be,
            (samples, *shape of one), for mse.
        epochs: how often each sample is seen; samples that fill no batch are left out of one.
        loss: cross_entropy or mse.
        optimizer: with its constants, or the name of one with those that it has by itself.
        wrt: symbols of the weights that are trained; `parameters` of the module if None.
        seed: of the order of the samples: Philox4x32-10, one stream for each epoch.
        options: of rules whose derivative is zero almost everywhere (spikes, rounding).
        progress: is called with 1 after each step.
        held: of the number of a step and the weights, those that the step is computed with in
            their place: what changes is still the weights (noise that training sees).

    Raises:
        ModelError: the samples do not fit the model, or its learning rate is left open.
        TetraplaError: as `training_step`.
    """
    names = parameters(module) if wrt is None else tuple(wrt)
    step = training_step(module, loss, names, optimizer, options=options)
    given = _given(module, step, x, y)
    state = {name: np.zeros(v.shape, DTYPES[v.dtype]) for name, v in step.inputs.items()}
    state = {**state, **{name: module.weights[name] for name in names}}
    losses: list[float] = []
    batches = _batches(seed, epochs, len(x), step.inputs["target"].shape[0])
    for number, some in enumerate(batches):
        batch = {name: array[some].astype(state[name].dtype) for name, array in given.items()}
        seen = {} if held is None else held(number, {name: state[name] for name in names})
        found = evaluate(step, {**state, **batch, **seen})
        state = {name: found.get(f"new_{name}", array) for name, array in state.items()} | {
            # the step's own change, of the weights that it did not see
            name: state[name] + (found[f"new_{name}"] - array)
            for name, array in seen.items()
        }
        losses.append(float(found["loss"]))
        if progress is not None:
            progress(1)
    return Trained(with_weights(module, {n: state[n] for n in names}), tuple(losses))


def _batches(seed: int, epochs: int, samples: int, size: int) -> Iterator[Array]:
    """Which samples each step sees; uniform numbers that are sorted are in any order alike."""
    for epoch in range(epochs):
        numbers = uniforms(Key(seed, purpose=SHUFFLE, read=epoch), samples)
        order = np.argsort(numbers, kind="stable")
        yield from (order[i : i + size] for i in range(0, samples - size + 1, size))


def _given(module: Module, step: Module, x: Array, y: Array) -> Mapping[str, Array]:
    """The samples of each input that changes from step to step."""
    if len(module.inputs) != 1:
        raise ModelError(
            f"a model to train must have one input, not {list(module.inputs)}; "
            f"write the loop around training_step"
        )
    if "learning_rate" in step.inputs:
        raise ModelError("learning_rate must be a number to train, not None; give one")
    name = next(iter(module.inputs))
    for key, what, array in ((name, "x", x), ("target", "y", y)):
        shape = step.inputs[key].shape
        if not shape or np.shape(array)[1:] != shape[1:] or len(array) < shape[0]:
            raise ModelError(
                f"{what} must hold at least {shape[:1]} samples of shape {shape[1:]}, "
                f"not {np.shape(array)}"
            )
    if len(x) != len(y):
        raise ModelError(f"x and y must have one number of samples, not {len(x)} and {len(y)}")
    return {name: np.asarray(x), "target": np.asarray(y)}
