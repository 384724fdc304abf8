"""Dialect `spike`: spike trains, synapses and neurons, in integers and in floats."""

from tetrapla.ir.spike import (
    chip,
    clocked,
    code,
    leaky,
    neuron,
    oscillating,
    phase,
    program,
    sanafe,
    sparse,
    stream,
    synapse,
)
from tetrapla.ir.spike.dialect import Spike

__all__ = [
    "Spike",
    "chip",
    "clocked",
    "code",
    "leaky",
    "neuron",
    "oscillating",
    "phase",
    "program",
    "sanafe",
    "sparse",
    "stream",
    "synapse",
]
