"""The product's count of events, its time and energy against stored runs of SANA-FE 2.2.9.

SANA-FE's neurons leak and are reset to zero, which the product's do not, so the spikes are the
stored ones. Everything after them is the product's: axons, packets, synaptic events, hops, the
time of a step, and the prices.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tetrapla.ir.graph import Array
from tetrapla.simulators.report import price
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import Core, Population, Program, SpikingSpec, Synapses
from tetrapla.simulators.spiking.machine import Heard, core_events
from tetrapla.simulators.spiking.membrane import Activity
from tetrapla.simulators.spiking.meter import Meter
from tetrapla.simulators.spiking.tally import Tally
from tetrapla.simulators.spiking.traffic import fanouts
from tetrapla.simulators.spiking.wiring import Connections


@pytest.fixture(scope="module")
def single() -> SpikingSpec:
    """Loihi with one compartment per neuron, as SANA-FE counts."""
    return load_spec("loihi", SpikingSpec, ["core.compartments_per_neuron=1"]).spec


class Sanafe:
    """One stored run: its spikes, its network on the product's cores."""

    def __init__(self, case: int) -> None:
        stored = np.load(Path(__file__).parents[1] / "golden" / "sanafe.npz")
        self.stored: dict[str, Any] = {
            k[3:]: stored[k] for k in stored.files if k.startswith(f"c{case}_")
        }
        d = self.stored
        self.raster = d["raster"].astype(np.int8)
        self.steps, self.neurons = self.raster.shape
        self.source, self.target = d["src"].astype(int), d["dst"].astype(int)
        self.core = d["core"].astype(int)
        self.form = "sparse" if "sparse" in str(d["synapse"]) else "dense"
        # the product's kinds that are stored in that form; `connections` is the stored list
        kind = {"sparse": "scale", "dense": "matmul"}[self.form]
        synapses = Synapses(kind, "all", (self.neurons,), None, np.zeros(0, np.int8))
        none = np.zeros(1, np.int32)
        self.population = Population(
            "all", "test", "integrate_and_fire", (self.neurons,), 0, (synapses,), none, none
        )
        cores = [self._core(int(index), synapses) for index in np.unique(self.core)]
        self.program = Program(
            "sanafe", self.steps, 1, ("x",), (), (self.population,), tuple(cores), ()
        )

    def _core(self, index: int, synapses: Synapses) -> Core:
        here = np.flatnonzero(self.core == index)
        heard = np.unique(self.connections(synapses, (self.neurons,), here).source)
        return Core(index, "all", here, (heard,))

    def connections(
        self, synapses: Synapses, shape: tuple[int, ...], neurons: Array
    ) -> Connections:
        """The stored synapses that end on ascending `neurons`."""
        del synapses, shape
        held = np.isin(self.target, neurons)
        target: Array = np.searchsorted(neurons, self.target[held])
        return Connections(target, self.source[held], np.ones(len(target), np.int32))

    def updated(self) -> Array:
        """Whether each neuron had a potential, bias or input: doubles cut to 1/64."""
        d = self.stored
        matrix = np.zeros((self.neurons, self.neurons))
        np.add.at(matrix, (self.source, self.target), d["w"])
        v = np.zeros(self.neurons)
        updated = np.zeros(self.raster.shape, np.int64)
        for t in range(self.steps):
            arriving = self.raster[t - 1] @ matrix if t else np.zeros(self.neurons)
            updated[t] = (v != 0) | (d["bias"] != 0) | (arriving != 0)
            v = np.trunc(v * (d["leak"] if t else 1.0) * 64) / 64 + d["bias"] + arriving
            v[self.raster[t] == 1] = 0.0
        return updated


@pytest.mark.parametrize("case", [0, 1])
def test_events_time_and_energy_are_sanafes(
    case: int, single: SpikingSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    s = Sanafe(case)
    monkeypatch.setattr("tetrapla.simulators.spiking.machine.connections", s.connections)
    fanout = fanouts(s.program, single)["all"]
    tally, meter = Tally(s.program, single), Meter(single, s.steps, 1)
    train, updated = s.raster[:, None], s.updated()
    for core in s.program.cores:
        heard = Heard(s.population, core, {"all": train}, (s.steps, 1))
        here = core.neurons
        done = Activity(train[:, :, here], updated[:, here].sum(axis=1, keepdims=True), 0)
        events = core_events(s.population, core, done, fanout, heard, {"all": 0})
        busy_s = meter.add(0, events)
        tally.add(s.population, core, events, done, fanout, busy_s)
    tally.finish(meter)
    actions, stored = tally.actions(s.population), s.stored
    assert actions["network.packet_out"] == stored["packets_sent"]
    assert actions["network.packet_in"] == stored["packets_sent"]
    assert actions[f"synapse.{s.form}"] == stored["spikes"]
    assert actions["soma.update"] == stored["neurons_updated"]
    assert actions["soma.fire"] == stored["neurons_fired"]
    hops = actions["network.hop_east_west"] + actions["network.hop_north_south"]
    assert hops == stored["perf_simple_hops"].sum()
    assert tally.time_s == pytest.approx(stored["sim_time_s_simple"], rel=1e-12)
    energy = price(actions, single.cost)
    for unit in ("synapse", "soma", "network"):
        assert energy.by_unit[unit] == pytest.approx(stored[f"energy_j_{unit}"] * 1e12)
    assert energy.total_pj == pytest.approx(stored["energy_j_total"] * 1e12, rel=1e-12)
