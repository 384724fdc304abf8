"""What learning on a chip takes: its events under the chip's prices, and its time.

At the end of an epoch the rule looks at every synapse, which is one ``learning.update`` each,
whether its weight changes or not; that none is passed over is assumed, so it is an upper value.
Every neuron is updated in every timestep, for the same reason. The layer is on one core, and
each of its spikes goes to it again to hold the other neurons back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.price_ import Energy, price, standing
from tetrapla.simulators.spiking.learning import Learner
from tetrapla.simulators.spiking.spec import LEARNING, SpikingSpec


@dataclass(frozen=True)
class Bill:
    """Of all that a layer has learned.

    Attributes:
        actions: events, and the seconds of the static power, where they are known.
        time_s: None where no source gives the chip's ``timing.synapse_update``.
        energy: its total is None where a price or the time is unknown.
    """

    actions: dict[str, int | float]
    time_s: float | None
    energy: Energy


def bill(learner: Learner, spec: SpikingSpec) -> Bill:
    """What learning took so far; `Learner.respond` is not in it.

    Raises:
        UnsupportedError: the layer does not fit a core.
    """
    neurons, sources = learner.synapses.w.shape
    _refuse_large(neurons, sources, spec)
    counts = learner.counts
    # a spike comes back to all others
    back = counts.spikes_out if learner.layer.inhibition else 0
    events: dict[str, int | float] = {
        "soma.access": counts.timesteps * neurons,
        "soma.update": counts.timesteps * neurons,
        "soma.fire": counts.spikes_out,
        "network.packet_out": back,
        "network.packet_in": counts.spikes_in + back,
        "synapse.dense": counts.synaptic_events + back * (neurons - 1),
        LEARNING: counts.epochs * neurons * sources,
    }
    time_s = _seconds(learner, spec)
    if time_s is not None:
        events |= standing(spec.prices, time_s)
    energy = price(events, spec.prices)
    if time_s is None:
        said = (
            "the energy total is null: no source gives timing.synapse_update, and so the time"
        )
        energy = Energy(None, energy.by_unit, (*energy.warnings, said))
    return Bill(events, time_s, energy)


def _seconds(learner: Learner, spec: SpikingSpec) -> float | None:
    """The slower of neurons and synapses, and the barrier, as `meter`; and the epochs' ends."""
    timing, counts = spec.timing, learner.counts
    if timing.synapse_update_s is None:
        return None
    neurons, sources = learner.synapses.w.shape
    arrived, fired = np.array(counts.arrived), np.array(counts.fired)
    back = fired if learner.layer.inhibition else np.zeros_like(fired)
    soma_s = neurons * (timing.access_s + timing.update_s) + fired * timing.fire_s
    soma_s = soma_s + back * timing.packet_out_s
    late = np.concatenate([[0], back[:-1]]) if len(back) else back
    heard_s = arrived * (timing.packet_in_s + neurons * timing.synapse_dense_s)
    heard_s = heard_s + late * (timing.packet_in_s + (neurons - 1) * timing.synapse_dense_s)
    steps_s = float(np.maximum(soma_s, heard_s).sum())
    barrier_s = spec.barrier.seconds(1)
    learning_s: float = counts.epochs * neurons * sources * timing.synapse_update_s
    return steps_s + counts.timesteps * barrier_s + learning_s


def _refuse_large(neurons: int, sources: int, spec: SpikingSpec) -> None:
    """Raise where the layer has more than a core."""
    core = spec.core
    words = sources * -(-neurons * core.weight_bits // core.synapse_word_bits)
    for what, used, limit in (
        ("compartments", neurons, core.compartments),
        ("input axons", sources + neurons, core.input_axons),
        ("words of synapses", words, core.synapse_memory),
    ):
        if used > limit:
            raise UnsupportedError(
                f"a learning layer must fit a core of {spec.name}, not exceed its {limit} "
                f"{what} by {used - limit}; learn with fewer neurons or sources"
            )
