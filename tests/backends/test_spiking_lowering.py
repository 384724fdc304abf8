"""Conversion to spikes: bit-exact to the interpreter, near the float model, refusals worded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.backends.spiking import cross_check, lower
from tetrapla.backends.spiking.capacity import list_words
from tetrapla.backends.spiking.quantise import neuron_scaling
from tetrapla.backends.spiking.ranges import Magnitude, ranges
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.frontend.onnx import load
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import Program, SpikingSpec, run

ROOT = Path(__file__).parents[2]
CONV: dict[str, Any] = {
    "strides": (1, 1),
    "pads": (1, 1, 1, 1),
    "dilations": (1, 1),
    "groups": 1,
}
POOL: dict[str, Any] = {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0)}


@pytest.fixture(scope="module")
def loihi() -> SpikingSpec:
    return load_spec("loihi", SpikingSpec).spec


def network(seed: int, signed: bool, pool: str, residual: bool) -> tuple[Module, Array]:
    """A small convolutional network with random weights, and inputs for it."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> Array:
        fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
        return np.asarray(rng.normal(size=shape) / np.sqrt(fan_in), np.float32)

    b = ModuleBuilder("net")
    x = b.input("x", (1, 2, 6, 6))
    c1 = [x, b.weight("w1", weight(4, 2, 3, 3)), b.weight("b1", weight(1, 4)[0])]
    y = b.op("nn.conv2d", c1, {**CONV, "activation": "relu"}, "conv1")
    if residual:
        c2 = [y, b.weight("w2", weight(4, 4, 3, 3))]
        z = b.op("nn.conv2d", c2, {**CONV, "activation": "none"}, "conv2")
        y = b.op("nn.relu", [b.op("nn.add", [z, y], {}, "join")], {}, "relu2")
    if pool == "max":
        y = b.op("nn.max_pool2d", [y], {**POOL, "dilations": (1, 1)}, "pool")
    elif pool == "average":
        y = b.op("nn.average_pool2d", [y], {**POOL, "count_include_pad": 0}, "pool")
    else:
        y = b.op("nn.global_average_pool", [y], {}, "pool")
    size = int(np.prod(y.shape))
    y = b.op("nn.reshape", [y], {"shape": (1, size)}, "flat")
    fc = [y, b.weight("w3", weight(size, 5)), b.weight("b3", weight(1, 5)[0])]
    b.output("y", b.op("nn.matmul", fc, {"activation": "none"}, "fc"))
    data = rng.normal(size=(4, 1, 2, 6, 6)).astype(np.float32)
    return b.finish(), data if signed else np.abs(data)


def checked(lowered: Lowered[Program], spec: SpikingSpec, inputs: dict[str, Array]) -> Any:
    done = run(lowered.program, spec, inputs, Key(0))
    reference = evaluate_many(lowered.module, inputs)
    return cross_check(lowered, spec, inputs, done, reference)


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 2**31),
    st.booleans(),
    st.sampled_from(["max", "average", "global"]),
    st.booleans(),
)
def test_the_machine_is_the_interpreter_bit_by_bit(
    seed: int, signed: bool, pool: str, residual: bool
) -> None:
    spec = load_spec("loihi", SpikingSpec, ["core.compartments=64"]).spec
    module, x = network(seed, signed, pool, residual)
    lowered = lower(module, spec, {"x": x}, Options(timesteps=9))
    assert checked(lowered, spec, {"x": x}).mismatches == 0


@pytest.mark.parametrize("pool", ["max", "average", "global"])
def test_more_timesteps_come_nearer_to_the_float_model(pool: str, loihi: SpikingSpec) -> None:
    module, x = network(3, True, pool, True)
    expected = evaluate_many(module, {"x": x})["y"]
    errors: list[float] = []
    for timesteps in (8, 64, 512):
        lowered = lower(module, loihi, {"x": x}, Options(timesteps=timesteps))
        found = run(lowered.program, loihi, {"x": x}, Key(0)).outputs["y"]
        errors.append(float(np.abs(found - expected).max() / np.abs(expected).max()))
    assert errors[2] < errors[1] < errors[0]
    # 8-bit weights: each layer's error stays around one step in 127
    assert errors[2] < 0.03


def digits() -> tuple[Array, Array, Array]:
    with np.load(ROOT / "tetrapla" / "data" / "digits.npz") as d:
        x = d["x"].astype(np.float32) / 16
        return x[d["train"]], x[d["test"]], d["y"][d["test"]]


@pytest.mark.parametrize("name", ["digits_cnn", "digits_mlp"])
def test_digits_lose_at_most_half_a_point_in_32_timesteps(
    name: str, loihi: SpikingSpec
) -> None:
    module = load(ROOT / "examples" / f"{name}.onnx")
    ((source, value),) = module.inputs.items()
    (output,) = module.outputs
    train, test, labels = digits()
    train, test = (a.reshape(len(a), *value.shape) for a in (train, test))
    lowered = lower(module, loihi, {source: train}, Options())
    assert lowered.notes["timesteps"] == 32
    done = run(lowered.program, loihi, {source: test}, Key(0))
    reference = evaluate_many(lowered.module, {source: test})
    check = cross_check(lowered, loihi, {source: test}, done, reference)
    assert (check.mismatches, check.passed) == (0, True)

    def accuracy(outputs: Array) -> float:
        best: Array = outputs.reshape(len(labels), -1).argmax(axis=1)
        return float(np.mean(best == labels))

    exact = accuracy(evaluate_many(module, {source: test})[output])
    assert accuracy(done.outputs[output]) >= exact - 0.005


def test_a_dropped_axon_is_caught(loihi: SpikingSpec) -> None:
    module, x = network(5, False, "max", False)
    lowered = lower(module, loihi, {"x": x}, Options(timesteps=16))
    program = lowered.program
    at = next(i for i, core in enumerate(program.cores) if core.population == "conv1")
    core = program.cores[at]
    broken = replace(core, axons=tuple(a[::2] for a in core.axons))
    cores = (*program.cores[:at], broken, *program.cores[at + 1 :])
    faulty = replace(lowered, program=replace(program, cores=cores))
    assert checked(lowered, loihi, {"x": x}).passed
    assert not checked(faulty, loihi, {"x": x}).passed


def test_a_program_survives_json(loihi: SpikingSpec) -> None:
    module, x = network(7, True, "average", True)
    lowered = lower(module, loihi, {"x": x}, Options(timesteps=8))
    again = Program.from_dict(json.loads(json.dumps(lowered.program.to_dict())))
    assert again.text() == lowered.program.text()
    assert checked(replace(lowered, program=again), loihi, {"x": x}).passed


def test_cores_hold_each_neuron_once_and_no_core_is_overfull() -> None:
    spec = load_spec("loihi", SpikingSpec, ["core.compartments=60", "core.input_axons=90"]).spec
    module, x = network(11, False, "max", True)
    program = lower(module, spec, {"x": x}, Options(timesteps=4)).program
    for population in program.populations:
        held = [c for c in program.cores if c.population == population.name]
        everyone = np.sort(np.concatenate([c.neurons for c in held]))
        assert np.array_equal(everyone, np.arange(population.neurons))
    assert max(len(c.neurons) for c in program.cores) <= 30
    assert max(sum(map(len, c.axons)) for c in program.cores) <= 90


def test_a_batch_runs_one_after_another(loihi: SpikingSpec) -> None:
    rng = np.random.default_rng(0)
    w = rng.normal(size=(6, 3)).astype(np.float32)

    def module(batch: int) -> Module:
        b = ModuleBuilder("mlp")
        x = b.input("x", (batch, 6))
        y = b.op("nn.matmul", [x, b.weight("w", w)], {"activation": "relu"}, "fc")
        b.output("y", b.op("nn.softmax", [y], {"axis": -1}, "p"))
        return b.finish()

    x = rng.random((4, 1, 6), np.float32)
    calibration = {"x": x}
    one = lower(module(1), loihi, calibration, Options(timesteps=8))
    two = lower(module(2), loihi, {"x": x.reshape(2, 2, 6)}, Options(timesteps=8))
    single = run(one.program, loihi, {"x": x}, Key(0))
    double = run(two.program, loihi, {"x": x.reshape(2, 2, 6)}, Key(0))
    assert np.array_equal(single.outputs["y"].ravel(), double.outputs["y"].ravel())
    assert double.cycles == 2 * single.cycles
    assert double.time_s == pytest.approx(2 * single.time_s, rel=1e-12)
    assert checked(two, loihi, {"x": x.reshape(2, 2, 6)}).passed
    assert "the host computes nn.softmax (p)" in two.warnings


def test_neurons_that_hear_only_padding_hold_their_bias(loihi: SpikingSpec) -> None:
    b = ModuleBuilder("net")
    x = b.input("x", (1, 1, 1, 1))
    y = b.op("nn.relu", [x], {}, "relu")
    w, bias = np.ones((1, 1, 1, 1), np.float32), np.full(1, 0.5, np.float32)
    form = {**CONV, "strides": (2, 2), "activation": "none"}
    b.output("y", b.op("nn.conv2d", [y, b.weight("w", w), b.weight("b", bias)], form, "conv"))
    data = np.ones((2, 1, 1, 1, 1), np.float32)
    lowered = lower(b.finish(), loihi, {"x": data}, Options(timesteps=8))
    outputs = run(lowered.program, loihi, {"x": data}, Key(0)).outputs["y"]
    assert np.array_equal(outputs, evaluate_many(lowered.module, {"x": data})["y"])
    assert outputs.shape == (2, 1, 1, 2, 2)
    np.testing.assert_allclose(outputs, 0.5, rtol=0.02)


def test_every_node_without_a_spiking_form_is_listed(loihi: SpikingSpec) -> None:
    b = ModuleBuilder("odd")
    x = b.input("x", (1, 3))
    y = b.op("nn.mul", [x, x], {}, "square")
    z = b.op("nn.mul", [x, y], {}, "cube")
    w = b.weight("w", np.ones((3, 2), np.float32))
    left = b.op("nn.matmul", [z, w], {"activation": "none"}, "fc")
    soft = b.op("nn.softmax", [left], {"axis": -1}, "p")
    b.output(
        "y",
        b.op(
            "nn.matmul",
            [x, b.op("nn.reshape", [y], {"shape": (3, 1)}, "r")],
            {"activation": "none"},
            "dot",
        ),
    )
    b.output("p", soft)
    with pytest.raises(UnsupportedError) as refused:
        lower(b.finish(), loihi, {"x": np.ones((1, 1, 3), np.float32)}, Options())
    assert str(refused.value) == (
        "spiking: a network of neurons cannot do 2 x nn.mul (no spiking form): square, cube; "
        "it can do nn.conv2d, nn.matmul, nn.add, nn.relu, nn.max_pool2d, nn.average_pool2d, "
        "nn.global_average_pool, nn.reshape, nn.transpose, nn.softmax, nn.rnn of relu, "
        "nn.slice and nn.concat of one inference"
    )


def dense(inputs: int, outputs: int) -> Module:
    b = ModuleBuilder("big")
    w = b.weight("w", np.full((inputs, outputs), 0.01, np.float32))
    y = b.op("nn.matmul", [b.input("x", (1, inputs)), w], {"activation": "relu"}, "fc1")
    b.output("y", y)
    return b.finish()


def test_a_fan_in_beyond_the_axons_is_refused(loihi: SpikingSpec) -> None:
    with pytest.raises(UnsupportedError) as refused:
        lower(dense(5120, 4), loihi, {"x": np.ones((1, 1, 5120), np.float32)}, Options())
    assert str(refused.value) == (
        "layer fc1: 5120 input axons exceed 4096 per core by 1024, for a single neuron; its "
        "inputs in 2 layers that are added up would fit, or core.input_axons=5120"
    )


def test_a_model_beyond_the_chip_is_refused(loihi: SpikingSpec) -> None:
    with pytest.raises(UnsupportedError) as refused:
        lower(dense(8, 70_000), loihi, {"x": np.ones((1, 1, 8), np.float32)}, Options())
    assert str(refused.value) == (
        "model big must fit 128 cores, not at least 138; layer fc1 alone takes 137, which are "
        "full of compartments; layers on 10 cores fewer would fit, or mesh.tiles_x=9"
    )


def test_calibration_is_asked_for(loihi: SpikingSpec) -> None:
    with pytest.raises(ModelError) as refused:
        lower(dense(3, 2), loihi, None, Options())
    assert str(refused.value) == (
        "a spiking target needs calibration data, not none; "
        "give --calib, --calib-fraction or --data digits"
    )


def test_synapse_memory_by_hand(loihi: SpikingSpec) -> None:
    # 100 dense synapses of 8 bits: 64 * 8 + 10 = 522 bits = 9 words, 36 * 8 + 10 = 298 = 5
    assert list_words(100, 8, loihi.core) == 14


def test_a_shared_axon_takes_two_output_slots() -> None:
    # 16 neurons feed a 1 x 1 convolution on one core: 32 slots, so 16 slots hold 8 neurons
    b = ModuleBuilder("net")
    y = b.op("nn.relu", [b.input("x", (1, 1, 4, 4))], {}, "relu")
    w = b.weight("w", np.ones((1, 1, 1, 1), np.float32))
    form = {**CONV, "pads": (0, 0, 0, 0), "activation": "relu"}
    b.output("y", b.op("nn.conv2d", [y, w], form, "conv"))
    module, data = b.finish(), np.ones((2, 1, 1, 4, 4), np.float32)
    found: list[list[int]] = []
    for slots in (2, 1):
        own = ["core.output_axons=16", f"core.axon_slots_shared={slots}"]
        spec = load_spec("loihi", SpikingSpec, own).spec
        program = lower(module, spec, {"x": data}, Options(timesteps=4)).program
        first = program.populations[0].name
        found.append([len(c.neurons) for c in program.cores if c.population == first])
    assert found == [[8, 8], [16]]


def test_a_membrane_holds_sixteen_thresholds(loihi: SpikingSpec) -> None:
    # weights so small that 8 bits alone would allow any threshold; 18 bits with sign hold 2**17
    assert neuron_scaling([1e-6], 1.0, loihi.core).theta == 2**17 // 16
    # weights of up to 1 and 0.5: 127 / 0.5 = 254 is under the least useful threshold, 256
    assert neuron_scaling([1.0, 0.5], 1.0, loihi.core).theta == 256


@pytest.mark.parametrize("size", [1, 3, 700])
def test_a_percentile_without_keeping_every_value(size: int) -> None:
    rng = np.random.default_rng(size)
    module = dense(size, 2)
    data = rng.normal(size=(300, 1, size)).astype(np.float32) * (
        rng.random((300, 1, size)) < 0.7
    )
    data = data.astype(np.float32)
    found = ranges(module, {"x": data}).inputs["x"]
    held = data[data != 0]
    assert found.full == pytest.approx(np.percentile(np.abs(held), 99.9), rel=1e-6)
    assert found.positive == pytest.approx(np.percentile(data[data > 0], 99.9), rel=1e-6)
    assert found.largest == np.abs(data).max()
    assert found.low == data.min()
    sums = np.maximum(data @ np.full((size, 2), 0.01, np.float32), 0)
    node = ranges(module, {"x": data}).nodes["fc1"]
    assert node.full == pytest.approx(np.percentile(sums[sums > 0], 99.9), rel=1e-5)


def test_a_tensor_of_zeros_stands_for_one() -> None:
    found = ranges(dense(3, 2), {"x": np.zeros((4, 1, 3), np.float32)})
    assert found.nodes["fc1"] == Magnitude(1.0, 1.0, 0.0, 0.0)
