"""Cores and places: brute force on small meshes, laws, the report, refusals in full."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.backends.spiking import hypergraph
from tetrapla.backends.spiking.activity import spikes, traffic
from tetrapla.backends.spiking.anneal import hops, places
from tetrapla.backends.spiking.mapping import mapped, way
from tetrapla.backends.spiking.place import place
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import summed
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import Population, Program, SpikingSpec, Synapses, run
from tetrapla.simulators.spiking.program import Feed, Readout

NONE, ONE = np.zeros(1, np.int32), np.array([1], np.int32)


def mesh(x: int, y: int, cores: int, *more: str) -> SpikingSpec:
    sizes = [f"mesh.tiles_x={x}", f"mesh.tiles_y={y}", f"mesh.cores_per_tile={cores}"]
    return load_spec("loihi", SpikingSpec, [*sizes, *more]).spec


def drawn(seed: int, cores: int) -> Array:
    """Packets between about half of all pairs of cores, and from the host."""
    rng = np.random.default_rng(seed)
    shape = (cores + 1, cores + 1)
    return np.asarray(rng.integers(1, 50, shape) * (rng.random(shape) < 0.5), np.int64)


def taken(packets: Array, numbers: Array, spec: SpikingSpec) -> int:
    return hops(packets, np.append(numbers // spec.mesh.cores_per_tile, 0), spec)


@pytest.mark.parametrize(
    ("cores", "size"), [(5, (3, 2, 1)), (8, (4, 2, 1)), (6, (3, 3, 1)), (7, (2, 2, 2))]
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_places_are_those_of_brute_force(
    cores: int, size: tuple[int, int, int], seed: int
) -> None:
    spec, packets = mesh(*size), drawn(seed, cores)
    slots, each = size[0] * size[1] * size[2], size[2]
    every = np.array(list(permutations(range(slots), cores))) // each
    needed = -(-cores // each)  # tiles: more would lengthen the barrier
    used = np.array([len(set(row.tolist())) for row in every]) if each > 1 else None
    every = every if used is None else every[used <= needed]
    x, y = np.divmod(np.column_stack([every, np.zeros(len(every), np.int64)]), size[1])
    total = np.zeros(len(every), np.int64)
    for a, b in zip(*np.nonzero(packets), strict=True):
        total += packets[a, b] * (np.abs(x[:, a] - x[:, b]) + np.abs(y[:, a] - y[:, b]))
    assert taken(packets, places(packets, spec, Key(seed)), spec) == total.min()


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 24))
def test_places_are_a_core_each_and_never_worse_and_the_seeds_own(
    seed: int, cores: int
) -> None:
    spec, packets = mesh(4, 4, 2), drawn(seed, cores)
    found = places(packets, spec, Key(seed))
    assert len(set(found.tolist())) == cores
    assert found.min() >= 0
    assert found.max() < spec.cores
    assert len(set((found // 2).tolist())) <= -(-cores // 2)
    assert taken(packets, found, spec) <= taken(packets, np.arange(cores), spec)
    assert np.array_equal(found, places(packets, spec, Key(seed)))


def sparse(sources: int, pairs: list[tuple[int, int]], neurons: int) -> Population:
    """A population that hears listed sources of `x`, by one synapse of weight 1 each."""
    ends = np.array(pairs, np.int32).T
    s = Synapses("sparse", "x", (sources,), None, np.ones(len(pairs), np.int8), ends=ends)
    return Population("p", "spike.sparse", "integrate_and_fire", (neurons,), 1, (s,), NONE, ONE)


def communities(neurons: int, groups: int, seed: int) -> Population:
    """Neuron n hears 12 sources of group n % groups alone; the groups interleave."""
    rng = np.random.default_rng(seed)
    pairs = [
        (int(s) * groups + n % groups, n)
        for n in range(neurons)
        for s in rng.choice(neurons // groups, 12, replace=False)
    ]
    return sparse(neurons, pairs, neurons)


def test_communities_that_interleave_come_together() -> None:
    p = communities(256, 4, 0)
    held = hypergraph.pins(p, {"x": np.random.default_rng(1).integers(1, 9, 256)})
    assert held is not None
    cut, planted = np.arange(256) // 64, np.arange(256) % 4
    found = hypergraph.refined(held, cut, Key(0))
    assert hypergraph.cost(held, found) == hypergraph.cost(held, planted)
    assert 3 * hypergraph.cost(held, found) < hypergraph.cost(held, cut)
    assert np.bincount(found).tolist() == [64] * 4
    assert np.array_equal(found, hypergraph.refined(held, cut, Key(0)))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_a_refined_cut_is_never_worse_and_its_cores_hold_no_more(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = [(int(s), n) for n in range(40) for s in rng.choice(30, rng.integers(1, 6), False)]
    held = hypergraph.pins(sparse(30, pairs, 40), {"x": rng.integers(0, 5, 30)})
    assert held is not None
    cut = np.arange(40) * 3 // 40
    found = hypergraph.refined(held, cut, Key(seed))
    assert hypergraph.cost(held, found) <= hypergraph.cost(held, cut)
    assert set(found.tolist()) == {0, 1, 2}
    assert np.bincount(found).max() <= np.bincount(cut).max()
    work = [np.bincount(part, held.work).max() for part in (found, cut)]
    assert work[0] <= 1.25 * work[1]


@pytest.mark.parametrize("seed", range(6))
def test_a_cut_of_eight_neurons_is_that_of_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = [(int(s), n) for n in range(8) for s in rng.choice(6, 2, replace=False)]
    held = hypergraph.pins(sparse(6, pairs, 8), {"x": np.ones(6, np.int64)})
    assert held is not None
    found = hypergraph.refined(held, np.arange(8) // 4, Key(0))
    halves = [np.isin(np.arange(8), each).astype(int) for each in combinations(range(8), 4)]
    assert hypergraph.cost(held, found) == min(hypergraph.cost(held, h) for h in halves)


def network(p: Population, sources: int, timesteps: int = 5) -> Program:
    """The population behind an input `x`, not on cores; it feeds a copy of itself."""
    feed = Feed("x", 1.0, 0, 1, "time_first")
    x = Population("x", "input", "input", (sources,), 0, (), NONE, NONE, feed=feed)
    again = replace(p.synapses[0], source="p")
    q = replace(p, name="q", depth=2, synapses=(again,))
    readout = Readout("n", "q", None, (1, q.neurons), 1.0, "count")
    return Program("net", timesteps, 1, ("x",), (("y", "n"),), (x, p, q), (), (readout,))


def test_a_mapping_takes_what_it_says_and_changes_no_spike() -> None:
    spec = mesh(4, 2, 1, "core.compartments=64")  # 32 neurons a core
    program = network(communities(64, 2, 3), 64)
    x = (np.random.default_rng(5).random((3, 5, 1, 64)) < 0.3).astype(np.float32)
    chip = mapped(program, spec, {"x": x})
    plain = place(program, spec)
    done = run(chip.program, spec, {"x": x}, Key(0))
    assert np.array_equal(done.outputs["y"], run(plain, spec, {"x": x}, Key(0)).outputs["y"])
    actions = summed([layer.actions for layer in done.layers])
    crossed = actions["network.hop_east_west"] + actions["network.hop_north_south"]
    assert chip.way.hops == pytest.approx(3 * crossed, rel=1e-12)
    assert chip.way.packets == pytest.approx(3 * actions["network.packet_in"], rel=1e-12)
    assert chip.first == way(plain, spec, spikes(plain, {"x": x}))
    # each source has listeners on one core of the two, not on both
    assert 2 * chip.way.packets == chip.first.packets
    assert chip.way.hops < chip.first.hops
    assert chip.program.to_dict() == mapped(program, spec, {"x": x}).program.to_dict()


def test_without_data_a_neuron_counts_as_one_spike() -> None:
    spec = mesh(4, 2, 1, "core.compartments=64")
    program = place(network(communities(64, 2, 3), 64), spec)
    fired = spikes(program, {})
    assert fired["x"].tolist() == [1] * 64
    # from the host to the cores of p, from those to q's: what hears how many sources
    heard = [len(core.axons[0]) for core in program.cores]
    assert traffic(program, fired, spec.core).sum(axis=0).tolist() == [*heard, 0]


def test_the_report_says_what_limits_each_layer() -> None:
    spec = mesh(4, 2, 1, "core.compartments=64")
    chip = mapped(network(communities(64, 2, 3), 64), spec, {})
    said = chip.sentences()
    assert said[0] == (
        "cores, and what the fullest one of a layer has least left of: p 2 by compartments (64 "
        "of 64), q 2 by compartments (64 of 64)"
    )
    assert said[1] == (
        f"spikes if every neuron fires once cross {chip.way.hops} links in 128 packets; "
        f"{chip.first.hops} in 256 with cores in the layers' order"
    )
    fit = chip.to_dict()["fit"]["p"]
    assert fit["input axons"] == [32, 4096]
    assert fit["output axons"] == [32, 4096]
    assert fit["threshold configurations"] == [1, 16]


def test_parameters_of_a_core_are_counted() -> None:
    # 40 thresholds: 16 a core, so 3 cores; 40 decays: 32 a core, so 2
    p = communities(40, 1, 0)
    spec = mesh(4, 2, 1)
    theta = replace(p, threshold=np.arange(1, 41, dtype=np.int32))
    assert len(place(replace(network(theta, 40), populations=_alone(theta)), spec).cores) == 3
    decays: dict[str, Array] = {
        "voltage_decay": np.arange(40, dtype=np.int32),
        "bias": np.arange(40),
    }
    decay = replace(p, parameters=decays)
    assert len(place(replace(network(decay, 40), populations=_alone(decay)), spec).cores) == 2


def _alone(p: Population) -> tuple[Population, ...]:
    feed = Feed("x", 1.0, 0, 1, "time_first")
    x = Population("x", "input", "input", p.synapses[0].source_shape, 0, (), NONE, NONE)
    return replace(x, feed=feed), p


def refusal(program: Program, spec: SpikingSpec) -> str:
    with pytest.raises(UnsupportedError) as refused:
        place(program, spec)
    return str(refused.value)


def test_what_does_not_fit_is_said_with_what_would() -> None:
    program = network(communities(64, 2, 3), 64)
    assert refusal(program, mesh(4, 2, 1, "core.input_axons=8")) == (
        "layer p: 12 input axons exceed 8 per core by 4, for a single neuron; its inputs in 2 "
        "layers that are added up would fit, or core.input_axons=12"
    )
    assert refusal(program, mesh(4, 2, 1, "core.synapse_memory=2")) == (
        "layer p: 12 words of synapses exceed 2 per core by 10, for a single neuron; its "
        "inputs in 6 layers that are added up would fit, or core.synapse_memory=12"
    )
    assert refusal(program, mesh(4, 2, 1, "core.compartments=16")) == (
        "model net must fit 8 cores, not at least 16; layer p alone takes 8, which are full "
        "of compartments; layers on 8 cores fewer would fit, or mesh.tiles_x=8"
    )
    several = mesh(4, 2, 1, "core.input_axons=16")
    assert refusal(program, several).startswith("model net must fit 8 cores, not ")
    assert "which are full of input axons; layers on " in refusal(program, several)


def test_layers_that_grow_for_their_output_axons_are_refused_for_them() -> None:
    program = network(communities(64, 2, 3), 64)
    spec = mesh(3, 1, 1, "core.compartments=64", "core.output_axons=16")
    assert refusal(program, spec) == (
        "model net must fit 3 cores, not at least 4; layer p alone takes 2, which are full of "
        "compartments; layers on 1 core fewer would fit, or mesh.tiles_x=4"
    )
    spec = mesh(5, 1, 1, "core.compartments=64", "core.output_axons=16")
    # 64 neurons of p each reach both cores of q: 16 output axons are those of 8, but shares are
    # halved, and 2 of 32 become 4 of 16
    assert refusal(program, spec) == (
        "model net must fit 5 cores, not at least 6; layer p alone takes 4, which are full of "
        "output axons; layers on 1 core fewer would fit, or mesh.tiles_x=6"
    )


def test_too_many_output_axons_are_said_with_what_would_fit() -> None:
    # every neuron of p is heard by 2 cores of q, and a core has one slot
    program = network(communities(64, 2, 3), 64)
    assert refusal(program, mesh(16, 16, 1, "core.compartments=64", "core.output_axons=1")) == (
        "layer p: 2 output axons exceed 1 per core by 1, for a single neuron; a layer behind "
        "it on fewer cores would fit, or core.output_axons=2"
    )
