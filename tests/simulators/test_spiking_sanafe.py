"""SANA-FE 2.2.9's stored runs through the machine: spikes, events, energy and time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from tetrapla.ir.graph import Array
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import price, summed
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import SpikingSpec, run
from tetrapla.suites import sanafe_
from tetrapla.validation import GOLDEN

CASES = sanafe_.cases(GOLDEN)


def spec_of(*more: str) -> SpikingSpec:
    """Loihi with one compartment per neuron, as SANA-FE counts."""
    return load_spec("loihi", SpikingSpec, [*sanafe_.SETTINGS, *more]).spec


@pytest.fixture(scope="module")
def single() -> SpikingSpec:
    return spec_of()


@pytest.mark.parametrize("stored", CASES, ids=["sparse", "dense"])
def test_spikes_events_time_and_energy_are_sanafes(
    stored: Mapping[str, Array], single: SpikingSpec
) -> None:
    done = run(*sanafe_.ready(stored, single), Key(0))
    assert np.array_equal(done.outputs["spikes"][0, :, 0], stored["raster"])
    actions = summed([layer.actions for layer in done.layers])
    form = sanafe_.form(stored)
    assert actions["network.packet_out"] == stored["packets_sent"]
    assert actions["network.packet_in"] == stored["packets_sent"]
    assert actions[f"synapse.{form}"] == stored["spikes"]
    assert actions["soma.update"] == stored["neurons_updated"]
    assert actions["soma.fire"] == stored["neurons_fired"]
    hops = actions["network.hop_east_west"] + actions["network.hop_north_south"]
    assert hops == stored["perf_simple_hops"].sum()
    assert done.time_s == pytest.approx(float(stored["sim_time_s_simple"]), rel=1e-12)
    slow = spec_of("noc.model=detailed")
    detailed = run(*sanafe_.ready(stored, slow), Key(0))
    # ties of equal send times are the tool's own order: none matters in these runs
    assert detailed.time_s == pytest.approx(float(stored["sim_time_s_detailed"]), rel=1e-12)
    assert detailed.time_s > done.time_s
    energy = price(actions, single.cost)
    for unit in ("synapse", "soma", "network"):
        assert energy.by_unit[unit] == pytest.approx(float(stored[f"energy_j_{unit}"]) * 1e12)
    assert energy.total_pj == pytest.approx(float(stored["energy_j_total"]) * 1e12, rel=1e-12)
