"""Learning on the chip against Lava's runs, and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.spike.loihi import LAVA, Sign, mantissas
from tetrapla.ir.spike.plasticity import (
    Draw,
    Product,
    Rule,
    State,
    Trace,
    learn,
    note,
    products,
)
from tetrapla.validation import GOLDEN

TRACES = GOLDEN / "neuro" / "lava_stdp.npz"
ZERO = {"x1": Draw(0, 0), "y1": Draw(0, 0)}
NAMES = ["pair_epoch1", "pair_epoch2_scaled", "weight_dependent", "fractional_impulse"]


class Streams:
    """The tool's generators: two for each trace, and one for weights."""

    def __init__(self, seed: int) -> None:
        self._traces = [np.random.default_rng(seed + k) for k in range(4)]
        self._weights = np.random.default_rng(2)  # whatever the seed is
        self.advance()
        self.weight()  # one is drawn at the start

    def advance(self) -> None:
        x, x_impulse, y, y_impulse = self._traces
        self.now = {
            "x1": Draw(x.random(), int(x_impulse.integers(0, 127))),
            "y1": Draw(y.random(), int(y_impulse.integers(0, 127))),
        }

    def weight(self) -> float:
        return self._weights.random()


@pytest.mark.parametrize("case", range(4), ids=NAMES)
def test_weights_and_traces_are_lavas(case: int) -> None:
    with np.load(TRACES) as held:
        c = {n[3:]: held[n] for n in held.files if n.startswith(f"c{case}_")}
    assert str(c["name"]) == NAMES[case]
    *traces, epoch, seed = c["params"].tolist()
    sign: Sign = "mixed" if str(c["sign_mode"]) == "mixed" else "exc"
    kinds = {"x1": Trace(*traces[:2]), "y1": Trace(*traces[2:])}
    rule = Rule(products(str(c["dw"])), kinds, int(epoch), sign)
    state, streams = State.rest(rule, mantissas(LAVA, c["W0"], 8, sign)), Streams(int(seed))
    for t, (pre, post) in enumerate(zip(c["pre"] > 0, c["post"] > 0, strict=True)):
        step, none = t % rule.epoch + 1, (np.zeros_like(pre), np.zeros_like(post))
        note(rule, state, (pre, none[1]), step, streams.now)
        streams.advance()
        note(rule, state, (none[0], post), step, streams.now)
        streams.advance()
        if step == rule.epoch:
            learn(rule, state, (t + 1) // rule.epoch, streams.now, streams.weight())
        assert np.array_equal(state.w, c["w"][t])
        assert np.array_equal(state.traces["x1"], c["x1"][t])
        assert np.array_equal(state.traces["y1"], c["y1"][t])


def one(
    text: str, traces: dict[str, Trace], weight: int = 0, sign: Sign = "mixed"
) -> tuple[Rule, State]:
    """One synapse with an epoch of a timestep."""
    rule = Rule(products(text), traces, 1, sign)
    return rule, State.rest(rule, np.array([[weight]]))


def spiked(rule: Rule, state: State, pre: bool, post: bool, **draw: float) -> int:
    note(rule, state, (np.array([pre]), np.array([post])), 1, ZERO)
    learn(rule, state, 1, ZERO, draw.get("weight", 0.99))
    return int(state.w[0, 0])


def test_a_source_before_its_neuron_strengthens_and_behind_it_weakens() -> None:
    kinds = {"x1": Trace(16, 10), "y1": Trace(16, 10)}
    rule, state = one("1 * y0 * x1 - 1 * x0 * y1", kinds, 10)
    assert spiked(rule, state, True, False) == 10  # nothing has fired yet
    # 16 exp(-1 / 10) = 14.5, and a draw of 0 rounds it up
    assert spiked(rule, state, False, True) == 10 + 15
    # y1 is 15 a timestep later, too
    assert spiked(rule, state, True, False) == 25 - 15


def test_a_weight_keeps_its_sign_and_its_bits() -> None:
    trace = {"x1": Trace(127, 10)}
    assert spiked(*one("-1 * x0 * x1", trace, 5, "exc"), True, False) == 0
    assert spiked(*one("1 * x0 * x1", trace, -5, "inh"), True, False) == 0
    assert spiked(*one("1 * x0 * x1", trace, 200), True, False) == 255


def test_a_fraction_of_a_weight_is_rounded_by_the_draw() -> None:
    for drawn, weight in ((0.24, 1), (0.25, 0)):
        rule, state = one("2^-2 * x0 * x1", {"x1": Trace(1, 10)})
        assert spiked(rule, state, True, False, weight=drawn) == weight


def test_a_product_of_every_fourth_epoch_waits_for_it() -> None:
    rule, state = one("1 * u2 * w", {}, 3)
    found = []
    for epochs in range(1, 9):
        learn(rule, state, epochs, {}, 0.99)
        found.append(int(state.w[0, 0]))
    assert found == [3, 3, 3, 6, 6, 6, 6, 12]


def test_a_source_that_spikes_again_in_an_epoch_adds_its_impulse_at_once() -> None:
    rule = Rule((), {"x1": Trace(10, 1e9)}, 3, "mixed")
    state = State.rest(rule, np.zeros((1, 1), np.int64))
    for step, spike in enumerate((True, True, False), 1):
        note(rule, state, (np.array([spike]), np.array([False])), step, {})
    assert state.traces["x1"].tolist() == [10]
    learn(rule, state, 1, {"x1": Draw(0.5, 0)}, 0)
    assert state.traces["x1"].tolist() == [20]


def test_a_rule_is_read_as_it_is_written() -> None:
    assert products("-2 * x0 * y1 + 2^-3*y0*x1 - 3*u4*w*2^2") == (
        Product("x0", ("y1",), -2, 0),
        Product("y0", ("x1",), 1, -3),
        Product("u4", ("w",), -3, 2),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x0 / y1", "a learning rule must be a sum of products, not ' / y1'"),
        (
            "x0 * z1",
            "a learning rule must be made of x0, y0, u0 to u9, w, x1, x2, y1, y2, y3, numbers "
            "and powers of two, not 'z1'",
        ),
        (
            "2 * x1",
            "each product of a learning rule must have one of x0, y0, u0 to u9, not 0 in "
            "'2 x1'",
        ),
        (
            "9 * x0",
            "a product must have a scale of -8 to 7 and an exponent of -7 to 8, not 9 and 0 in "
            "'9 x0'; move powers of two between them",
        ),
    ],
)
def test_a_rule_that_the_chip_has_no_bits_for_is_refused(text: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        products(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("numbers", [(128, 10), (-1, 10), (16, 0)])
def test_a_trace_of_more_than_seven_bits_is_refused(numbers: Any) -> None:
    with pytest.raises(ModelError) as caught:
        Trace(*numbers)
    impulse, tau = numbers
    assert str(caught.value) == (
        "a trace must have an impulse of 0 to 127 and a positive tau, not "
        f"{impulse} and {tau}; scale the rule instead"
    )


def test_a_rule_without_a_trace_that_it_names_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        Rule(products("1 * x0 * y1"), {"x1": Trace(1, 1)}, 1, "exc")
    assert str(caught.value) == (
        "a learning rule must have a trace for each of its factors and an epoch of 1 or more "
        "timesteps, not lack y1 with 1"
    )


def test_a_state_is_the_rules(rng: np.random.Generator) -> None:
    rule = Rule((), {"x2": Trace(1, 1), "y3": Trace(1, 1)}, 1, "exc")
    weights: Array = rng.integers(0, 9, (2, 3))
    state = State.rest(rule, weights)
    assert {name: len(values) for name, values in state.traces.items()} == {"x2": 3, "y3": 2}
    state.w[...] = 0
    assert weights.any()  # a copy is learned on
