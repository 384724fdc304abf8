"""Counting events and timing timesteps: SANA-FE's "simple" model, here L0.

In every timestep the slowest core's neurons and the slowest core's synapses are waited for,
then the barrier::

    T = max(max_core(access + update + fire + packets out), max_core(packets in + synapses))
        + barrier

Counts are exact integers; prices are applied elsewhere. Source: SANA-FE 2.2.9, timing model
"simple"; agrees with its stored runs (tests).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.spiking.spec import SpikingSpec, TimingSection

FORMATS = {
    "matmul": "dense",
    "conv2d": "conv",
    "sum_pool2d": "conv",
    "max_pool2d": "conv",
    "scale": "sparse",
    "sparse": "sparse",
}


@dataclass
class Events:
    """Events of one core; arrays [T, B] from the core's own first timestep on.

    `fires_after` counts the timesteps before its first spike (a code's phase); `updated` goes
    on while it fires.
    """

    neurons: int
    updated: Array
    fired: Array
    packets_out: Array
    fires_after: int = 0
    arrivals: list[tuple[int, str, Array, Array]] = field(
        default_factory=list[tuple[int, str, Array, Array]]
    )
    """Per synapse group: first timestep, format, packets in [T, B], synaptic events [T, B]."""


class Meter:
    """Timesteps of one chunk of inferences: busy times by timestep, the slowest core's."""

    def __init__(self, spec: SpikingSpec, timesteps: int, batch: int) -> None:
        self._spec = spec
        self._neurons_s = np.zeros((timesteps, batch))
        self._synapses_s = np.zeros((timesteps, batch))

    def add(self, depth: int, events: Events) -> dict[str, float]:
        """Note one core's events; returns its mean busy seconds per inference by cause."""
        timing = self._spec.timing
        per_neuron = self._spec.core.compartments_per_neuron
        access = np.full(self._neurons_s.shape, events.neurons * per_neuron * timing.access_s)
        update = events.updated * per_neuron * timing.update_s
        fire = events.fired * timing.fire_s
        out = events.packets_out * timing.packet_out_s
        access[depth : depth + len(update)] += update
        first = depth + events.fires_after
        access[first : first + len(fire)] += fire + out
        np.maximum(self._neurons_s, access, out=self._neurons_s)
        arriving = np.zeros_like(self._synapses_s)
        parts = {"synapses": 0.0, "packets in": 0.0}
        for start, form, packets, synops in events.arrivals:
            here = slice(start, start + len(packets))
            packet_s = packets * timing.packet_in_s
            synapse_s = synops * synapse_seconds(timing, form)
            arriving[here] += packet_s + synapse_s
            parts["packets in"] += _mean(packet_s)
            parts["synapses"] += _mean(synapse_s)
        np.maximum(self._synapses_s, arriving, out=self._synapses_s)
        steps = len(self._neurons_s)
        parts["neurons"] = steps * events.neurons * per_neuron * timing.access_s + _mean(update)
        parts["spikes"] = _mean(fire)
        parts["packets out"] = _mean(out)
        return parts

    @property
    def halves_s(self) -> tuple[Array, Array]:
        """By timestep and inference, the slowest core's neurons, and its synapses."""
        return self._neurons_s, self._synapses_s

    def seconds(self, tiles: int) -> Array:
        """Duration of each inference [B]."""
        steps = step_seconds(self._spec, self._neurons_s, self._synapses_s, tiles)
        return np.asarray(steps.sum(axis=0))


def step_seconds(spec: SpikingSpec, neurons_s: Array, synapses_s: Array, tiles: int) -> Array:
    """Duration of timesteps from the slowest core's two halves."""
    return np.asarray(np.maximum(neurons_s, synapses_s) + spec.barrier.seconds(tiles))


def synapse_seconds(timing: TimingSection, form: str) -> float:
    """Duration of one synaptic event by its storage format."""
    seconds: float = getattr(timing, f"synapse_{form}_s")
    return seconds


def _mean(busy: Array) -> float:
    return float(busy.sum(axis=0).mean())
