"""The search: candidates priced by the target, trained, cross-validated; one is the winner.

    priced     every candidate: its cost on the target with first values, and its proxies
    trained    the budget's number of them, shortly, on three quarters of the training part;
               loss and errors are those of the fourth quarter
    finalists  the best of these, at full length in four folds of the training part, each fold
               answered by the target
    winner     the cheapest that is as good as any; trained at full length on the training part

The test images are looked at once, by the winner and the baseline, when everything is chosen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tetrapla.architecture.evolution import History, Member, Priced, evolved, front
from tetrapla.architecture.judging import Validated
from tetrapla.architecture.layers import cross_entropy, forward, images
from tetrapla.architecture.oracle import Oracle, key_of, right
from tetrapla.architecture.proxies import PROXIES
from tetrapla.architecture.training import (
    Recipe,
    answers,
    first_weights,
    module_of,
    trained,
)
from tetrapla.datasets import load_data
from tetrapla.frontend.zoo.digits import Shape, parse
from tetrapla.ir.errors import ModelError, UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tetrapla.architecture.layers import Weights
    from tetrapla.architecture.study import Study

BASELINE_SHAPE: Final = "c8k3-c16k3p-c16k3p-h0-b8"  # that of examples/digits_cnn.onnx
HELD_OUT: Final = 4  # one in so many training images judges the short trainings
SHORT: Final = 4  # times as long is a full training
CHIPS: Final = 2  # of a noisy machine, that answer a fold
PROXY_SAMPLES: Final = 64
APART: Final = 1000  # between the seeds of folds, so that searches of near seeds share none
MAX_TRAININGS, MAX_EPOCHS = 10_000, 10_000  # assumed: more is a typing error

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """The budget.

    Attributes:
        trainings: short ones, that of the baseline's shape included.
        epochs: of a full training.
        seed: of every draw, the split and the first values.
        finalists: how many are cross-validated beside the baseline's shape.
        folds: of the cross-validation.

    Raises:
        ModelError: a number is out of its range.
    """

    trainings: int
    epochs: int
    seed: int
    finalists: int = 4
    folds: int = 4

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("--budget", self.trainings, 2, MAX_TRAININGS),
            ("--epochs", self.epochs, SHORT, MAX_EPOCHS),
        ):
            if not least <= value <= most:
                raise ModelError(f"{name} must be from {least} to {most}, not {value}")

    @property
    def short(self) -> Recipe:
        """Of a candidate."""
        return Recipe(self.epochs // SHORT)

    @property
    def full(self) -> Recipe:
        """Of a finalist and of the winner."""
        return Recipe(self.epochs)


@dataclass(frozen=True)
class Found:
    """What a search comes to, before the test images.

    Attributes:
        finalists: cross-validated; the first is the baseline's shape.
    """

    history: History
    finalists: tuple[Validated, ...]


class Search:
    """One search on the digits; `study` has what was computed before.

    Args:
        oracle: the machine.
        plan: the budget.
        study: takes every result.
        say: is told of every step; silent by itself.
    """

    def __init__(
        self, oracle: Oracle, plan: Plan, study: Study, say: Say = lambda text: None
    ) -> None:
        self._oracle, self._plan, self._study, self._say = oracle, plan, study, say
        data = load_data("digits")
        self._x, self._y = data.x[data.train], data.y[data.train]
        order = np.random.Generator(np.random.Philox(plan.seed)).permutation(len(self._x))
        self._parts = np.array_split(order, plan.folds)
        held = len(order) // HELD_OUT
        self._held, self._fitted = order[:held], order[held:]
        digest = hashlib.sha256(self._x.tobytes() + self._y.tobytes()).hexdigest()
        self._given: list[Any] = [*key_of(oracle), plan.seed, digest]
        self._done = 0

    def run(self) -> Found:
        """All but the last training and the verdict."""
        first, plan = parse(BASELINE_SHAPE), self._plan
        rng = np.random.Generator(np.random.Philox(key=[plan.seed, 1]))
        history = evolved(first, plan.trainings, rng, self.priced, self.member)
        chosen = [
            parse(BASELINE_SHAPE),
            *(m.priced.shape for m in finalists(history, plan.finalists)),
        ]
        return Found(history, tuple(self.validated(shape) for shape in chosen))

    def priced(self, shape: Shape) -> Priced:
        """A shape's cost and proxies with its first values."""
        found = self._study.known(
            [*self._given, "priced", shape.label], lambda: self._price(shape)
        )
        return Priced(shape, found["cost"], tuple(found["proxies"]))

    def member(self, priced: Priced) -> Member:
        """A shape trained shortly."""
        shape, epochs = priced.shape, self._plan.short.epochs
        key = [*self._given, "trained", shape.label, epochs]
        found = self._study.known(key, lambda: self._train(shape))
        self._done += 1
        wrong = f"{found['errors']} of {len(self._held)} wrong"
        self._say(f"trained {self._done} of {self._plan.trainings}: {shape.label}, {wrong}")
        return Member(priced, found["cost"], found["loss"], found["errors"])

    def validated(self, shape: Shape) -> Validated:
        """A shape trained at full length in every fold, answered by the target."""
        folds, count = list[dict[str, Any]](), self._plan.folds
        for fold in range(count):
            key = [*self._given, "validated", shape.label, self._plan.epochs, count, fold]
            folds.append(self._study.known(key, partial(self._fold, shape, fold)))
            self._say(f"cross-validated {shape.label}: {fold + 1} of {count} folds")
        return Validated(
            shape.label,
            float(np.mean([fold["cost"] for fold in folds])),
            float(sum(fold["errors"] for fold in folds)),
            sum(fold["samples"] for fold in folds),
        )

    def final(self, shape: Shape) -> Weights:
        """A shape trained at full length on the whole training part."""
        self._say(f"training {shape.label} on all {len(self._x)} images")
        key = [*self._given, "final", shape.label, self._plan.epochs]
        found = self._study.known(key, lambda: self._final(shape))
        return {
            name: np.array(each["data"], np.float32).reshape(each["shape"])
            for name, each in found.items()
        }

    def _price(self, shape: Shape) -> dict[str, Any]:
        weights, some = first_weights(shape, self._plan.seed), self._fitted[:PROXY_SAMPLES]
        proxies = [
            proxy(shape, weights, self._x[some], self._y[some]) for proxy in PROXIES.values()
        ]
        return {"cost": self._cost(shape, weights, self._fitted), "proxies": proxies}

    def _train(self, shape: Shape) -> dict[str, Any]:
        x, y, held = self._x, self._y, self._held
        fitted = self._fitted
        weights = trained(shape, x[fitted], y[fitted], self._plan.short, self._plan.seed)
        scores = forward(shape, weights, images(x[held])).scores
        return {
            "cost": self._cost(shape, weights, fitted),
            "loss": cross_entropy(scores, y[held], 0.0)[0],
            "errors": int(np.count_nonzero(scores.argmax(1) != y[held])),
        }

    def _fold(self, shape: Shape, fold: int) -> dict[str, Any]:
        x, y, held = self._x, self._y, self._parts[fold][: self._oracle.settings.samples]
        fitted = np.concatenate([part for i, part in enumerate(self._parts) if i != fold])
        seed = self._plan.seed + APART * (fold + 1)
        weights = trained(shape, x[fitted], y[fitted], self._plan.full, seed)
        module = module_of(shape, weights)
        result = self._oracle.judged(
            module, shape.weight_bits, x[fitted], x[held], y[held], chips=CHIPS
        )
        wrong = ~right(result, y[held])
        return {
            "cost": self._oracle.of(result.report),
            "errors": float(wrong.sum(1).mean()),
            "samples": len(held),
            "float_errors": int(np.count_nonzero(answers(shape, weights, x[held]) != y[held])),
        }

    def _final(self, shape: Shape) -> dict[str, Any]:
        weights = trained(shape, self._x, self._y, self._plan.full, self._plan.seed)
        # a float32 is exact as a decimal of a double
        return {
            name: {"shape": list(array.shape), "data": array.reshape(-1).tolist()}
            for name, array in weights.items()
        }

    def _cost(self, shape: Shape, weights: Weights, some: NDArray[np.int64]) -> float | None:
        """None where the machine cannot do the shape."""
        try:
            return self._oracle.cost(
                module_of(shape, weights), shape.weight_bits, self._x[some]
            )
        except UnsupportedError:
            if shape.label == BASELINE_SHAPE:
                raise
            return None


def finalists(history: History, most: int) -> list[Member]:
    """Members from all over the front that cost less than the baseline's shape.

    First those that lose no more than it, evenly from the cheapest to that of least loss;
    where the front has too few, those of the front behind it follow, then others by their loss.
    """
    first, *rest = history.members
    cheaper = [member for member in rest if member.cost < first.cost]
    left = [member for member in cheaper if member.loss <= first.loss]
    chosen: list[Member] = []
    while left and len(chosen) < most:
        best = front(left)
        chosen += _spread(best, most - len(chosen))
        left = [member for member in left if member not in best]
    others = sorted((m for m in cheaper if m not in chosen), key=lambda m: (m.loss, m.cost))
    return [*chosen, *others[: most - len(chosen)]]


def _spread(members: Sequence[Member], most: int) -> list[Member]:
    """So many of them, evenly, with the first and the last."""
    places = np.linspace(0, len(members) - 1, min(most, len(members)))
    return [members[round(place)] for place in places]
