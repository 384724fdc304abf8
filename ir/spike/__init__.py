"""Dialect `spike`: spike trains, synapses and integrate-and-fire neurons, in integers."""

from tetrapla.ir.spike import code, neuron, synapse
from tetrapla.ir.spike.dialect import Spike

__all__ = ["Spike", "code", "neuron", "synapse"]
