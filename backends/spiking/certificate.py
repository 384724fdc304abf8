"""What a conversion is worth: exact under stated conditions, or its loss layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tetrapla.backends.spiking.levels import levels
from tetrapla.ir.graph import Array, Node
from tetrapla.ir.interpret import intermediates
from tetrapla.ir.module import Module
from tetrapla.ir.spike.phase import gathered

SAMPLES = 16  # of the calibration data, evenly spread: each is interpreted
_NO_LIMIT = 2**62


@dataclass(frozen=True)
class Layer:
    """One layer of neurons over all samples.

    Attributes:
        neurons: in one sample.
        agreement_frac: share of activations that are the quantised network's.
        error_frac: mean distance of an activation from the float network's, as a share of what
            the largest level stands for; None where the float network has no such layer.
        largest, limit: the largest membrane seen, and what a membrane holds.
        bound: of any input; up to the limit the layer is exact whatever comes.
    """

    name: str
    neurons: int
    agreement_frac: float
    error_frac: float | None
    largest: int
    limit: int
    bound: int


@dataclass(frozen=True)
class Certificate:
    """Of a conversion, over `samples` samples of the calibration data."""

    code: str
    timesteps: int
    levels: int
    samples: int
    layers: tuple[Layer, ...]

    @property
    def exact(self) -> bool:
        """Whether every activation was the quantised network's."""
        return all(layer.agreement_frac == 1 for layer in self.layers)

    def sentences(self) -> list[str]:
        """For a person."""
        what = f"the network of {self.levels} levels"
        if self.exact:
            open_ = [layer for layer in self.layers if layer.bound > layer.limit]
            always = (
                f"on {self.samples} samples (membranes of {', '.join(x.name for x in open_)} "
                "could overflow on others)"
                if open_
                else "for every input: no membrane can overflow"
            )
            said = [
                f"certificate: {self.code} equals {what}, activation for activation, {always}"
            ]
        else:
            worst = min(self.layers, key=lambda layer: layer.agreement_frac)
            said = [
                f"certificate: {self.code} is not exact; of {worst.name} "
                f"{worst.agreement_frac:.1%} of the activations are those of {what}"
            ]
        lost = [
            f"{layer.name} {layer.error_frac:.2%}"
            for layer in self.layers
            if layer.error_frac is not None
        ]
        if lost:
            said.append(
                "mean distance from the float network, of the largest level: " + ", ".join(lost)
            )
        return said

    def to_dict(self) -> dict[str, Any]:
        """For a report."""
        return {**asdict(self), "exact": self.exact}


def certificate(
    converted: Module,
    how: tuple[str, int, int],
    given: tuple[Module, Mapping[str, float]],
    calibration: Mapping[str, Array],
) -> Certificate:
    """Compare a converted network with the quantised and the float one.

    Args:
        converted: with `spike` operators.
        how: the code, of `CODES`, T and L.
        given: the float module, and what the largest level of each layer stands for.
        calibration: inputs of several samples.
    """
    code, timesteps, most = how
    count = min(len(array) for array in calibration.values())
    chosen = np.unique(np.linspace(0, count - 1, min(count, SAMPLES)).astype(int))
    measures = {node.name: _Measure(converted, node) for node in _layers(converted)}
    module, full = given
    for i in chosen:
        sample = {name: array[i] for name, array in calibration.items()}
        expected = levels(converted, sample)
        trains = dict(intermediates(converted, sample))
        floats = dict(intermediates(module, sample))
        for name, measure in measures.items():
            real = floats.get(name) if name in full else None
            scale = most / full[name] if name in full else 1.0
            measure.add(trains, expected[name], None if real is None else real * scale, most)
    layers = tuple(measure.layer() for measure in measures.values())
    return Certificate(code, timesteps, most, len(chosen), layers)


def _layers(module: Module) -> list[Node]:
    return [n for n in module.graph.nodes if n.kind in ("spike.neuron", "spike.phase")]


class _Measure:
    """One layer's sums."""

    def __init__(self, module: Module, node: Node) -> None:
        self._node, self._graph = node, module.graph
        self._makers = {v.index: n for n in module.graph.nodes for v in n.results}
        self._same = self._count = 0
        self._distance: list[float] = []
        self._largest = 0

    def add(
        self, trains: Mapping[str, Array], expected: Array, real: Array | None, most: int
    ) -> None:
        code = str(self._node.attributes.get("code", "count"))
        level = gathered(trains[self._node.name], code, _NO_LIMIT)
        self._same += int(np.count_nonzero(level == expected))
        self._count += level.size
        if real is not None and real.size == level.size:
            wanted = np.clip(real, 0, most).ravel()
            self._distance.append(float(np.abs(level.ravel() - wanted).mean()) / most)
        charge = self._charge(trains)
        self._largest = max(self._largest, charge)

    def layer(self) -> Layer:
        node = self._node
        size = node.result.elements // node.result.shape[0]
        distance = float(np.mean(self._distance)) if self._distance else None
        limit = 2 ** (node.int("state_bits") - 1) - 1
        held = (self._same / self._count, distance, self._largest, limit, self._bound())
        return Layer(node.name, size, *held)

    def _charge(self, trains: Mapping[str, Array]) -> int:
        """The largest membrane of a phase; of a rate code's, which spends, the threshold's."""
        maker = self._makers[self._node.operands[0].index]
        if self._node.kind == "spike.neuron":
            return 0
        current = trains[maker.name].astype(np.int64)
        code = self._node.str("code")
        return int(np.abs(gathered(current, code, _NO_LIMIT)).max(initial=0))

    def _bound(self) -> int:
        """The largest membrane that any input makes: every spike where its weight says so."""
        if self._node.kind == "spike.neuron":
            return 2**31
        start = int(np.abs(self._graph.weight(self._node.operands[1])).max(initial=0))
        reach = self._reach(self._node.operands[0].index)
        return start + reach * self._node.int("levels")

    def _reach(self, index: int) -> int:
        """The sum of magnitudes of what one level of every source adds to a neuron."""
        node = self._makers[index]
        if node.kind == "spike.add":
            return sum(self._reach(v.index) for v in node.operands if v.index in self._makers)
        shift = node.int("exponent")
        if node.kind == "spike.scale":
            return abs(node.int("weight")) << shift
        if node.kind == "spike.sum_pool2d":
            return abs(node.int("weight")) * int(np.prod(node.ints("kernel"))) << shift
        weight = np.abs(self._graph.weight(node.operands[1]).astype(np.int64))
        axes = 0 if node.kind == "spike.matmul" else tuple(range(1, weight.ndim))
        return int(weight.sum(axis=axes).max(initial=0)) << shift
