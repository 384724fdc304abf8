"""Which layers take the cheaper format, so that a module meets a budget at the least error.

A pass knows no machine, so the cost comes in as a function: seconds or joules by whatever
simulates, bytes of weights, or anything else that falls when a layer gets a cheaper format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.passes.calibrate_ import Progress
from tetrapla.passes.context_ import Context
from tetrapla.passes.plan_ import LINEAR
from tetrapla.passes.quantize import Quantize


@dataclass(frozen=True)
class Choice:
    """A format for every layer.

    Attributes:
        layers: format by layer.
        module: quantised so.
        cost: of that module.
        rel_error: root of the mean-squared difference of the outputs from the float module's,
            over the root of their mean square, on the data that it was searched with.
    """

    layers: Mapping[str, str]
    module: Module
    cost: float
    rel_error: float


def choose(
    module: Module,
    inputs: Mapping[str, Array],
    cost: Callable[[Module], float],
    budget: float,
    formats: Sequence[str] = ("i8", "i4"),
    scheme: Quantize | None = None,
    progress: Progress | None = None,
) -> Choice:
    """Search greedily by sensitivity.

    All start in the first format. Each layer's step to the next is tried alone for the error it
    adds and the cost it saves; steps are then taken from the least error per cost on, until the
    budget is met. None is taken back, so the choice need not be the best one.

    Args:
        module: float32, with its weights.
        inputs: calibration data of shape (invocations, *static shape) by input name; errors
            are measured on the same.
        cost: of a quantised module; the same unit as the budget.
        budget: that the cost must not exceed.
        formats: of weights (`scheme_.FORMATS`), from the most precise to the cheapest.
        scheme: all other choices.
        progress: called with 1 after each of 1 + layers x (formats - 1) modules that are tried.

    Raises:
        ModelError: the cheapest formats exceed the budget, or the data does not fit.
        RegistryError: there is no such format.
    """
    search = _Search(module, inputs, cost, formats, scheme or Quantize(), progress)
    level = dict.fromkeys(search.layers, 0)
    found = search.choice(level)
    if found.cost <= budget:
        return found
    for layer in search.steps(found):
        level[layer] += 1
        cheaper = search.module(level)
        if cost(cheaper) <= budget:
            return search.choice(level)
    raise ModelError(
        f"a budget must be at least {cost(search.module(level)):.9g}, which all layers in "
        f"{formats[-1]} cost, not {budget:.9g}; allow more or offer a cheaper format"
    )


class _Search:
    def __init__(
        self,
        module: Module,
        inputs: Mapping[str, Array],
        cost: Callable[[Module], float],
        formats: Sequence[str],
        scheme: Quantize,
        progress: Progress | None,
    ) -> None:
        graph = module.graph
        self.layers = [
            node.name
            for node in graph.nodes
            if node.kind in LINEAR and graph.is_weight(node.operands[1])
        ]
        self._ready = scheme.bound(module, Context(inputs))
        for name in formats:  # refuses what there is not before anything is tried
            replace(self._ready, weights=name)
        self._module = module
        self._inputs = inputs
        self._cost = cost
        self._formats = formats
        self._progress = progress
        self._reference = evaluate_many(module, inputs)

    def module(self, level: Mapping[str, int]) -> Module:
        """Quantised at these places of the list of formats."""
        layers = {name: self._formats[i] for name, i in level.items()}
        return replace(self._ready, layers=layers)(self._module)

    def choice(self, level: Mapping[str, int]) -> Choice:
        module = self.module(level)
        layers = MappingProxyType({name: self._formats[i] for name, i in level.items()})
        found = Choice(layers, module, self._cost(module), self._rel_error(module))
        if self._progress is not None:
            self._progress(1)
        return found

    def steps(self, start: Choice) -> list[str]:
        """Layers in the order in which they go down by one format each."""
        weighed: list[tuple[float, int, int, str]] = []
        for at, layer in enumerate(self.layers):
            past = start
            for depth in range(1, len(self._formats)):
                level = {name: depth if name == layer else 0 for name in self.layers}
                tried = self.choice(level)
                saved = past.cost - tried.cost
                added = max(tried.rel_error**2 - past.rel_error**2, 0.0)
                # a step that saves nothing comes last
                price = added / saved if saved > 0 else float("inf")
                weighed.append((price, depth, at, layer))
                past = tried
        return _ordered(weighed)

    def _rel_error(self, module: Module) -> float:
        found = evaluate_many(module, self._inputs)
        wide = {name: array.astype(np.float64) for name, array in self._reference.items()}
        missed = sum(float(((wide[name] - found[name]) ** 2).sum()) for name in wide)
        size = sum(float((array**2).sum()) for array in wide.values())
        return float(np.sqrt(missed / size)) if size else float(missed > 0)


def _ordered(weighed: list[tuple[float, int, int, str]]) -> list[str]:
    """By price, but a layer's second step never before its first."""
    waiting: dict[str, list[tuple[float, int, int, str]]] = {}
    for step in sorted(weighed, key=lambda step: (step[2], step[1])):
        waiting.setdefault(step[3], []).append(step)
    order: list[str] = []
    while waiting:
        step = min(steps[0] for steps in waiting.values())
        order.append(step[3])
        waiting[step[3]].pop(0)
        if not waiting[step[3]]:
            del waiting[step[3]]
    return order
