"""From real synapses to integers: weights, threshold and bias of one layer.

A layer's unit is the real current that one integer step stands for. A term with weights w
whose source is at rate 1 for the real value `scale` contributes ``w * scale / unit``::

    weight = rne(w * scale / unit / 2**exponent)     8 bits, one exponent per term
    theta  = full / unit                             `full`: the activation at rate 1
    bias   = rne(b / unit), to the mantissa's bits
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log2

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.spec import CoreSection

# a threshold below this loses more than 0.2 % by its own rounding
_LEAST_THETA = 256
# membranes hold this many thresholds on each side of zero
_HEADROOM = 16
# calibration saw a share of the data: readouts hold this multiple of the largest value seen
_READOUT_MARGIN = 2.0
_EXPONENT_MAX = 7


@dataclass(frozen=True)
class Scaling:
    """A layer's unit, and its threshold (0 for a readout)."""

    unit: float
    theta: int


def neuron_scaling(
    peaks: Sequence[float], full: float, core: CoreSection, headroom: int = _HEADROOM
) -> Scaling:
    """The finest unit that 8-bit weights and the membrane's headroom allow.

    Args:
        peaks: the largest real contribution of one spike of each term, at rate 1.
        full: the real activation that rate 1 stands for.
        core: the widths.
        headroom: thresholds that a membrane must hold on each side of zero.
    """
    mantissa = 2 ** (core.weight_bits - 1) - 1
    used = [peak for peak in peaks if peak > 0] or [full]
    most = min(2 ** (core.state_bits - 1) // headroom, 2**core.threshold_bits - 1)
    finest = floor(mantissa * full / min(used))
    theta = min(max(finest, _LEAST_THETA), most)
    coarsest = floor(mantissa * 2**_EXPONENT_MAX * full / max(used))
    theta = max(1, min(theta, coarsest))
    return Scaling(full / theta, theta)


def readout_scaling(
    peaks: Sequence[float], largest: float, timesteps: int, core: CoreSection
) -> Scaling:
    """The finest unit with which a membrane can gather `largest` over all timesteps."""
    mantissa = 2 ** (core.weight_bits - 1) - 1
    used = [peak for peak in peaks if peak > 0] or [1.0]
    limit = 2 ** (core.state_bits - 1) - 1
    unit = max(
        min(used) / mantissa,
        max(used) / (mantissa * 2**_EXPONENT_MAX),
        _READOUT_MARGIN * largest * timesteps / limit,
    )
    return Scaling(unit, 0)


def weights(real: Array, unit: float, core: CoreSection, least: int = 0) -> tuple[Array, int]:
    """Integer weights (int8) and their exponent, at least `least`, for contributions `real`."""
    mantissa = 2 ** (core.weight_bits - 1) - 1
    peak = float(np.abs(real).max(initial=0.0)) / unit
    # half a step over the largest mantissa still rounds to it
    exponent = max(least, ceil(log2(peak / (mantissa + 0.5)))) if peak > 0 else least
    exponent = min(exponent, _EXPONENT_MAX)
    rounded = np.rint(real / (unit * 2**exponent))
    return np.clip(rounded, -mantissa, mantissa).astype(np.int8), exponent


def biases(real: Array, unit: float, core: CoreSection) -> tuple[Array, bool]:
    """Integer biases (int32) that mantissa and exponent can hold; whether any was clipped."""
    mantissa = 2 ** (core.bias_bits - 1) - 1
    steps = real / unit
    peak = float(np.abs(steps).max(initial=0.0))
    exponent = max(0, ceil(log2(peak / (mantissa + 0.5)))) if peak > 0 else 0
    clipped = exponent > core.bias_exponent_max
    exponent = min(exponent, core.bias_exponent_max)
    rounded = np.clip(np.rint(steps / 2**exponent), -mantissa, mantissa)
    return (rounded * 2**exponent).astype(np.int32), clipped
