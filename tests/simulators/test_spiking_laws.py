"""What is conserved on random networks: spikes, synaptic events, hops; what a total needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.ir.graph import Array
from tetrapla.simulators.price_ import price
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import Run, summed
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import Core, Population, Program, SpikingSpec, Synapses, run
from tetrapla.simulators.spiking.detailed import Detailed
from tetrapla.simulators.spiking.engine import engine
from tetrapla.simulators.spiking.flits import Flits
from tetrapla.simulators.spiking.program import Feed

STEPS = 5
NONE = np.zeros(1, np.int32)
LOIHI = load_spec("loihi", SpikingSpec, ["core.compartments_per_neuron=1"]).spec


@dataclass(frozen=True)
class Drawn:
    """A network on cores, and who reaches whom.

    `edges` are by target and source: how many synapses, i64 [sources, targets].
    """

    program: Program
    edges: dict[tuple[str, str], Array]
    x: dict[str, Array]

    def spikes(self) -> dict[str, Array]:
        """How many every neuron sends."""
        trains = engine(self.program, 1).run({"x": self.x["x"].reshape(1, -1)})
        return {name: d.train.astype(np.int64).sum(axis=(0, 1)) for name, d in trains.items()}

    def heard(self) -> list[tuple[Core, str, Array]]:
        """Each core with each source and the neurons of it that it has an axon of."""
        held = {p.name: p for p in self.program.populations}
        return [
            (core, s.source, axons)
            for core in self.program.cores
            for s, axons in zip(held[core.population].synapses, core.axons, strict=True)
        ]


def drawn(seed: int) -> Drawn:
    """Layers of 1 to 12 neurons, dense or in lists with delays, some of which feed themselves.

    Neurons and cores are in any order, and a tenth of the axons are missing.
    """
    rng = np.random.default_rng(seed)
    feed = Feed("x", 1.0, 0, 1, "time_first")
    size = int(rng.integers(1, 9))
    held = [Population("x", "input", "input", (size,), 0, (), NONE, NONE, feed=feed)]
    edges: dict[tuple[str, str], Array] = {}
    for depth in range(1, int(rng.integers(2, 5))):
        n, name = int(rng.integers(1, 13)), f"p{depth}"
        before = {p.name: p.neurons for p in held}
        chosen = [held[-1].name, *(p.name for p in held[:-1] if rng.random() < 0.4)]
        if rng.random() < 0.5:
            chosen.append(name)
        synapses: list[Synapses] = []
        for source in chosen:
            count = before.get(source, n)
            own, edges[name, source] = connected(rng, source, count, n, back=source == name)
            synapses.append(own)
        theta = np.array([int(rng.integers(1, 12))], np.int32)
        model = ("o", "integrate_and_fire", (n,), depth, tuple(synapses), NONE, theta)
        held.append(Population(name, *model))
    x = (rng.random((1, STEPS, 1, size)) < 0.6).astype(np.float32)
    cores = placed(rng, held)
    program = Program("net", STEPS, 1, ("x",), (), tuple(held), cores, ())
    return Drawn(program, edges, {"x": x})


def connected(
    rng: np.random.Generator, source: str, count: int, n: int, *, back: bool
) -> tuple[Synapses, Array]:
    if rng.random() < 0.5:
        weight = rng.integers(-9, 20, (count, n)).astype(np.int8)
        lags = np.ones(1, np.int32) if back else np.zeros(0, np.int32)
        s = Synapses("matmul", source, (count,), None, weight, lags=lags)
        return s, np.ones((count, n), np.int64)
    many = int(rng.integers(1, 40))
    ends = np.stack([rng.integers(0, count, many), rng.integers(0, n, many)]).astype(np.int32)
    weight = rng.integers(-9, 20, many).astype(np.int8)
    lags = rng.integers(int(back), 4, many).astype(np.int32)
    s = Synapses("sparse", source, (count,), None, weight, ends=ends, lags=lags)
    pairs = np.zeros((count, n), np.int64)
    np.add.at(pairs, (ends[0], ends[1]), 1)
    return s, pairs


def placed(rng: np.random.Generator, held: list[Population]) -> tuple[Core, ...]:
    sizes = {p.name: p.neurons for p in held}
    numbers = iter(rng.permutation(LOIHI.cores).tolist())
    cores: list[Core] = []
    for p in held[1:]:
        parts = np.array_split(rng.permutation(p.neurons), rng.integers(1, 4))
        for part in parts:
            if len(part):
                axons = tuple(
                    np.flatnonzero(rng.random(sizes[s.source]) < 0.9) for s in p.synapses
                )
                cores.append(Core(next(numbers), p.name, np.sort(part), axons))
    return tuple(sorted(cores, key=lambda core: core.index))


def counted(done: Run) -> dict[str, float]:
    return summed([layer.actions for layer in done.layers])


SEEDS = st.integers(0, 2**31)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_spikes_out_of_cores_are_those_delivered_over_the_fan_out(seed: int) -> None:
    net = drawn(seed)
    spikes, done = net.spikes(), run(net.program, LOIHI, net.x, Key(0))
    listeners = {name: np.zeros(len(s), np.int64) for name, s in spikes.items()}
    for _, source, axons in net.heard():
        listeners[source][axons] += 1
    for layer in done.layers[1:]:
        assert layer.actions["soma.fire"] == spikes[layer.name].sum()
        sent = int(spikes[layer.name] @ listeners[layer.name])
        assert layer.actions["network.packet_out"] == sent
    delivered = sum(int(spikes[name] @ listeners[name]) for name in spikes)
    assert counted(done)["network.packet_in"] == delivered
    # where all neurons of a layer are heard by as many cores: spikes = delivered / fan-out
    for layer in done.layers[1:]:
        fan = set(listeners[layer.name].tolist())
        if len(fan) == 1 and 0 not in fan:
            (each,) = fan
            packets = layer.actions["network.packet_out"]
            assert layer.actions["soma.fire"] == packets / each


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_synaptic_events_are_spikes_times_fan_out(seed: int) -> None:
    net = drawn(seed)
    spikes, done = net.spikes(), run(net.program, LOIHI, net.x, Key(0))
    expected = dict.fromkeys(spikes, 0)
    for core, source, axons in net.heard():
        fan = net.edges[core.population, source][:, core.neurons].sum(axis=1)
        expected[core.population] += int(spikes[source][axons] @ fan[axons])
    for layer in done.layers[1:]:
        events = sum(n for name, n in layer.actions.items() if name.startswith("synapse."))
        assert events == expected[layer.name]


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_hops_flit_by_flit_are_the_counted_and_the_analytic_ones(seed: int) -> None:
    net = drawn(seed)
    spec = load_spec(
        "loihi", SpikingSpec, ["core.compartments_per_neuron=1", "noc.model=flit"]
    ).spec
    made = engine(net.program, 1)
    done = made.run({"x": net.x["x"].reshape(1, -1)})
    detailed = Detailed(net.program, spec, made.wired)
    trains = detailed.trains(done)
    crossed, delivered = np.zeros(2, np.int64), 0
    for t in range(net.program.chip_timesteps):
        flow = Flits(spec, fast=False).run(detailed.queues(done, trains, t, 0))
        crossed += flow.hops
        delivered += int((flow.received >= 0).sum())
    home = {
        (core.population, int(n)): core.index
        for core in net.program.cores
        for n in core.neurons
    }
    spikes, analytic = net.spikes(), np.zeros(2, np.int64)
    for core, source, axons in net.heard():
        there = np.array(spec.position(core.index))
        for n in axons:
            here = np.array(spec.position(home.get((source, int(n)), 0)))  # the host: tile 0
            analytic += int(spikes[source][n]) * np.abs(there - here)
    actions = counted(run(net.program, LOIHI, net.x, Key(0)))
    hops = [actions["network.hop_east_west"], actions["network.hop_north_south"]]
    assert crossed.tolist() == analytic.tolist() == hops
    assert delivered == actions["network.packet_in"]


def all_actions(net: Drawn, spec: SpikingSpec) -> tuple[Run, dict[str, float]]:
    done = run(net.program, spec, net.x, Key(0))
    return done, summed([*(layer.actions for layer in done.layers), done.actions])


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_energy_is_events_times_prices_and_the_whole_time_of_the_static_power(
    seed: int,
) -> None:
    net = drawn(seed)
    done, actions = all_actions(net, LOIHI)
    energy = price(actions, LOIHI.prices)
    static_pj = 104e-3 * done.time_s * 1e12
    assert energy.by_unit["static"] == pytest.approx(static_pj, rel=1e-12)
    events_pj = sum(n * (LOIHI.cost[name] or 0) for name, n in counted(done).items())
    assert energy.total_pj == pytest.approx(events_pj + static_pj, rel=1e-12)
    # a timestep lasts at least its barrier, and every neuron is accessed, idle or not
    steps = net.program.chip_timesteps
    assert done.time_s >= steps * LOIHI.barrier.from_1_tile_s
    neurons = sum(p.neurons for p in net.program.populations[1:])
    assert actions["soma.access"] == steps * neurons


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from([*sorted(LOIHI.cost), "static.second"]))
def test_without_one_price_there_is_no_total_and_the_price_is_named(
    seed: int, missing: str
) -> None:
    net = drawn(seed)
    chip = replace_price(missing)
    _, actions = all_actions(net, chip)
    energy = price(actions, chip.prices)
    if not actions.get(missing):  # nothing done costs nothing
        assert energy.total_pj is not None
        return
    assert energy.total_pj is None
    assert energy.by_unit[missing.partition(".")[0]] is None
    shown = "static.second (chip.static_power)" if missing == "static.second" else missing
    assert energy.warnings == (
        f"the energy total is null: no source gives the price of {shown}",
    )


def replace_price(missing: str) -> SpikingSpec:
    if missing == "static.second":
        chip = LOIHI.chip.model_copy(update={"static_power_w": None})
        return LOIHI.model_copy(update={"chip": chip})
    return LOIHI.model_copy(update={"cost": {**LOIHI.cost, missing: None}})


def test_a_silent_network_still_draws_its_static_power() -> None:
    net = drawn(0)
    quiet = replace(net, x={"x": np.zeros_like(net.x["x"])})
    done, actions = all_actions(quiet, LOIHI)
    assert actions["soma.fire"] == 0
    energy = price(actions, LOIHI.prices)
    assert energy.total_pj is not None
    accessed = actions["soma.access"] * 51.2
    updated = actions["soma.update"] * 21.6
    static_pj = 104e-3 * done.time_s * 1e12
    assert energy.total_pj == pytest.approx(static_pj + accessed + updated, rel=1e-12)
