"""Published power of spiking chips beside what prices of events give, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from tetrapla.simulators.price_ import STATIC
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import SpikingSpec
from tetrapla.validation import Row

# Merolla et al., Science 345, 2014: a million neurons at 20 Hz with 128 active synapses each,
# 26 pJ a synaptic event, everything included; power between 63 and 72 mW by the application
_NEURONS, _RATE_HZ, _SYNAPSES, _EVENT_PJ = 2**20, 20, 128, 26
_LEAST_MW, _MOST_MW = 63, 72
_TRUENORTH = "Merolla et al., Science 345, 2014: 63 to 72 mW; the bound is half that range"

# Blouw et al., "Benchmarking keyword spotting efficiency on neuromorphic hardware", 2018, and
# the logs of its repository power_benchmarks: mW above idle by copies of ten branches of 256
# neurons, steps a second; power and inferences a second of the network itself
_COPIES_MW = {1: 78.19, 2: 80.47, 4: 83.85, 6: 87.80, 8: 91.44, 10: 95.27}
_STEPS_HZ = 1143
_COPY_NEURONS, _COPY_SYNAPSES = 2560, 655_360
_LAYERS = (390, 256, 256, 29)
_STEPS = 10
_IDLE_MW, _RUN_MW, _INFERENCES_HZ = 29.70, 110.19, 296.5
_HOST_MW = 70  # "about": the x86 cores, idling after their first use; the authors
_BLOUW = "Blouw et al. 2018 and its repository's logs"
_LINEAR_FRAC = 0.03  # assumed: what an instrument of three digits and another load allow


def rows() -> Iterator[Row]:
    """TrueNorth's identity, then Blouw's scaling and energy per inference."""
    events_hz = _NEURONS * _RATE_HZ * _SYNAPSES
    middle = (_LEAST_MW + _MOST_MW) / 2
    yield Row(
        "spiking",
        "truenorth, 2^20 neurons at 20 Hz, 128 synapses",
        "events_times_energy",
        "mW",
        middle,
        events_hz * _EVENT_PJ * 1e-9,
        (_MOST_MW - _LEAST_MW) / 2 / middle,
        _TRUENORTH,
    )
    truenorth = load_spec("truenorth", SpikingSpec).spec
    still_pj_per_s, event_pj = (truenorth.prices[k] or 0 for k in (STATIC, "synapse.dense"))
    yield Row(
        "spiking",
        "truenorth, the same by its file: power at rest and events",
        "rest_and_events",
        "mW",
        middle,
        (still_pj_per_s + events_hz * event_pj) * 1e-9,
        (_MOST_MW - _LEAST_MW) / 2 / middle,
        _TRUENORTH,
    )
    yield from _scaling()
    yield from _inference()


def _slope_mw() -> float:
    """What one more copy takes, by the first and the last point."""
    first, last = min(_COPIES_MW), max(_COPIES_MW)
    return (_COPIES_MW[last] - _COPIES_MW[first]) / (last - first)


def _scaling() -> Iterator[Row]:
    for copies, published in _COPIES_MW.items():
        inner = 1 < copies < max(_COPIES_MW)
        ours = _COPIES_MW[1] + (copies - 1) * _slope_mw()
        name = f"loihi, {copies} x 10 branches of 256"
        bound = _LINEAR_FRAC if inner else None
        yield Row("spiking", name, "dynamic_power", "mW", published, ours, bound, _BLOUW)


def _inference() -> Iterator[Row]:
    """Energy of an inference above idle: what each part is, and what nobody prices."""
    cost = load_spec("loihi", SpikingSpec).spec.cost
    activity = _activity(cost)
    synapses = sum(a * b for a, b in pairwise(_LAYERS))
    neurons = sum(_LAYERS[1:])
    events_uj = _STEPS * _step_pj(cost, neurons, synapses, activity) * 1e-6
    dynamic_uj = (_RUN_MW - _IDLE_MW) / _INFERENCES_HZ * 1e3
    host_uj = _HOST_MW / _INFERENCES_HZ * 1e3
    rest_uj = dynamic_uj - host_uj - events_uj
    parts = (
        ("x86 idling, by the authors' 70 mW", host_uj),
        (f"neurons and synapses, {activity:.1%} active (fitted to the copies)", events_uj),
        ("rest, without a public price: spikes in and out, barriers", rest_uj),
    )
    for name, ours in parts:
        case = f"loihi, keywords: {name}"
        yield Row("spiking", case, "energy_per_inference", "uJ", None, ours, None, _BLOUW)
    total = sum(ours for _, ours in parts)
    published = 270.0
    case = "loihi, keywords: all above idle (published: 0.27 mJ)"
    # two digits are published, so half of the last one
    bound = 5 / published
    yield Row("spiking", case, "energy_per_inference", "uJ", published, total, bound, _BLOUW)
    idle_uj = _IDLE_MW / _INFERENCES_HZ * 1e3
    case = "loihi, keywords: idle and leakage"
    yield Row("spiking", case, "energy_per_inference", "uJ", None, idle_uj, None, _BLOUW)


def _activity(cost: Mapping[str, float | None]) -> float:
    """The share of neurons that fire in a step, so that a copy takes what the slope says."""
    step_pj = _slope_mw() / _STEPS_HZ * 1e9
    still = _step_pj(cost, _COPY_NEURONS, _COPY_SYNAPSES, 0)
    all_fire = _step_pj(cost, _COPY_NEURONS, _COPY_SYNAPSES, 1)
    return (step_pj - still) / (all_fire - still)


def _step_pj(
    cost: Mapping[str, float | None], neurons: int, synapses: int, activity: float
) -> float:
    """One timestep under the chip's prices, every neuron updated, a packet for each spike."""

    def price(action: str) -> float:
        return cost[action] or 0.0

    each = price("soma.access") + price("soma.update")
    spike = price("soma.fire") + price("network.packet_out")
    return neurons * (each + activity * spike) + activity * synapses * price("synapse.dense")
