"""The cells of a tile, from their address: programmed, drifted, and what a read adds."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import noise
from tetrapla.simulators.analog.devices.device import Device, Draws
from tetrapla.simulators.random_ import Key


@dataclass(frozen=True)
class State:
    """Cells at a time after programming, siemens, of the targets' shape.

    Attributes:
        held: what they conduct between reads.
        read_sigma: standard deviation of one read; None where reads are silent.
    """

    held: Array
    read_sigma: Array | None


def state(
    device: Device,
    target: Array,
    g_max_siemens: float,
    t_s: float | None,
    key: Key,
    *,
    frozen: bool = False,
) -> State:
    """Program cells, let them drift, and say how noisy their reads are.

    Args:
        device: the kind.
        target: siemens, [rows, columns] of a physical array: both cells of a pair are in it,
            and each errs, drifts and is read for itself.
        g_max_siemens: what the fits are scaled by.
        t_s: seconds after programming; None for the first that the device is known at.
        key: seed and chip, with the layer and tile of the array.
        frozen: 1/f noise is drawn once, for all reads of a run, and clipped (as aihwkit
            does); else it is the noise of every read, drawn afresh.

    Raises:
        SpecError: a target, or the time, is outside of what the device was fitted in.
    """
    if target.size:
        device.check(float(target.min()), float(target.max()), t_s)
    given = draws(device, key, target.shape)
    held = device.held(target, g_max_siemens, t_s, given)
    if device.silent:
        return State(held, None)
    programmed = device.programmed(target, g_max_siemens, given.programming)
    sigma = device.read_sigma(programmed, held, g_max_siemens, t_s)
    if not (frozen and device.flickers):
        return State(held, sigma)
    z = noise.of_cells(key, noise.FLICKER, target.shape)
    return State(device.limited(held + sigma * z), None)


def draws(device: Device, key: Key, shape: tuple[int, ...]) -> Draws:
    """What the cells of a tile need to be held; `key` has its layer and tile."""
    if device.distribution == "uniform":
        # an even spread of width sqrt(12) has variance 1
        landing = (noise.chances(key, noise.PROGRAMMING, shape) - 0.5) * sqrt(12)
    else:
        landing = noise.of_cells(key, noise.PROGRAMMING, shape)
    drift = noise.of_cells(key, noise.DRIFT, shape) if device.drifts else np.zeros(shape)
    return Draws(landing, drift)
