"""Aging evolution under ceilings of cost, with children that proxies choose before training.

E. Real et al., "Regularized evolution for image classifier architecture search", AAAI 2019:
a parent is the best of a sample of the population, and the oldest member makes room. Here each
brood has a ceiling of cost, drawn between the cheapest network known and the baseline: the best
parent is the one of least loss below it, and of its children below it the one with the best
proxies is trained. So the whole front is searched, not its dear end, where proxies point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tetrapla import pareto
from tetrapla.architecture.moves import drawn, mutated
from tetrapla.architecture.proxies import ranks
from tetrapla.frontend.zoo.digits import Shape

POPULATION: Final = 8
SAMPLE: Final = 4  # members that a parent is the best of
CHILDREN: Final = 6  # of which one is trained
_DRAWS: Final = 50  # for children that are new, before fewer will do
_BARREN: Final = 20  # broods in a row that the machine cannot do at all: the search ends


@dataclass(frozen=True)
class Priced:
    """A shape before training: its cost with first values, and its proxies in order.

    Attributes:
        cost: None where the machine cannot do it.
    """

    shape: Shape
    cost: float | None
    proxies: tuple[float, ...]


@dataclass(frozen=True)
class Member:
    """A trained shape.

    Attributes:
        cost: of the trained network; spikes depend on weights.
        loss: on the samples held out.
        errors: of these, wrong answers.
    """

    priced: Priced
    cost: float
    loss: float
    errors: int


@dataclass(frozen=True)
class History:
    """All members in the order of training, and what was only priced."""

    members: tuple[Member, ...]
    priced: tuple[Priced, ...]


def evolved(
    first: Shape,
    trainings: int,
    rng: np.random.Generator,
    price: Callable[[Shape], Priced],
    train: Callable[[Priced], Member],
) -> History:
    """Train so many shapes, the better the longer.

    Args:
        first: the baseline's shape, which is trained first; its cost is the highest ceiling.
        trainings: how many, the first included.
        rng: of all draws.
        price: of a shape, without training.
        train: a priced shape.
    """
    known: dict[Shape, Priced] = {first: price(first)}
    members = [train(known[first])]
    population, barren = [members[0]], 0
    while len(members) < trainings and barren < _BARREN:
        ceiling = _ceiling([each.cost for each in known.values()], members[0].cost, rng)
        full = len(population) == POPULATION
        parent = _parent(population, ceiling, rng) if full else None
        trained = {member.priced.shape for member in members}
        chosen = _chosen(_children(parent, known, trained, rng, price), ceiling)
        barren = barren + 1 if chosen is None else 0
        if chosen is not None:
            members.append(train(chosen))
            population = [*population, members[-1]][-POPULATION:]
    return History(tuple(members), tuple(known.values()))


def front(members: Sequence[Member]) -> list[Member]:
    """Those that no other beats in cost and loss, from the cheapest on."""
    on = pareto.front([(m.cost, m.loss) for m in members])
    kept = [m for m, best in zip(members, on, strict=True) if best]
    return sorted(kept, key=lambda m: (m.cost, m.loss, m.priced.shape.label))


def _ceiling(costs: Sequence[float | None], most: float, rng: np.random.Generator) -> float:
    """A cost between the least known and the baseline's, uniform in its logarithm."""
    least = min([cost for cost in costs if cost is not None and cost > 0], default=most)
    return float(least * (most / least) ** rng.random()) if least < most else most


def _parent(population: Sequence[Member], ceiling: float, rng: np.random.Generator) -> Member:
    """Of a sample: the one of least loss below the ceiling, else the cheapest."""
    places = rng.choice(len(population), SAMPLE, replace=False)
    sample = [population[int(place)] for place in places]
    below = [member for member in sample if member.cost <= ceiling]
    if below:
        return min(below, key=lambda member: member.loss)
    return min(sample, key=lambda member: member.cost)


def _children(
    parent: Member | None,
    known: dict[Shape, Priced],
    trained: set[Shape],
    rng: np.random.Generator,
    price: Callable[[Shape], Priced],
) -> list[Priced]:
    """New shapes, priced: mutants of a parent once or twice removed, or anything at first."""
    found: dict[Shape, Priced] = {}
    for _ in range(_DRAWS):
        if parent is None:
            shape = drawn(rng)
        else:
            shape = mutated(parent.priced.shape, rng)
            shape = mutated(shape, rng) if rng.random() < 0.5 else shape
        if shape in trained or shape in found:
            continue
        if shape not in known:
            known[shape] = price(shape)
        found[shape] = known[shape]
        if len(found) == CHILDREN:
            break
    return list(found.values())


def _chosen(children: Sequence[Priced], ceiling: float) -> Priced | None:
    """The best mean rank over all proxies below the ceiling, else the cheapest."""
    priced = [(each.cost, each) for each in children if each.cost is not None]
    below = [each for cost, each in priced if cost <= ceiling]
    if not below:
        return min(priced, key=lambda pair: pair[0])[1] if priced else None
    columns = zip(*(each.proxies for each in below), strict=True)
    mean = np.mean([ranks(column) for column in columns], axis=0)
    return below[int(np.argmax(mean))]
