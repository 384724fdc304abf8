"""What activations rate 1 stands for, measured on calibration data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import intermediates
from tetrapla.ir.module import Module

# percentile of Rueckauer et al. 2017, and of snn_toolbox's default
PERCENTILE = 99.9
# calibration uses at most this many invocations, evenly spread
MOST = 512


def ranges(module: Module, calibration: Mapping[str, Array]) -> dict[str, float]:
    """Magnitudes by node and input name.

    ``name`` is the percentile of the non-zero magnitudes (of an input: the maximum),
    ``name.positive`` that of the positive values, ``name.max`` the largest, ``name.low`` an
    input's least value. A tensor that is always zero has magnitude 1.

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
            seen.setdefault(name, []).append(np.asarray(array).ravel())
    inputs = {name for name, _ in module.graph.inputs}
    measured: dict[str, float] = {}
    for name, arrays in seen.items():
        values = np.concatenate(arrays)
        magnitude = np.abs(values[values != 0])
        largest = float(magnitude.max(initial=0.0))
        measured[name] = (largest or 1.0) if name in inputs else _percentile(magnitude)
        measured[f"{name}.positive"] = _percentile(values[values > 0])
        measured[f"{name}.max"] = largest
        if name in inputs:
            measured[f"{name}.low"] = float(values.min(initial=0.0))
    return measured


def _percentile(values: Array) -> float:
    return float(np.percentile(values, PERCENTILE)) if values.size else 1.0
