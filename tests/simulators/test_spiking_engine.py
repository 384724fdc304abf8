"""The engine: compiled equals NumPy bit by bit, a layer is its operator, laws of counting."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.op import OPS, evaluated
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import summed
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import (
    Core,
    Population,
    Program,
    SpikingSpec,
    Synapses,
    run,
)
from tetrapla.simulators.spiking.engine import engine, groups
from tetrapla.simulators.spiking.layout import Lists, Singles, wired
from tetrapla.simulators.spiking.program import Feed, Readout
from tetrapla.suites.spiking import machine_mismatches
from tetrapla.validation import GOLDEN

NONE = np.zeros(1, np.int32)
STEPS, BATCH = 12, 2
LIF: dict[str, Any] = {
    "reset": "to_zero",
    "reset_time": "same",
    "compare": "gt",
    "spikes": "one",
}
LOIHI: dict[str, Any] = {
    "policy": "loihi.lava",
    "exponent": 1,
    "refractory": 1,
    "lowest": 1 - 2**23,
    "highest": 2**23 - 1,
}
CONV: dict[str, Any] = {
    "strides": (2, 1),
    "pads": (1, 0, 1, 1),
    "dilations": (1, 1),
    "groups": 1,
}


@pytest.fixture(scope="module")
def loihi() -> SpikingSpec:
    return load_spec("loihi", SpikingSpec, ["core.compartments_per_neuron=1"]).spec


def everywhere(*populations: Population, most: int = 7) -> tuple[Core, ...]:
    """Cores of at most `most` neurons, each with an axon from everyone."""
    sizes = {p.name: p.neurons for p in populations}
    cores: list[Core] = []
    for p in populations:
        if p.feed is None:
            heard = tuple(np.arange(sizes[s.source]) for s in p.synapses)
            for first in range(0, p.neurons, most):
                here = np.arange(first, min(first + most, p.neurons))
                cores.append(Core(len(cores), p.name, here, heard))
    return tuple(cores)


def parameters(
    rng: np.random.Generator, model: str, words: dict[str, Any], n: int
) -> dict[str, Array]:
    """Of n neurons, drawn."""
    if model == "spike.loihi":
        pairs = {"current_decay": 4096, "voltage_decay": 4096, "threshold": 40, "bias": 90}
        each = {k: rng.integers(1, top, n).astype(np.int32) for k, top in pairs.items()}
        return {"start": np.zeros((3, n), np.int64), **each}
    names = {
        "spike.if": ("r", "v_threshold"),
        "spike.lif": ("tau", "r", "v_leak", "v_threshold"),
        "spike.cuba_lif": ("tau_syn", "tau_mem", "r", "v_leak", "w_in", "v_threshold"),
        "spike.adaptive_lif": ("tau", "r", "v_leak", "v_threshold", "tau_adapt", "beta"),
    }[model]
    each = {name: (0.6 + rng.random(n)).astype(np.float32) for name in names}
    states = 2 if len(names) > 4 else 1
    if words["reset"] == "to_value":
        each["v_reset"] = np.full(n, -0.25, np.float32)
    return {"start": np.zeros((states, n), np.float32), **each}


def network(rng: np.random.Generator, model: str, words: dict[str, Any]) -> Program:
    """Inputs on a grid; a layer of shared weights, a recurrent one with delays, single ones."""
    floats = model != "spike.loihi"
    dtype = np.float32 if floats else np.int8

    def weight(*shape: int) -> Array:
        whole: Array = rng.integers(-9, 12, shape).astype(dtype)
        return np.asarray(whole * np.float32(0.125)) if floats else whole

    def neurons(name: str, shape: tuple[int, ...], *synapses: Synapses) -> Population:
        n = int(np.prod(shape))
        bias = rng.integers(-1, 2, n).astype(np.float32 if floats else np.int32)
        return Population(
            name,
            "o",
            model,
            shape,
            1,
            synapses,
            bias,
            NONE,
            parameters=parameters(rng, model, words, n),
            words=words,
        )

    feed = Feed("x", 1.0, 0, 3, "time_first")
    inputs = Population("x", "input", "input", (2, 6, 5), 0, (), NONE, NONE, feed=feed)
    conv = Synapses("conv2d", "x", (2, 6, 5), None, weight(3, 2, 3, 2), **CONV)
    first = neurons("a", (3, 3, 5), conv)
    edges = rng.integers(0, 45, 120), rng.integers(0, 20, 120)
    lags = rng.integers(0, 4, 120).astype(np.int32)
    ends = np.array(edges, np.int32)
    listed = Synapses("sparse", "a", (45,), None, weight(120), ends=ends, lags=lags)
    back = Synapses("matmul", "b", (20,), None, weight(20, 20), lags=np.ones(1, np.int32))
    second = neurons("b", (20,), listed, back)
    third = neurons("c", (20,), Synapses("scale", "b", (20,), None, weight(1)))
    populations = (inputs, first, second, third)
    readouts = tuple(
        Readout(p.name, p.name, None, (STEPS, 1, *p.shape), 1.0, "voltage")
        for p in populations[1:]
    )
    held = ("p", STEPS, 1, ("x",), (), populations, everywhere(*populations), readouts)
    return Program(*held)


WORDS = [
    ("spike.loihi", LOIHI),
    ("spike.loihi", {**LOIHI, "exponent": -2}),
    ("spike.loihi", {**LOIHI, "policy": "loihi.nengo", "exponent": 0, "refractory": 3}),
    ("spike.loihi", {**LOIHI, "policy": "loihi.brian2", "exponent": 0, "refractory": 2,
                     "lowest": 0, "highest": 0}),
    ("spike.if", {**LIF, "reset": "subtract"}),
    ("spike.lif", {**LIF, "method": "euler", "reset": "to_value"}),
    ("spike.lif", {**LIF, "method": "zoh", "reset": "subtract", "reset_time": "held"}),
    ("spike.lif", {**LIF, "method": "exponential", "reset": "subtract", "spikes": "many"}),
    ("spike.cuba_lif", {**LIF, "method": "zoh", "reset_time": "next", "compare": "ge"}),
    ("spike.cuba_lif", {**LIF, "method": "exponential"}),
    ("spike.adaptive_lif", {**LIF, "method": "euler"}),
]  # fmt: skip


@pytest.mark.parametrize(("model", "words"), WORDS)
@pytest.mark.parametrize("seed", range(2))
def test_compiled_is_numpy_bit_by_bit(model: str, words: dict[str, Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = network(rng, model, words)
    x = {"x": rng.integers(0, 4, (BATCH, STEPS * 60)).astype(np.int8)}
    plain, compiled = (engine(program, BATCH, fast=fast).run(x) for fast in (False, True))
    for name, done in plain.items():
        for ours, theirs in zip(done, compiled[name], strict=True):
            assert np.array_equal(np.asarray(ours), np.asarray(theirs))
    assert sum(int(done.train.astype(int).sum()) for done in plain.values()) > 100


@pytest.mark.parametrize("fast", [False, True])
def test_the_machine_has_the_chip_models_spikes(fast: bool) -> None:
    counts = list(machine_mismatches(GOLDEN, fast=fast))
    assert len(counts) == 22
    assert all(count == 0 for _, count in counts)


def test_a_form_by_density_and_shared_lists(loihi: SpikingSpec) -> None:
    del loihi
    program = network(np.random.default_rng(0), "spike.loihi", LOIHI)
    sizes = {p.name: p.neurons for p in program.populations}
    held = {
        p.name: [
            t.held
            for t in wired(
                p, [c for c in program.cores if c.population == p.name], sizes
            ).tables
        ]
        for p in program.populations[1:]
    }
    (conv,) = held["a"]
    assert isinstance(conv, Lists)
    assert conv.offset.dtype == np.uint16
    assert conv.weight.dtype == np.int8
    # 60 sources; rows 0 and 5 and the other rows by parity, the two edges of each row and its
    # middle: lists are far fewer
    assert len(conv.start) - 1 < 60 / 2
    assert isinstance(held["b"][-1], np.ndarray)
    assert isinstance(held["c"][0], Singles)


def test_a_layer_is_its_operator() -> None:
    rng = np.random.default_rng(5)
    program = network(rng, "spike.loihi", LOIHI)
    x = rng.integers(0, 4, (BATCH, STEPS, 60)).astype(np.int8)
    found = engine(program, BATCH, fast=True).run({"x": x.reshape(BATCH, -1)})
    p = program.populations[1]
    train = x.transpose(1, 0, 2).reshape(STEPS, BATCH, 2, 6, 5)
    weight, bias = p.synapses[0].weight, p.bias.reshape(p.shape)
    current = evaluated("spike.conv2d", [train, weight, bias], {**CONV, "exponent": 0})
    given = [
        a.reshape(-1, *p.shape) if a.ndim > 1 else a.reshape(p.shape)
        for a in p.parameters.values()
    ]
    start = given[0][:, None]
    spikes = OPS["spike.loihi"].evaluate(current, start, *given[1:], **LOIHI)[0]
    assert np.array_equal(found["a"].train.reshape(current.shape), spikes)


def test_spikes_out_are_spikes_in_and_hops_are_theirs(loihi: SpikingSpec) -> None:
    # conservation: packets in = packets out = sum of spikes x cores that listen; synaptic
    # events = sum of spikes x synapses; hops = sum of spikes x links of their ways
    rng = np.random.default_rng(1)
    program = network(rng, "spike.loihi", LOIHI)
    x = {"x": rng.integers(0, 2, (1, STEPS, 1, 2, 6, 5)).astype(np.int8)}
    done = run(program, loihi, x, Key(0))
    spikes = {
        name: each.train.sum(axis=(0, 1), dtype=np.int64)
        for name, each in engine(program, 1).run({"x": x["x"].reshape(1, -1)}).items()
    }
    actions = summed([layer.actions for layer in done.layers])
    packets, synops, hops = 0, 0, 0
    for core in program.cores:
        p = next(p for p in program.populations if p.name == core.population)
        there = np.array(loihi.position(core.index))
        for s, axons in zip(p.synapses, core.axons, strict=True):
            packets += int(spikes[s.source][axons].sum())
            for n in axons:
                home = next(
                    (c for c in program.cores if c.population == s.source and n in c.neurons),
                    None,
                )
                here = np.array(loihi.position(home.index if home else 0))
                hops += int(spikes[s.source][n]) * int(np.abs(there - here).sum())
    for p in program.populations:
        everyone = Core(
            0,
            p.name,
            np.arange(p.neurons),
            tuple(np.arange(len(spikes[s.source])) for s in p.synapses),
        )
        sizes = {name: len(each) for name, each in spikes.items()}
        fans = wired(p, [everyone], sizes).fans
        for s, fan in zip(p.synapses, fans, strict=True):
            synops += int(spikes[s.source] @ fan[:, 0])
    assert actions["network.packet_in"] == packets
    from_host = int(spikes["x"].sum()) * 7  # its spikes reach the 7 cores of `a`
    assert actions["network.packet_out"] == packets - from_host
    assert sum(n for k, n in actions.items() if k.startswith("synapse.")) == synops
    assert actions["network.hop_east_west"] + actions["network.hop_north_south"] == hops
    assert actions["soma.fire"] == sum(int(spikes[n].sum()) for n in "abc")


def test_cores_do_not_change_spikes() -> None:
    rng = np.random.default_rng(2)
    program = network(rng, "spike.lif", {**LIF, "method": "euler"})
    x = {"x": rng.integers(0, 4, (BATCH, STEPS * 60)).astype(np.int8)}
    one = engine(program, BATCH, fast=False).run(x)
    fewer = replace(program, cores=everywhere(*program.populations, most=45))
    two = engine(fewer, BATCH, fast=False).run(x)
    assert all(np.array_equal(one[name].train, two[name].train) for name in one)


def test_populations_of_a_cycle_go_together() -> None:
    program = network(np.random.default_rng(0), "spike.loihi", LOIHI)
    assert [[p.name for p in group] for group in groups(program)] == [
        ["x"],
        ["a"],
        ["b"],
        ["c"],
    ]
    x, a, b, c = program.populations
    late = Synapses("scale", "c", (20,), None, np.ones(1, np.int8), lags=np.ones(1, np.int32))
    turned = replace(program, populations=(x, a, replace(b, synapses=(*b.synapses, late)), c))
    assert [[p.name for p in group] for group in groups(turned)] == [["x"], ["a"], ["b", "c"]]
    now = replace(late, lags=np.zeros(0, np.int32))
    wrong = replace(program, populations=(x, a, replace(b, synapses=(*b.synapses, now)), c))
    with pytest.raises(ModelError) as refused:
        list(groups(wrong))
    assert str(refused.value) == (
        "population b: spikes of c, which is computed later, must wait at least 1 timestep, "
        "not 0; compile the model again"
    )


def test_a_program_with_every_part_survives_json() -> None:
    program = network(np.random.default_rng(3), "spike.cuba_lif", {**LIF, "method": "zoh"})
    again = Program.from_dict(program.to_dict())
    assert again.to_dict() == program.to_dict()
    assert again.text() == program.text()
