"""The price of learning: events and time by hand, what is unknown, what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.spike import loihi
from tetrapla.ir.spike.plasticity import Rule, Trace, products
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import SpikingSpec
from tetrapla.simulators.spiking.learning import Layer, Learner
from tetrapla.simulators.spiking.lessons import bill

PAIR = products("2^-2*y0*x1 - 2^-2*x0*y1")
NEURONS, SOURCES = 3, 2


def chip(name: str = "loihi", *settings: str) -> SpikingSpec:
    return load_spec(name, SpikingSpec, settings).spec


def taught(inhibition: int) -> Learner:
    """Four timesteps, two epochs: 2, 0, 1 and 0 spikes come, and 1, 0, 1 and 0 go."""
    rule = Rule(PAIR, {"x1": Trace(16, 4), "y1": Trace(16, 4)}, 2, "exc")
    # voltages decay at once, so a neuron fires with its sources or not at all
    layer = Layer(rule, loihi.Neuron(4095, 4095, 5), 0, inhibition, 0, 0)
    made = Learner.fresh(layer, np.array([[10, 10], [9, 0], [0, 0]]), Key(0))
    out = made.learn(np.array([[1, 1], [0, 0], [1, 0], [0, 0]]) > 0)
    assert out.sum(axis=1).tolist() == [1, 0, 1, 0]
    return made


def test_events_and_time_of_learning_by_hand() -> None:
    found = bill(taught(inhibition=0), chip())
    counted = {name: n for name, n in found.actions.items() if not name.startswith("static")}
    assert counted == {
        "soma.access": 4 * 3,
        "soma.update": 4 * 3,
        "soma.fire": 2,
        "network.packet_out": 0,
        "network.packet_in": 3,
        "synapse.dense": 3 * 3,
        "learning.update": 2 * 3 * 2,
    }
    # neurons take 3 (6.0 + 3.7) = 29.1 ns and 30 more where one fires; spikes 16 + 3 x 3.8 =
    # 27.4 ns each; a barrier is 600 ns, and 12 looks at synapses are 6.1 ns
    steps_ns = max(59.1, 54.8) + 29.1 + max(59.1, 27.4) + 29.1
    assert found.time_s == pytest.approx((steps_ns + 4 * 600 + 12 * 6.1) * 1e-9, rel=1e-12)
    assert found.energy.by_unit["learning"] == 12 * 120
    pj = 12 * (51.2 + 21.6) + 2 * 69.3 + 9 * 35.5 + 12 * 120
    leakage_pj = 104e-3 * (found.time_s or 0) * 1e12
    assert found.energy.total_pj == pytest.approx(pj + leakage_pj, rel=1e-12)


def test_spikes_that_hold_others_back_are_packets_and_synaptic_events() -> None:
    free, held = (bill(taught(inhibition=n), chip()).actions for n in (0, 1))
    more = {name: held[name] - n for name, n in free.items() if name != "static.second"}
    assert {name: n for name, n in more.items() if n} == {
        "network.packet_out": 2,
        "network.packet_in": 2,
        "synapse.dense": 2 * 2,
    }


def test_a_chip_without_a_price_of_learning_has_no_total() -> None:
    found = bill(taught(inhibition=0), chip("truenorth"))
    assert found.time_s is None
    assert found.energy.total_pj is None
    assert found.energy.by_unit["learning"] is None
    assert found.energy.warnings == (
        "the energy total is null: no source gives the price of learning.update",
        "the energy total is null: no source gives timing.synapse_update, and so the time",
    )


def test_a_layer_that_no_core_holds_is_refused() -> None:
    with pytest.raises(UnsupportedError) as refused:
        bill(taught(inhibition=0), chip("loihi", "core.compartments=2"))
    assert str(refused.value) == (
        "a learning layer must fit a core of loihi, not exceed its 2 compartments by 1; learn "
        "with fewer neurons or sources"
    )
