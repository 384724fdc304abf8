"""Codes of whole phases: exact to the quantised network, near the float one, certified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.backends.spiking import cross_check, lower
from tetrapla.backends.spiking.levels import levels
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.frontend.onnx import load
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate_many, intermediates
from tetrapla.ir.module import Module
from tetrapla.ir.op import evaluated
from tetrapla.ir.spike.phase import gathered, most_levels, written
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import Program, SpikingSpec, run

ROOT = Path(__file__).parents[2]
NO_LIMIT = 2**40
CODES = {"sequential": "count", "radix": "binary", "graded": "graded", "ttfs": "first"}
CONV: dict[str, Any] = {"strides": (1, 1), "pads": (1,) * 4, "dilations": (1, 1), "groups": 1}
POOLS = ("max", "average")
POOL: dict[str, Any] = {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0)}


@pytest.fixture(scope="module")
def loihi() -> SpikingSpec:
    return load_spec("loihi", SpikingSpec).spec


def residual(seed: int, pool: str) -> tuple[Module, Array]:
    """Two convolutions with a way past the second, a pool, a readout; inputs of both signs."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> Array:
        fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
        return np.asarray(rng.normal(size=shape) / np.sqrt(fan_in), np.float32)

    b = ModuleBuilder("net")
    x = b.input("x", (1, 2, 4, 4))
    first = [x, b.weight("w1", weight(4, 2, 3, 3)), b.weight("b1", weight(1, 4)[0])]
    y = b.op("nn.conv2d", first, {**CONV, "activation": "relu"}, "conv1")
    second = [y, b.weight("w2", weight(4, 4, 3, 3))]
    z = b.op("nn.conv2d", second, {**CONV, "activation": "none"}, "conv2")
    y = b.op("nn.relu", [b.op("nn.add", [z, y], {}, "join")], {}, "relu2")
    if pool == "max":
        y = b.op("nn.max_pool2d", [y], {**POOL, "dilations": (1, 1)}, "pool")
    else:
        y = b.op("nn.average_pool2d", [y], {**POOL, "count_include_pad": 0}, "pool")
    y = b.op("nn.reshape", [y], {"shape": (1, 16)}, "flat")
    last = [y, b.weight("w3", weight(16, 5)), b.weight("b3", weight(1, 5)[0])]
    b.output("y", b.op("nn.matmul", last, {"activation": "none"}, "fc"))
    return b.finish(), rng.normal(size=(4, 1, 2, 4, 4)).astype(np.float32)


def mismatches(lowered: Lowered[Program], spec: SpikingSpec, x: dict[str, Array]) -> int | None:
    done = run(lowered.program, spec, x, Key(0))
    return cross_check(lowered, spec, x, done, evaluate_many(lowered.module, x)).mismatches


@given(st.sampled_from(sorted(CODES.values())), st.integers(1, 7), st.data())
def test_what_is_written_is_read(code: str, timesteps: int, data: st.DataObject) -> None:
    steps = 1 if code == "graded" else timesteps
    level = np.array(data.draw(st.lists(st.integers(0, most_levels(code, steps)), min_size=1)))
    train = written(level, steps, code)
    assert train.shape == (steps, len(level))
    assert np.array_equal(gathered(train, code, NO_LIMIT), level)


def test_the_codes_by_hand() -> None:
    # levels 0, 1 and 3 of four timesteps; binary: of two, 3 = 11
    level = np.array([0, 1, 3])
    assert written(level, 4, "count").T.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]]
    assert written(level, 4, "first").T.tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    assert written(level, 2, "binary").T.tolist() == [[0, 0], [0, 1], [1, 1]]
    assert written(level, 1, "graded").T.tolist() == [[0], [1], [3]]


@given(st.lists(st.integers(0, 15), min_size=4, max_size=4))
def test_a_binary_maximum_is_the_largest(values: list[int]) -> None:
    train = written(np.array(values).reshape(1, 1, 2, 2), 4, "binary")
    most = evaluated("spike.max_binary2d", [train], {**POOL, "dilations": (1, 1)})
    assert gathered(most, "binary", NO_LIMIT).item() == max(values)


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 2**31), st.sampled_from(sorted(CODES)), st.sampled_from(["max", "average"])
)
def test_the_machine_is_the_interpreter_is_the_quantised_network(
    seed: int, code: str, pool: str
) -> None:
    spec = load_spec("loihi2", SpikingSpec, ["core.compartments=64"]).spec
    module, x = residual(seed, pool)
    steps = {"graded": 1, "radix": 5}.get(code, 12)
    lowered = lower(module, spec, {"x": x}, Options(timesteps=steps, code=code))
    assert mismatches(lowered, spec, {"x": x}) == 0
    # an activation that overflows no membrane is the quantised network's
    certificate = lowered.notes["certificate"]
    for layer in certificate["layers"]:
        assert layer["agreement_frac"] == 1 or layer["largest"] > layer["limit"]
    assert certificate["exact"] == all(n["agreement_frac"] == 1 for n in certificate["layers"])


def digits(name: str) -> tuple[Module, str, str, Array, Array, Array]:
    module = load(ROOT / "examples" / f"{name}.onnx")
    ((source, value),) = module.inputs.items()
    (output,) = module.outputs
    with np.load(ROOT / "tetrapla" / "data" / "digits.npz") as d:
        x = d["x"].astype(np.float32) / 16
        parts = (x[d["train"]], x[d["test"]])
        labels = d["y"][d["test"]]
    train, test = (a.reshape(len(a), *value.shape) for a in parts)
    return module, source, output, train, test, labels


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn"])
@pytest.mark.parametrize("timesteps", [8, 32])
def test_sequential_digits_equal_the_quantised_network_activation_for_activation(
    name: str, timesteps: int, loihi: SpikingSpec
) -> None:
    module, source, output, train, test, labels = digits(name)
    options = Options(timesteps=timesteps, code="sequential")
    lowered = lower(module, loihi, {source: train}, options)
    layers = [n.name for n in lowered.module.graph.nodes if n.kind == "spike.phase"]
    for image in test[:: 450 // 50]:
        expected = levels(lowered.module, {source: image})
        found = dict(intermediates(lowered.module, {source: image}))
        for layer in layers:
            assert np.array_equal(gathered(found[layer], "count", NO_LIMIT), expected[layer])
    assert lowered.notes["certificate"]["exact"]
    assert mismatches(lowered, loihi, {source: test[:100]}) == 0
    done = run(lowered.program, loihi, {source: test}, Key(0)).outputs[output]
    exact = evaluate_many(module, {source: test})[output]
    right, wanted = (
        float(np.mean(y.reshape(len(labels), -1).argmax(axis=1) == labels))
        for y in (done, exact)
    )
    assert right >= wanted - (0.005 if timesteps == 32 else 0.02)


@pytest.mark.parametrize(("code", "timesteps"), [("radix", 6), ("ttfs", 8), ("rate", 8)])
def test_codes_lose_at_most_two_points_in_eight_timesteps(code: str, timesteps: int) -> None:
    loihi2 = load_spec("loihi2", SpikingSpec).spec
    module, source, output, train, test, labels = digits("digits_mlp")
    lowered = lower(module, loihi2, {source: train}, Options(timesteps=timesteps, code=code))
    done = run(lowered.program, loihi2, {source: test}, Key(0)).outputs[output]
    exact = evaluate_many(module, {source: test})[output]
    right, wanted = (
        float(np.mean(y.reshape(len(labels), -1).argmax(axis=1) == labels))
        for y in (done, exact)
    )
    assert right >= wanted - 0.02


def test_a_certificate_says_under_which_conditions(loihi: SpikingSpec) -> None:
    module, source, _, train, _, _ = digits("digits_mlp")
    lowered = lower(module, loihi, {source: train}, Options(timesteps=16, code="sequential"))
    # 256 of theta x 16 levels: no sum of 64 weights of 127 x 16 meets 2**17 - 1
    assert (
        "certificate: sequential equals the network of 16 levels, activation for activation, "
        "for every input: no membrane can overflow"
    ) in lowered.warnings
    rate = lower(module, loihi, {source: train}, Options(timesteps=16))
    (said,) = (w for w in rate.warnings if w.startswith("certificate"))
    assert said.startswith("certificate: rate is not exact; of fc2 ")
    assert said.endswith(" of the activations are those of the network of 16 levels")
    layers = rate.notes["certificate"]["layers"]
    assert [layer["name"] for layer in layers] == ["image", "fc1", "fc2"]
    # a constant current into the first layer is exact even in a stream
    assert layers[0]["agreement_frac"] == 1


def test_a_membrane_that_overflows_is_seen() -> None:
    # 12 bits hold 2047, which 32 levels of 63 fill: the certificate must not say exact
    spec = load_spec("loihi", SpikingSpec, ["core.membrane=18 bit"]).spec
    module, x = residual(3, "max")
    lowered = lower(module, spec, {"x": x * 40}, Options(timesteps=32, code="sequential"))
    layers = lowered.notes["certificate"]["layers"]
    assert all(layer["limit"] == 2**11 - 1 for layer in layers)
    over = [layer for layer in layers if layer["bound"] > layer["limit"]]
    assert over
    assert mismatches(lowered, spec, {"x": x * 40}) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            Options(code="rat"),
            "--code must be one of rate, sequential, radix, graded, ttfs, not 'rat'; did you "
            "mean 'rate'?",
        ),
        (
            Options(code="radix", timesteps=16),
            "--code radix must have at most 15 timesteps, not 16; leave --timesteps out",
        ),
        (
            Options(code="graded", timesteps=4),
            "--code graded must have at most 1 timesteps, not 4; leave --timesteps out",
        ),
    ],
)
def test_a_code_that_is_none_or_too_long_is_refused(options: Options, message: str) -> None:
    module, x = residual(0, "max")
    loihi2 = load_spec("loihi2", SpikingSpec).spec
    with pytest.raises(ModelError) as refused:
        lower(module, loihi2, {"x": x}, options)
    assert str(refused.value) == message
