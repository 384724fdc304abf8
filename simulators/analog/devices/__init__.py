"""How cells land, drift and read: one constant per published device, one file per kind."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from tetrapla.simulators.analog.devices.device import Device, Draws
from tetrapla.simulators.analog.devices.exact import EXACT
from tetrapla.simulators.analog.devices.moments import Moments, clipped_normal

__all__ = ["DEVICES", "EXACT", "Device", "Draws", "Moments", "clipped_normal"]

_FILES = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
DEVICES = {
    item.name: item
    for file in _FILES
    for item in tuple(vars(file).values())
    if isinstance(item, Device)
}
