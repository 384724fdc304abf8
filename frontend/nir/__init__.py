"""NIR files: networks of spiking neurons, read with an explicit discretisation."""

from tetrapla.frontend.nir.export import Exported, exported
from tetrapla.frontend.nir.file import SUFFIXES, annotated, load
from tetrapla.frontend.nir.hdf5 import read, write
from tetrapla.frontend.nir.network import Network, Node
from tetrapla.frontend.nir.presets import PRESETS, Preset

__all__ = [
    "PRESETS",
    "SUFFIXES",
    "Exported",
    "Network",
    "Node",
    "Preset",
    "annotated",
    "exported",
    "load",
    "read",
    "write",
]
