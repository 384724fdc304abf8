"""The spiking machine: neurons by hand, laws, energy and time by hand, faults planted."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.op import evaluated
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import price, summed
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import (
    Core,
    Population,
    Program,
    SpikingSpec,
    Synapses,
    run,
)
from tetrapla.simulators.spiking import fast as compiled
from tetrapla.simulators.spiking.cells import Activity, cells, maximum
from tetrapla.simulators.spiking.engine import engine
from tetrapla.simulators.spiking.program import Encoder, Feed, Readout
from tetrapla.simulators.spiking.wiring import connections

STRICT: dict[str, Any] = {"compare": "gt"}
NARROW: dict[str, Any] = {"state_bits": 4}
RULE: dict[str, Any] = {
    "initial": "half",
    "reset": "subtract",
    "compare": "ge",
    "state_bits": 18,
}


def integrate(current: Array, driven: Array, threshold: Array | None, **rule: Any) -> Activity:
    """Neurons of the machine on a current [T, B, n]; without a threshold a readout."""
    none, n = np.zeros(1, np.int32), current.shape[2]
    model = "readout" if threshold is None else "integrate_and_fire"
    theta = none if threshold is None else threshold
    p = Population("p", "test", model, (n,), 0, (), none, theta, **rule)
    held = np.broadcast_to(driven, current.shape[1:]).copy()
    found = [cells(p, held, each).advance(current.copy()) for each in (None, compiled)]
    for ours, theirs in zip(*found, strict=True):
        assert np.array_equal(ours, theirs)
    return found[0]


@pytest.fixture(scope="module")
def single() -> SpikingSpec:
    """Loihi with one compartment per neuron, as SANA-FE counts."""
    return load_spec("loihi", SpikingSpec, ["core.compartments_per_neuron=1"]).spec


def two_neurons(threshold: int = 4) -> Program:
    """An input neuron that drives a second one with weight 3; four timesteps."""
    none, four = np.zeros(1, np.int32), np.array([4], np.int32)
    first = Population(
        "first",
        "spike.encode",
        "integrate_and_fire",
        (1,),
        0,
        (),
        none,
        four,
        encoders=(Encoder("x", 0.25, 4),),
    )
    synapse = Synapses("scale", "first", (1,), None, np.array([3], np.int8))
    theta = np.array([threshold], np.int32)
    second = Population(
        "second", "spike.scale", "integrate_and_fire", (1,), 1, (synapse,), none, theta
    )
    return Program(
        name="two",
        timesteps=4,
        batch=1,
        inputs=("x",),
        outputs=(("y", "count"),),
        populations=(first, second),
        cores=(
            Core(0, "first", np.array([0]), ()),
            Core(1, "second", np.array([0]), (np.array([0]),)),
        ),
        readouts=(Readout("count", "second", None, (1, 1), 0.5, "count"),),
    )


def test_a_neuron_by_hand() -> None:
    # theta 4, v starts at 2, current 3 in every step:
    #   v = 5 fires -> 1;  4 fires -> 0;  3 silent;  6 fires -> 2;  5 fires -> 1
    current = np.full((5, 1, 1), 3, np.int32)
    done = integrate(current, np.ones(1, bool), np.array([4], np.int32), **RULE)
    assert done.train.ravel().tolist() == [1, 1, 0, 1, 1]
    assert done.updated.all()
    strict = integrate(current, np.ones(1, bool), np.array([4], np.int32), **(RULE | STRICT))
    # 5 -> 1; 4 is not over 4; 7 -> 3; 6 -> 2; 5 -> 1
    assert strict.train.ravel().tolist() == [1, 0, 1, 1, 1]


def test_a_membrane_saturates_and_says_so() -> None:
    # 4 bits: limit 7; 5, then 10 -> 7, then 12 -> 7
    current = np.full((3, 1, 1), 5, np.int32)
    done = integrate(current, np.zeros(1, bool), None, **(RULE | NARROW))
    assert done.train.ravel().tolist() == [7]
    assert done.saturated == 2
    judged = evaluated("spike.decode", [current], {"scale": 1.0, "state_bits": 4})
    assert judged.ravel().tolist() == [7.0]


def test_a_maximum_fires_with_its_most_active_input_by_hand() -> None:
    # inputs a 0 1 1 0 and b 1 0 0 1: running counts max = 1 1 2 2
    a_b = np.array([[0, 1], [1, 0], [1, 0], [0, 1]], np.int8)[:, None]
    done = maximum(a_b, np.array([0]), np.array([0]), 1)
    assert done.train.ravel().tolist() == [1, 0, 1, 0]


@given(st.integers(0, 100), st.integers(1, 6))
def test_a_constant_current_is_counted_within_half_a_spike(
    current: int, doublings: int
) -> None:
    # |count / T - current / theta| <= 1 / (2 T): more timesteps never widen the bound
    steps, theta = 2**doublings, 100
    constant = np.full((steps, 1, 1), current, np.int32)
    done = integrate(constant, np.ones(1, bool), np.array([theta], np.int32), **RULE)
    error = abs(int(done.train.sum()) * theta - current * steps)
    assert error <= theta / 2


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=40))
def test_charge_is_conserved(steps: list[int]) -> None:
    current = np.array(steps, np.int32)[:, None, None]
    theta = np.array([30], np.int32)
    fired = integrate(current, np.zeros(1, bool), theta, **RULE).train
    gathered = integrate(current - fired * theta, np.zeros(1, bool), None, **RULE).train
    # initial charge + input = spikes * theta + what is left
    assert 15 + sum(steps) == int(fired.sum()) * 30 + 15 + int(gathered.item())


def test_energy_of_two_neurons_by_hand(single: SpikingSpec) -> None:
    # x = 1 is a current of 4 = theta: `first` fires 4 times. `second` as in the trace above
    # with current 3: 1 1 0 1. The pipeline takes 5 timesteps, both cores are in one tile.
    done = run(two_neurons(), single, {"x": np.ones((1, 1, 1), np.float32)}, Key(0))
    assert done.outputs["y"].ravel().tolist() == [1.5]
    assert done.cycles == 5
    actions = summed([layer.actions for layer in done.layers])
    assert {name: count for name, count in actions.items() if count} == {
        "soma.access": 10,
        "soma.update": 8,
        "soma.fire": 7,
        "network.packet_out": 4,
        "network.packet_in": 4,
        "synapse.sparse": 4,
    }
    energy = price(actions, single.cost)
    expected = 10 * 51.2 + 8 * 21.6 + 7 * 69.3 + 4 * 111 + 4 * 33.6
    assert energy.total_pj == pytest.approx(expected, rel=1e-12)


def test_time_of_two_neurons_by_hand(single: SpikingSpec) -> None:
    # steps 0-3: first core 6 + 3.7 + 30 + 5.1 ns, over 16 + 4.7 ns of the second's synapse;
    # step 4: second core 6 + 3.7 + 30 ns; each ends with a barrier of 600 ns
    done = run(two_neurons(), single, {"x": np.ones((1, 1, 1), np.float32)}, Key(0))
    assert done.time_s == pytest.approx((4 * 44.8 + 39.7 + 5 * 600) * 1e-9, rel=1e-12)
    assert done.actions == {"static.second": done.time_s}
    assert [layer.bound_by for layer in done.layers] == ["barrier", "barrier"]


def test_counts_are_means_over_inferences(single: SpikingSpec) -> None:
    x = np.array([1.0, 0.0], np.float32).reshape(2, 1, 1)
    done = run(two_neurons(), single, {"x": x}, Key(0))
    # with x = 0 nothing fires
    assert done.layers[0].actions["soma.fire"] == 2
    assert done.outputs["y"].ravel().tolist() == [1.5, 0.0]


def test_hops_follow_the_mesh(single: SpikingSpec) -> None:
    # core 0 is in tile (0, 0); core 4 * 5 = 20 in tile 5 = (1, 1): one hop each way per spike
    program = two_neurons()
    far = replace(program, cores=(program.cores[0], replace(program.cores[1], index=20)))
    done = run(far, single, {"x": np.ones((1, 1, 1), np.float32)}, Key(0))
    assert done.layers[0].actions["network.hop_east_west"] == 4
    assert done.layers[0].actions["network.hop_north_south"] == 4


def test_hops_by_hand_where_the_axes_differ(single: SpikingSpec) -> None:
    # 8 x 4 tiles, numbered down: core 4 is in tile 1 = (0, 1), core 92 in tile 23 = (5, 3);
    # 5 links to the east and 2 to the south for each of 4 spikes
    program = two_neurons()
    first, second = program.cores
    far = replace(program, cores=(replace(first, index=4), replace(second, index=92)))
    done = run(far, single, {"x": np.ones((1, 1, 1), np.float32)}, Key(0))
    assert done.layers[0].actions["network.hop_east_west"] == 4 * 5
    assert done.layers[0].actions["network.hop_north_south"] == 4 * 2


def test_time_over_links_by_hand() -> None:
    # 5 links of 4.1 ns and 2 of 6.5 ns carry one spike at a time. In steps 0 to 3 a message
    # leaves behind 6 + 3.7 + 30 + 5.1 ns and takes 33.5 ns, then 16 + 4.7 ns; in step 4 the
    # second core alone works, 6 + 3.7 + 30 ns. The barrier of two tiles is 1 us
    spec = load_spec(
        "loihi", SpikingSpec, ["core.compartments_per_neuron=1", "noc.model=detailed"]
    ).spec
    program = two_neurons()
    first, second = program.cores
    far = replace(program, cores=(replace(first, index=4), replace(second, index=92)))
    done = run(far, spec, {"x": np.ones((1, 1, 1), np.float32)}, Key(0))
    expected_ns = 4 * (44.8 + 33.5 + 20.7) + 39.7 + 5 * 1000
    assert done.time_s == pytest.approx(expected_ns * 1e-9, rel=1e-12)


@pytest.mark.parametrize("model", ["integrate_and_fire", "maximum"])
def test_a_neurons_second_compartment_is_accessed_and_updated_too(model: str) -> None:
    # loihi as it is shipped; a maximum of one input fires with it, in steps 1 to 4 of 5
    program = two_neurons()
    first, second = program.populations
    maximum_of_one = replace(
        second,
        model="maximum",
        shape=(1, 1, 1),
        synapses=(
            Synapses("max_pool2d", "first", (1, 1, 1), None, np.zeros(0, np.int8), 0, (1, 1)),
        ),
    )
    if model == "maximum":
        program = replace(program, populations=(first, maximum_of_one))
    loihi = load_spec("loihi", SpikingSpec).spec
    done = run(program, loihi, {"x": np.ones((1, 1, 1), np.float32)}, Key(0))
    for layer in done.layers:
        assert layer.actions["soma.access"] == 5 * 2
        assert layer.actions["soma.update"] == 4 * 2
    # steps 0-3: the first core's 2 x (6 + 3.7) + 30 + 5.1 ns are longer than the second's; in
    # step 4 only the second updates, 2 x (6 + 3.7) + 30 ns
    expected_ns = 4 * 54.5 + 49.4 + 5 * 600
    assert done.time_s == pytest.approx(expected_ns * 1e-9, rel=1e-12)


def test_a_batch_costs_what_its_inferences_cost_one_by_one(single: SpikingSpec) -> None:
    x = np.array([1.0, 0.25], np.float32)
    program = two_neurons()
    (readout,) = program.readouts
    pair = replace(program, batch=2, readouts=(replace(readout, shape=(2, 1)),))
    one = run(program, single, {"x": x.reshape(2, 1, 1)}, Key(0))
    two = run(pair, single, {"x": x.reshape(1, 2, 1)}, Key(0))
    for half, whole in zip(one.layers, two.layers, strict=True):
        assert whole.actions == {action: 2 * n for action, n in half.actions.items()}
        assert (whole.cycles, whole.macs) == (2 * half.cycles, 2 * half.macs)
    assert two.layers[0].actions["soma.access"] == 10
    assert two.time_s == 2 * one.time_s
    assert two.actions == {"static.second": 2 * one.actions["static.second"]}
    assert two.cycles == 2 * one.cycles


def test_sums_beyond_float32_are_exact() -> None:
    # 140001 spikes of weight 127 are 17780127, an odd number above 2**24
    many = 140_001
    synapses = Synapses("matmul", "s", (many,), None, np.full((many, 1), 127, np.int8))
    none = np.zeros(1, np.int32)
    feed = Feed("x", 1.0, 0, 1, "time_first")
    source = Population("s", "input", "input", (many,), 0, (), none, none, feed=feed)
    target = Population("t", "o", "readout", (1,), 1, (synapses,), none, none, state_bits=31)
    core = Core(0, "t", np.array([0]), (np.arange(many),))
    program = Program("many", 1, 1, ("x",), (), (source, target), (core,), ())
    for fast in (False, True):
        done = engine(program, 1, fast=fast).run({"x": np.ones((1, many), np.int8)})
        assert done["t"].train.item() == 127 * many


@pytest.mark.parametrize("part", ["populations", "cores", "readouts", "host"])
def test_a_program_without_a_part_is_refused(part: str) -> None:
    whole = two_neurons().to_dict()
    with pytest.raises(ModelError) as refused:
        Program.from_dict({name: value for name, value in whole.items() if name != part})
    assert str(refused.value) == f"a program must have the part '{part}'; compile it again"
    for broken in ([{"more": 1}], [None], 3):
        with pytest.raises(ModelError, match=r"a program must .*; compile it again"):
            Program.from_dict({**whole, part: broken})


@pytest.mark.parametrize("name", ["steps", "placed"])
def test_a_program_with_a_part_more_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="must be as it was written, not changed"):
        Program.from_dict({**two_neurons().to_dict(), name: 4})


def test_a_program_of_another_schema_is_refused() -> None:
    with pytest.raises(ModelError) as refused:
        Program.from_dict({"schema": "x"})
    assert str(refused.value) == "a program's schema must be tetrapla.spiking/2, not x"


def test_a_program_survives_json(single: SpikingSpec) -> None:
    program = two_neurons()
    again = Program.from_dict(json.loads(json.dumps(program.to_dict())))
    assert again.to_dict() == program.to_dict()
    x = {"x": np.full((1, 1, 1), 0.6, np.float32)}
    assert run(again, single, x, Key(0)).time_s == run(program, single, x, Key(0)).time_s


def test_a_program_prints() -> None:
    assert two_neurons().text() == (
        "program two: 4 timesteps + 1 to fill the pipeline, 2 cores\n"
        "population first: integrate_and_fire 1, theta 4, subtract, ge, 18 bits, depth 0\n"
        "  input x: scale 0.25, at most 4\n"
        "  core 0: neurons [0]\n"
        "population second: integrate_and_fire 1, theta 4, subtract, ge, 18 bits, depth 1\n"
        "  scale from first: weight [3]\n"
        "  core 1: neurons [0]; axons first[0]\n"
        "readout count: second * 0.5 -> 1x1\n"
        "output y: count\n"
    )


def test_nan_is_refused(single: SpikingSpec) -> None:
    with pytest.raises(ModelError) as refused:
        run(two_neurons(), single, {"x": np.full((1, 1, 1), np.nan, np.float32)}, Key(0))
    assert str(refused.value) == "input 'x' must hold numbers, not NaN; mend the data"


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 2),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.integers(0, 2**32 - 1),
)
def test_synapse_lists_are_the_operator(
    channels: int,
    groups: int,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, ...],
    dilations: tuple[int, int],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    source = (channels * groups, 6, 5)
    weight = rng.integers(-127, 128, (2 * groups, channels, *kernel), np.int8)
    spikes = rng.integers(0, 2, (2, 1, *source), np.int8)
    geometry: dict[str, Any] = {
        "strides": strides,
        "pads": pads,
        "dilations": dilations,
        "groups": groups,
    }
    expected = evaluated("spike.conv2d", [spikes, weight], {"exponent": 0, **geometry})
    shape = expected.shape[2:]
    synapses = Synapses("conv2d", "s", source, None, weight, **geometry)
    listed = connections(synapses, shape, np.arange(int(np.prod(shape))))
    block = np.zeros((int(np.prod(source)), int(np.prod(shape))), np.int64)
    np.add.at(block, (listed.source, listed.target), listed.weight)
    found = spikes.reshape(2, -1).astype(np.int64) @ block
    assert np.array_equal(found.reshape(expected.shape), expected)
