"""What activations rate 1 stands for, measured on calibration data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import intermediates
from tetrapla.ir.module import Module

# percentile of Rueckauer et al. 2017, and of snn_toolbox's default
PERCENTILE = 99.9
# calibration uses at most this many invocations, evenly spread
MOST = 512


@dataclass(frozen=True)
class Magnitude:
    """How large one tensor gets.

    Attributes:
        full: the percentile of its non-zero magnitudes; 1 if it is always zero.
        positive: the percentile of its positive values; 1 if it has none.
        largest: the maximum of its magnitudes.
        low: its least value, at most 0.
    """

    full: float
    positive: float
    largest: float
    low: float


@dataclass(frozen=True)
class Magnitudes:
    """The magnitude of every input and of every node's result, by name."""

    inputs: Mapping[str, Magnitude]
    nodes: Mapping[str, Magnitude]


def ranges(module: Module, calibration: Mapping[str, Array]) -> Magnitudes:
    """Measure every tensor over the calibration data, one sample at a time.

    Raises:
        ModelError: there are no calibration data.
    """
    count = min((len(array) for array in calibration.values()), default=0)
    if count == 0:
        raise ModelError(
            "a spiking target needs calibration data, not none; "
            "give --calib, --calib-fraction or --data digits"
        )
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST)).astype(int))
    inputs = {name: _Measure(len(chosen)) for name in module.inputs}
    nodes: dict[str, _Measure] = {}
    for i in chosen:
        sample = {name: array[i] for name, array in calibration.items()}
        for name, measure in inputs.items():
            measure.add(sample[name])
        for name, array in intermediates(module, sample).items():
            nodes.setdefault(name, _Measure(len(chosen))).add(array)
    return Magnitudes(
        {name: measure.magnitude() for name, measure in inputs.items()},
        {name: measure.magnitude() for name, measure in nodes.items()},
    )


class _Measure:
    """One tensor over all samples, in memory of about its own size."""

    def __init__(self, samples: int) -> None:
        self._magnitude = _Largest(samples)
        self._positive = _Largest(samples)
        self._low = 0.0

    def add(self, array: Array) -> None:
        values = array.ravel()
        self._magnitude.add(np.abs(values[values != 0]), values.size)
        self._positive.add(values[values > 0], values.size)
        self._low = min(self._low, float(values.min(initial=0.0)))

    def magnitude(self) -> Magnitude:
        return Magnitude(
            full=self._magnitude.percentile(),
            positive=self._positive.percentile(),
            largest=self._magnitude.largest(),
            low=self._low,
        )


class _Largest:
    """The largest of many values: no more than the percentile may need are kept."""

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._count = 0
        self._kept = np.zeros(0, np.float32)

    def add(self, values: Array, size: int) -> None:
        """Note one sample's values, at most `size` in every sample."""
        self._count += values.size
        held = np.concatenate([self._kept, values])
        # of n values the percentile lies between two that at most n (1 - p) + 2 reach
        most = floor(self._samples * size * (100 - PERCENTILE) / 100) + 2
        if held.size > most:
            held = np.partition(held, held.size - most)[-most:]
        self._kept = held

    def largest(self) -> float:
        return float(self._kept.max(initial=0.0))

    def percentile(self) -> float:
        """As `np.percentile` of all values; 1 if there are none."""
        if not self._count:
            return 1.0
        place = (self._count - 1) * PERCENTILE / 100
        below = floor(place)
        ascending = np.sort(self._kept)
        pair = ascending[below - self._count :][:2]
        return float(np.percentile(pair, 100 * (place - below)))
