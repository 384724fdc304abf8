"""Recurrent layers against ONNX Runtime and by hand.

ONNX Runtime computes in float32 with its own approximations of the sigmoid and tanh. The bound:
each step's gates are sums of n = I + H + 2 products below 1, so off by n u with u = 2^-24, the
activations by 8 eps (assumed: ONNX Runtime states no error), and a state takes over the errors
of the step before; so T (n + 128) u for T steps, as no gate has a slope above 1 and states are
below 1 (weights are drawn so that a row's magnitudes sum to at most 1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array, Value
from tetrapla.ir.op import OPS

Run: TypeAlias = Callable[..., list[Array]]
STEPS, BATCH, WIDTH, HIDDEN = 7, 3, 5, 4
DIRECTIONS = ("forward", "reverse", "bidirectional")
GATES = {"nn.rnn": 1, "nn.gru": 3, "nn.lstm": 4}
USUAL = {"nn.rnn": "tanh", "nn.gru": "sigmoid,tanh", "nn.lstm": "sigmoid,tanh,tanh"}
FLAGS: dict[str, dict[str, Any]] = {
    "nn.rnn": {},
    "nn.gru": {"linear_before_reset": 0},
    "nn.lstm": {"input_forget": 0},
}
BOUND = STEPS * (WIDTH + HIDDEN + 2 + 128) * 2.0**-24


def _uniform(rng: np.random.Generator, *shape: int) -> Array:
    return (rng.uniform(-1, 1, shape) / (2 * shape[-1])).astype(np.float32)


def _layer(kind: str, direction: str, rng: np.random.Generator) -> list[Array]:
    """x, w, r, b, first states."""
    count, rows = 1 + (direction == "bidirectional"), GATES[kind] * HIDDEN
    x = rng.uniform(-1, 1, (STEPS, BATCH, WIDTH)).astype(np.float32)
    w, r = _uniform(rng, count, rows, WIDTH), _uniform(rng, count, rows, HIDDEN)
    b = _uniform(rng, count, 2 * rows)
    shape, more = (count, BATCH, HIDDEN), 2 if kind == "nn.lstm" else 1
    states = [rng.uniform(-1, 1, shape) for _ in range(more)]
    return [x, w, r, b, *(state.astype(np.float32) for state in states)]


def _form(kind: str, direction: str, **changes: Any) -> dict[str, Any]:
    count = 1 + (direction == "bidirectional")
    activations = ",".join([USUAL[kind]] * count)
    form = {"direction": direction, "activations": activations, "clip": 0.0}
    return form | FLAGS[kind] | changes


def _theirs(
    runtime: Run, kind: str, operands: list[Array], form: dict[str, Any], **more: Any
) -> list[Array]:
    x, w, r, b, h0, *rest = operands
    slots: list[Array | None] = [x, w, r, b, None, h0, *rest[:1]]
    if kind == "nn.lstm":
        slots[6:] = [rest[0], rest[2] if len(rest) > 2 else None]
        slots[4] = rest[1] if len(rest) > 1 else None
    else:
        slots = [x, w, r, b, rest[0] if rest else None, h0]
    own = {key: value for key, value in form.items() if key not in ("activations", "clip")}
    if form["clip"]:
        own["clip"] = form["clip"]
    return runtime(
        kind[3:].upper(),
        slots,
        outputs=3 if kind == "nn.lstm" else 2,
        hidden_size=HIDDEN,
        **own,
        **more,
    )


@pytest.mark.parametrize("kind", sorted(GATES))
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("short", [False, True])
def test_onnx_runtime_agrees(
    kind: str, direction: str, short: bool, rng: np.random.Generator, ours: Run, runtime: Run
) -> None:
    operands = _layer(kind, direction, rng)
    if short:
        operands.append(np.array([STEPS, 1, 4], np.int32))
    form = _form(kind, direction)
    found = ours(kind, operands, **form)
    theirs = _theirs(runtime, kind, operands, form)
    assert len(found) == len(theirs)
    for a, b in zip(found, theirs, strict=True):
        assert np.abs(a - b).max() <= BOUND


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("nn.gru", {"linear_before_reset": 1}),
        ("nn.lstm", {"input_forget": 1}),
        ("nn.lstm", {"clip": 0.05}),
        ("nn.gru", {"clip": 0.05}),
        ("nn.rnn", {"clip": 0.05}),
    ],
)
def test_flags_are_onnxs(
    kind: str, changes: dict[str, Any], rng: np.random.Generator, ours: Run, runtime: Run
) -> None:
    operands = _layer(kind, "forward", rng)
    form = _form(kind, "forward", **changes)
    found, theirs = ours(kind, operands, **form), _theirs(runtime, kind, operands, form)
    for a, b in zip(found, theirs, strict=True):
        assert np.abs(a - b).max() <= BOUND
    usual = ours(kind, operands, **_form(kind, "forward"))
    assert np.abs(found[0] - usual[0]).max() > 10 * BOUND  # the flag does something


def test_peepholes(rng: np.random.Generator, ours: Run, runtime: Run) -> None:
    operands = _layer("nn.lstm", "forward", rng)
    more = [np.full(BATCH, STEPS, np.int32), _uniform(rng, 1, 3 * HIDDEN) * 8]
    form = _form("nn.lstm", "forward")
    found = ours("nn.lstm", [*operands, *more], **form)
    theirs = _theirs(runtime, "nn.lstm", [*operands, *more], form)
    for a, b in zip(found, theirs, strict=True):
        assert np.abs(a - b).max() <= BOUND


@pytest.mark.parametrize(
    ("ours_name", "theirs_name", "alpha", "beta"),
    [
        ("relu", "Relu", 0.0, 0.0),
        ("affine:0.5:0.1", "Affine", 0.5, 0.1),
        ("leaky_relu:0.3", "LeakyRelu", 0.3, 0.0),
        ("thresholded_relu:0.05", "ThresholdedRelu", 0.05, 0.0),
        ("scaled_tanh:0.5:0.7", "ScaledTanh", 0.5, 0.7),
        ("hard_sigmoid:0.3:0.4", "HardSigmoid", 0.3, 0.4),
        ("elu:0.6", "Elu", 0.6, 0.0),
        ("softsign", "Softsign", 0.0, 0.0),
        ("softplus", "Softplus", 0.0, 0.0),
    ],
)
def test_activations(
    ours_name: str,
    theirs_name: str,
    alpha: float,
    beta: float,
    rng: np.random.Generator,
    ours: Run,
    runtime: Run,
) -> None:
    operands = _layer("nn.rnn", "forward", rng)
    form = _form("nn.rnn", "forward", activations=ours_name)
    found = ours("nn.rnn", operands, **form)
    own: dict[str, Any] = {
        "activations": [theirs_name],
        "activation_alpha": [alpha],
        "activation_beta": [beta],
    }
    for a, b in zip(found, _theirs(runtime, "nn.rnn", operands, form, **own), strict=True):
        assert np.abs(a - b).max() <= BOUND


def test_an_lstm_step_by_hand(ours: Run) -> None:
    # i = sigmoid(ln 3) = 3/4, o = sigmoid(0) = 1/2, f = sigmoid(-ln 3) = 1/4, c~ = 1/2 c
    x = np.ones((1, 1, 1), np.float64)
    w = np.log([3, 1, 1 / 3, 1]).reshape(1, 4, 1)
    r, b = np.zeros((1, 4, 1)), np.zeros((1, 8))
    h0, c0 = np.zeros((1, 1, 1)), np.full((1, 1, 1), 8.0)
    b[0, 3] = 2
    form = _form("nn.lstm", "forward", activations="sigmoid,affine,affine")
    y, y_h, y_c = ours("nn.lstm", [x, w, r, b, h0, c0], **form)
    # c = 1/4 * 8 + 3/4 * 2 = 3.5, h = 1/2 * 3.5
    assert abs(y_c.item() - 3.5) <= 1e-15 * 8
    assert abs(y.item() - 1.75) <= 1e-15 * 8
    assert y_h.item() == y.item()


def test_absent_operands_are_zeros(rng: np.random.Generator, ours: Run) -> None:
    x, w, r, b, h0, c0 = _layer("nn.lstm", "bidirectional", rng)
    form = _form("nn.lstm", "bidirectional")
    few = ours("nn.lstm", [x, w, r], **form)
    all_of_them = ours("nn.lstm", [x, w, r, 0 * b, 0 * h0, 0 * c0], **form)
    for a, b in zip(few, all_of_them, strict=True):
        assert np.array_equal(a, b)


def test_a_reverse_layer_is_a_forward_one_of_the_reversed_sequence(
    rng: np.random.Generator, ours: Run
) -> None:
    operands = _layer("nn.gru", "reverse", rng)
    y, last = ours("nn.gru", operands, **_form("nn.gru", "reverse"))
    operands[0] = operands[0][::-1].copy()
    z, again = ours("nn.gru", operands, **_form("nn.gru", "forward"))
    assert np.array_equal(y, z[::-1])
    assert np.array_equal(last, again)


def test_lengths_outside_are_refused(rng: np.random.Generator) -> None:
    operands = [*_layer("nn.rnn", "forward", rng), np.array([1, 8, 2], np.int32)]
    with pytest.raises(ModelError) as caught:
        OPS["nn.rnn"].evaluate(*operands, **_form("nn.rnn", "forward"))
    assert str(caught.value) == "nn.rnn lengths must lie in 0..7, not 8"


def test_the_matrices_are_counted_for_every_step() -> None:
    shapes = [(7, 3, 5), (2, 16, 5), (2, 16, 4)]
    operands = [Value(i, shape, "f32") for i, shape in enumerate(shapes)]
    y = Value(3, (7, 2, 3, 4), "f32")
    # 7 steps of 3 sequences in 2 directions, 4 gates of 4, from 5 inputs and 4 states
    assert OPS["nn.lstm"].macs(operands, y) == 7 * 3 * 2 * 16 * (5 + 4)
