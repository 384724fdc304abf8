"""Recurrent layers as neurons: each step exact to the quantised network, refusals worded."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tetrapla.backends.spiking import cross_check, lower
from tetrapla.backends.spiking.levels import levels
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.frontend.builder import Builder
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Value
from tetrapla.ir.interpret import evaluate_many, intermediates
from tetrapla.ir.module import Module
from tetrapla.ir.spike.phase import gathered
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import Program, SpikingSpec, run

DIGITS = Path(__file__).parents[2] / "tetrapla" / "data" / "digits.npz"
NO_LIMIT = 2**40
HIDDEN = 48
RELU: dict[str, Any] = {"direction": "forward", "activations": "relu", "clip": 0.0}


@pytest.fixture(scope="module")
def loihi() -> SpikingSpec:
    return load_spec("loihi", SpikingSpec).spec


def orthogonal(rng: np.random.Generator, rows: int, columns: int) -> Array:
    q, _ = np.linalg.qr(rng.normal(size=(max(rows, columns), max(rows, columns))))
    return q[:rows, :columns].astype(np.float32)


def weights(b: ModuleBuilder, name: str, sizes: tuple[int, int, int]) -> list[Value]:
    """Orthogonal weights and small biases: (directions, inputs, hidden)."""
    ways, inputs, hidden = sizes
    rng = np.random.default_rng(len(name))
    w = np.stack([orthogonal(rng, hidden, inputs) for _ in range(ways)])
    r = np.stack([0.7 * orthogonal(rng, hidden, hidden) for _ in range(ways)])
    bias = rng.normal(size=(ways, 2 * hidden)).astype(np.float32) / 8
    return [b.weight(f"{name}.{k}", a) for k, a in (("w", w), ("r", r), ("b", bias))]


def rows_of(b: ModuleBuilder) -> Value:
    """An image whose rows are timesteps [8, 1, 8]."""
    return b.op("nn.transpose", [b.input("x", (1, 8, 8))], {"perm": (1, 0, 2)}, "rows")


def images() -> tuple[Array, Array, Array, Array]:
    with np.load(DIGITS) as d:
        x, y = d["x"].astype(np.float32).reshape(-1, 1, 8, 8) / 16, d["y"]
        return x[d["train"]], y[d["train"]], x[d["test"]], y[d["test"]]


@cache
def trained() -> Mapping[str, Array]:
    """A ReLU layer over the rows and a readout of its last state, by Adam through time."""
    x, labels, _, _ = images()
    x, goal, rng = x[:, 0].astype(np.float64), np.eye(10)[labels], np.random.default_rng(0)
    held: dict[str, Array] = {
        "w": orthogonal(rng, 8, HIDDEN),
        "r": orthogonal(rng, HIDDEN, HIDDEN),
        "b": np.zeros(HIDDEN),
        "fc.w": orthogonal(rng, HIDDEN, 10),
        "fc.b": np.zeros(10),
    }
    held = {k: a.astype(np.float64) for k, a in held.items()}
    means = {k: np.zeros_like(a) for k, a in held.items()}
    squares = {k: np.zeros_like(a) for k, a in held.items()}
    for step in range(1, 801):
        chosen = rng.integers(0, len(x), 64)
        slopes = gradients(held, x[chosen], goal[chosen])
        for k, slope in slopes.items():
            means[k] += 0.1 * (slope - means[k])
            squares[k] += 0.001 * (slope**2 - squares[k])
            scale = np.sqrt(squares[k] / (1 - 0.999**step)) + 1e-8
            held[k] -= 3e-3 * means[k] / (1 - 0.9**step) / scale
    return {k: a.astype(np.float32) for k, a in held.items()}


def gradients(held: Mapping[str, Array], x: Array, goal: Array) -> dict[str, Array]:
    """Of the mean cross entropy."""
    states = [np.zeros((len(x), HIDDEN))]
    for t in range(8):
        given = x[:, t] @ held["w"] + held["b"]
        states.append(np.maximum(states[-1] @ held["r"] + given, 0))
    logits = states[-1] @ held["fc.w"] + held["fc.b"]
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    wrong = (share / share.sum(axis=1, keepdims=True) - goal) / len(x)
    found = {k: np.zeros_like(a) for k, a in held.items()}
    found["fc.w"], found["fc.b"] = states[-1].T @ wrong, wrong.sum(axis=0)
    back = wrong @ held["fc.w"].T
    for t in reversed(range(8)):
        back = back * (states[t + 1] > 0)
        found["w"] += x[:, t].T @ back
        found["r"] += states[t].T @ back
        found["b"] += back.sum(axis=0)
        back = back @ held["r"].T
    return found


def rows() -> Module:
    """The trained network."""
    held = trained()
    b = ModuleBuilder("rows")
    given = {
        "w": held["w"].T[None],
        "r": held["r"].T[None],
        "b": np.concatenate([held["b"], 0 * held["b"]])[None],
    }
    operands = [b.weight(k, np.ascontiguousarray(a)) for k, a in given.items()]
    _, last = b.ops("nn.rnn", [rows_of(b), *operands], RELU, "rnn")
    h = b.op("nn.reshape", [last], {"shape": (1, HIDDEN)}, "h")
    fc = [h, b.weight("fc.w", held["fc.w"]), b.weight("fc.b", held["fc.b"])]
    b.output("y", b.op("nn.matmul", fc, {"activation": "none"}, "fc"))
    return b.finish()


def deep() -> Module:
    """Two layers, the first of both directions, and a readout of every step."""
    b = ModuleBuilder("deep")
    both = {**RELU, "direction": "bidirectional", "activations": "relu,relu"}
    y, _ = b.ops("nn.rnn", [rows_of(b), *weights(b, "first", (2, 8, 12))], both, "first")
    y = b.op("nn.transpose", [y], {"perm": (0, 2, 1, 3)}, "swapped")
    y = b.op("nn.reshape", [y], {"shape": (8, 1, 24)}, "wide")
    y, _ = b.ops("nn.rnn", [y, *weights(b, "second", (1, 24, 10))], RELU, "second")
    y = b.op("nn.reshape", [y], {"shape": (8, 10)}, "steps")
    rng = np.random.default_rng(2)
    fc = [y, b.weight("fc.w", rng.normal(size=(10, 3)).astype(np.float32))]
    b.output("y", b.op("nn.matmul", fc, {"activation": "none"}, "fc"))
    return b.finish()


def mismatches(lowered: Lowered[Program], spec: SpikingSpec, x: dict[str, Array]) -> int | None:
    done = run(lowered.program, spec, x, Key(0))
    return cross_check(lowered, spec, x, done, evaluate_many(lowered.module, x)).mismatches


@pytest.mark.parametrize(("made", "timesteps"), [(rows, 7), (rows, 16), (deep, 6)])
def test_each_step_is_the_quantised_networks_activation_for_activation(
    made: Any, timesteps: int, loihi: SpikingSpec
) -> None:
    train, _, test, _ = images()
    options = Options(timesteps=timesteps, code="sequential")
    lowered = lower(made(), loihi, {"x": train[:24]}, options)
    layers = [n.name for n in lowered.module.graph.nodes if n.kind == "spike.phase"]
    assert len(layers) >= 8  # a layer for each step
    for image in test[::150]:
        expected = levels(lowered.module, {"x": image})
        found = dict(intermediates(lowered.module, {"x": image}))
        for layer in layers:
            assert np.array_equal(gathered(found[layer], "count", NO_LIMIT), expected[layer])
            assert expected[layer].max() <= timesteps
    assert lowered.notes["certificate"]["exact"]
    assert mismatches(lowered, loihi, {"x": test[:8]}) == 0


@pytest.mark.parametrize("code", ["rate", "sequential"])
def test_rows_of_digits_lose_at_most_a_point_in_32_timesteps(
    code: str, loihi: SpikingSpec
) -> None:
    train, _, test, labels = images()
    module = rows()
    floats = evaluate_many(module, {"x": test})["y"]
    lowered = lower(module, loihi, {"x": train}, Options(timesteps=32, code=code))
    done = run(lowered.program, loihi, {"x": test}, Key(0)).outputs["y"]
    right, wanted = (
        float(np.mean(y.reshape(-1, 10).argmax(axis=1) == labels)) for y in (done, floats)
    )
    assert wanted > 0.9
    assert right >= wanted - 0.01
    assert mismatches(lowered, loihi, {"x": test[:16]}) == 0


@pytest.mark.parametrize(("code", "timesteps"), [("rate", 5), ("graded", 1)])
def test_both_directions_and_a_readout_of_every_step_are_the_machines(
    code: str, timesteps: int
) -> None:
    spec = load_spec("loihi2", SpikingSpec, ["core.compartments=64"]).spec
    train, _, test, _ = images()
    options = Options(timesteps=timesteps, code=code)
    lowered = lower(deep(), spec, {"x": train[:8]}, options)
    assert mismatches(lowered, spec, {"x": test[:6]}) == 0
    done = run(lowered.program, spec, {"x": test[:6]}, Key(0)).outputs["y"]
    assert done.shape == (6, 8, 3)


def in_front() -> Module:
    """Time is the first axis of the input, and every state is told."""
    b = ModuleBuilder("front")
    x = b.input("x", (8, 1, 8))
    y, last = b.ops("nn.rnn", [x, *weights(b, "rnn", (1, 8, 6))], RELU, "rnn")
    b.output("y", y)
    b.output("last", last)
    return b.finish()


@pytest.mark.parametrize("code", ["rate", "radix"])
def test_time_in_front_and_all_states(code: str) -> None:
    spec = load_spec("loihi2", SpikingSpec).spec
    x = {"x": np.swapaxes(images()[2][:12], 1, 2)}
    steps = 63 if code == "rate" else 6
    lowered = lower(in_front(), spec, x, Options(timesteps=steps, code=code))
    assert mismatches(lowered, spec, x) == 0
    done = run(lowered.program, spec, x, Key(0)).outputs
    assert done["y"].shape == (12, 8, 1, 1, 6)
    assert done["last"].shape == (12, 1, 1, 6)
    assert np.array_equal(done["y"][:, -1], done["last"])
    # the largest level stands for what calibration saw at most; f32 rounds twice
    largest = evaluate_many(in_front(), x)["y"].max()
    assert 0 < done["y"].max() <= largest * (1 + 2**-22)


def loop() -> Module:
    """An Elman layer as a loop, whose first state is not zero; its steps are stacked."""
    rng = np.random.default_rng(4)
    w, r = (0.4 * rng.normal(size=(n, 6)).astype(np.float32) for n in (8, 6))
    b = Builder("loop")
    x = b.input("x", (8, 1, 8))
    with b.scan(x, init=[np.full((1, 6), 0.25, np.float32)], name="loop") as loop:
        (row,), (h,) = loop.slices, loop.states
        h = (row @ w + h @ r).relu()
        loop.carry(h)
        loop.stack(h)
    b.output("y", loop.stacked[0])
    return b.build()


def test_a_loop_of_relus_is_its_steps(loihi: SpikingSpec) -> None:
    x = {"x": np.swapaxes(images()[2][:12], 1, 2)}
    lowered = lower(loop(), loihi, x, Options(timesteps=32, code="sequential"))
    assert lowered.notes["certificate"]["exact"]
    assert mismatches(lowered, loihi, x) == 0


def branches(start: int = 2) -> Module:
    """Two branches that are joined and cut again: without steps the same holds."""
    rng = np.random.default_rng(6)
    b = Builder("branches")
    x = b.input("x", (1, 8, 8)).reshape(1, 1, 8, 8)
    held = [0.3 * rng.normal(size=(4, 1, k, k)).astype(np.float32) for k in (3, 1)]
    wide = b.conv2d(x, held[0], np.zeros(4, np.float32), pads=(1, 1, 1, 1)).relu()
    flat = b.conv2d(x, held[1], np.full(4, 0.1, np.float32)).relu()
    joined = b.op("nn.concat", [wide, flat], {"axis": 1})
    words: dict[str, Any] = {
        "starts": (0, start, 0, 1),
        "sizes": (1, 4, 4, 7),
        "steps": (1, 1, 2, 1),
    }
    cut = b.op("nn.slice", [joined], words).reshape(1, 4 * 4 * 7)
    fc = (0.1 * rng.normal(size=(4 * 4 * 7, 6))).astype(np.float32)
    b.output("y", b.matmul(cut, fc, np.zeros(6, np.float32)))
    return b.build()


@pytest.mark.parametrize("code", ["rate", "sequential"])
def test_branches_are_joined_and_cut(code: str, loihi: SpikingSpec) -> None:
    _, _, test, _ = images()
    x = {"x": test[:20]}
    lowered = lower(branches(), loihi, x, Options(timesteps=32, code=code))
    assert lowered.notes["certificate"]["exact"] == (code == "sequential")
    assert mismatches(lowered, loihi, x) == 0
    done = run(lowered.program, loihi, x, Key(0)).outputs["y"]
    # of all cuts it is nearest to the one that it is of
    found = [evaluate_many(branches(start), x)["y"] for start in (0, 1, 2, 3, 4)]
    assert np.argmin([np.abs(done - each).max() for each in found]) == 2


def test_a_sequence_longer_than_a_cores_delays_is_refused_by_rate_alone(
    loihi: SpikingSpec,
) -> None:
    b = ModuleBuilder("long")
    held = weights(b, "cell", (1, 3, 4))
    _, last = b.ops("nn.rnn", [b.input("x", (64, 1, 3)), *held], RELU, "cell")
    b.output("last", last)
    module = b.finish()
    x = {"x": np.random.default_rng(0).random((3, 64, 1, 3)).astype(np.float32)}
    with pytest.raises(UnsupportedError) as refused:
        lower(module, loihi, x, Options(timesteps=4))
    # the neurons of step.63 begin 64 timesteps behind the input's, one of which is the way
    assert str(refused.value) == (
        "layer cell/step.63/sum: a skip connection must wait at most 62 timesteps, not 63; "
        "shorten the path beside it, or convert with --code sequential, whose neurons wait"
    )
    lowered = lower(module, loihi, x, Options(timesteps=4, code="sequential"))
    assert lowered.notes["certificate"]["exact"]
    assert mismatches(lowered, loihi, x) == 0


def one(kind: str, **changed: Any) -> Module:
    """A recurrent layer of random weights."""
    gates = {"nn.rnn": 1, "nn.gru": 3, "nn.lstm": 4}[kind]
    words: dict[str, Any] = {
        "nn.rnn": RELU,
        "nn.gru": {**RELU, "activations": "sigmoid,tanh", "linear_before_reset": 0},
        "nn.lstm": {**RELU, "activations": "sigmoid,tanh,tanh", "input_forget": 0},
    }[kind]
    rng = np.random.default_rng(0)
    batch = changed.pop("batch", 1)
    b = ModuleBuilder("one")
    shapes = {"w": (1, 5 * gates, 8), "r": (1, 5 * gates, 5)}
    held = [b.weight(k, rng.normal(size=s).astype(np.float32)) for k, s in shapes.items()]
    made = b.ops(kind, [b.input("x", (8, batch, 8)), *held], {**words, **changed}, "cell")
    b.output("y", made[0])
    return b.finish()


_CAN = (
    "nn.conv2d, nn.matmul, nn.add, nn.relu, nn.max_pool2d, nn.average_pool2d, "
    "nn.global_average_pool, nn.reshape, nn.transpose, nn.softmax, nn.rnn of relu, nn.slice "
    "and nn.concat of one inference"
)


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (
            one("nn.lstm"),
            "lstm (its gates multiply what was computed; train an nn.rnn of relu)",
        ),
        (one("nn.gru"), "gru (its gates multiply what was computed; train an nn.rnn of relu)"),
        (
            one("nn.rnn", activations="tanh"),
            "rnn (neurons are a relu, not tanh; train it with relu)",
        ),
        (one("nn.rnn", clip=3.0), "rnn (it clips at 3; train it without)"),
        (
            one("nn.rnn", batch=4),
            "rnn (its batch must be 1, not 4; give inferences one after another)",
        ),
    ],
)
def test_a_layer_that_neurons_cannot_be_is_refused(
    module: Module, why: str, loihi: SpikingSpec
) -> None:
    x = {"x": np.ones((2, *module.inputs["x"].shape), np.float32)}
    with pytest.raises(UnsupportedError) as refused:
        lower(module, loihi, x, Options(timesteps=4))
    assert str(refused.value) == (
        f"spiking: a network of neurons cannot do 1 x nn.{why}: cell; it can do {_CAN}"
    )
