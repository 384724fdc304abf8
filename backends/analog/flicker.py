"""1/f noise that stays for a run (`device.flicker: run`), taken out of what cells are.

What is left is held against the device as without it; a run that lacks it, or has another, is
then off by it.
"""

from __future__ import annotations

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog import noise
from tetrapla.simulators.analog.devices.cells import draws
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key


def shift(spec: AnalogSpec, aim: Array, address: Key, t_s: float | None) -> Array:
    """What it adds to cells programmed to `aim` siemens, in siemens, limits included."""
    d = spec.device
    if not d.frozen:
        return np.zeros(aim.shape)
    given = draws(d.device, address, aim.shape)
    held = d.device.held(aim, d.g_max_siemens, t_s, given)
    at_first = d.device.programmed(aim, d.g_max_siemens, given.programming)
    sigma = d.device.read_sigma(at_first, held, d.g_max_siemens, t_s)
    z = noise.of_cells(address, noise.FLICKER, aim.shape)
    return np.asarray(d.device.limited(held + sigma * z) - held)
