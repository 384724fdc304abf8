"""How often neurons fire on calibration data, and the traffic between cores that follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.axons import axons_of
from tetrapla.simulators.spiking.counters import sent
from tetrapla.simulators.spiking.engine import engine
from tetrapla.simulators.spiking.machine import inferences
from tetrapla.simulators.spiking.program import Program
from tetrapla.simulators.spiking.spec import CoreSection

Spikes: TypeAlias = Mapping[str, Array]
"""By population: how many spikes each neuron sends, int64 [neurons]."""

SAMPLES = 16  # of the calibration data, evenly spread
_HELD = 2**22  # samples x timesteps x neurons, assumed: about a second of work


def spikes(program: Program, calibration: Mapping[str, Array]) -> Spikes:
    """The spikes of every neuron over samples of the calibration data.

    Without data every neuron counts as one spike, which is assumed.

    Args:
        program: placed on cores in any way: spikes do not depend on it.
        calibration: arrays of shape (samples, ...) by input name, or none.
    """
    if not calibration:
        return {p.name: np.full(p.neurons, int(p.fires)) for p in program.populations}
    neurons = sum(p.neurons for p in program.populations)
    count = min(len(array) for array in calibration.values())
    each = max(1, program.batch * program.timesteps * neurons)
    most = max(1, min(count, SAMPLES, _HELD // each))
    chosen = np.unique(np.linspace(0, count - 1, most).astype(int))
    flat, invocations = inferences(
        program, {name: calibration[name][chosen] for name in program.inputs}
    )
    done = engine(program, invocations * program.batch).run(flat)
    return {
        p.name: sent(p, done[p.name].train).sum(axis=(0, 1), dtype=np.int64)
        if p.fires
        else np.zeros(p.neurons, np.int64)
        for p in program.populations
    }


def traffic(program: Program, fired: Spikes, core: CoreSection) -> Array:
    """Packets from core to core, int64 [cores + 1, cores + 1]; the host is the last row."""
    host = len(program.cores)
    home = {p.name: np.full(p.neurons, host) for p in program.populations}
    for place, own in enumerate(program.cores):
        home[own.population][own.neurons] = place
    held = {p.name: p for p in program.populations}
    found = np.zeros((host + 1, host + 1), np.int64)
    for place, own in enumerate(program.cores):
        p = held[own.population]
        for s, heard in zip(p.synapses, own.axons, strict=True):
            packets = fired[s.source][heard] * axons_of(p, s, heard, core)
            np.add.at(found[:, place], home[s.source][heard], packets)
    return found
