"""The spiking machine: integrate-and-fire neurons on cores of a mesh, counted and timed."""

from tetrapla.simulators.spiking.machine import run
from tetrapla.simulators.spiking.program import Core, Population, Program, Synapses
from tetrapla.simulators.spiking.spec import SpikingSpec

__all__ = ["Core", "Population", "Program", "SpikingSpec", "Synapses", "run"]
