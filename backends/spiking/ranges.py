"""What activations rate 1 stands for, measured on calibration data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
    """Measure every tensor over the calibration data.

    Raises:
        ModelError: there are no calibration data.
    """
    count = min((len(array) for array in calibration.values()), default=0)
    if count == 0:
        raise ModelError(
            "a spiking target needs calibration data, not none; give --data or --calib"
        )
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST)).astype(int))
    seen: dict[str, list[Array]] = {}
    for i in chosen:
        found = intermediates(module, {name: array[i] for name, array in calibration.items()})
        for name, array in found.items():
            seen.setdefault(name, []).append(array.ravel())
    return Magnitudes(
        {name: _measured(calibration[name][chosen].ravel()) for name in module.inputs},
        {name: _measured(np.concatenate(arrays)) for name, arrays in seen.items()},
    )


def _measured(values: Array) -> Magnitude:
    magnitude = np.abs(values[values != 0])
    return Magnitude(
        full=_percentile(magnitude),
        positive=_percentile(values[values > 0]),
        largest=float(magnitude.max(initial=0.0)),
        low=float(values.min(initial=0.0)),
    )


def _percentile(values: Array) -> float:
    return float(np.percentile(values, PERCENTILE)) if values.size else 1.0
